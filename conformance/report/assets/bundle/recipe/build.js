// Bundles main.js and all that it imports into page.min.js, and writes the licences of the packages in it into LICENSE.
// `make bundle` runs it in a folder with the page's modules under modules/ and the packages under node_modules/.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const read = (path) => readFileSync(path, "utf8");
const outfile = "page.min.js";
const { metafile } = await build({
  entryPoints: ["modules/main.js"],
  outfile,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  metafile: true,
});

const inputs = Object.keys(metafile.inputs);
const unused = readdirSync("modules").filter((name) => !inputs.includes(`modules/${name}`));
if (unused.length) throw new Error(`no module imports ${unused.join(", ")}`);

const { bytes, inputs: bundled } = metafile.outputs[outfile];
const ofPackages = Object.entries(bundled).filter(
  ([path, { bytesInOutput }]) => path.startsWith("node_modules/") && bytesInOutput > 0,
);
const packages = [...new Set(ofPackages.map(([path]) => path.split("/")[1]))].sort();
const packageBytes = ofPackages.reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0);
console.log(`${outfile}: ${bytes} bytes, of which ${packageBytes} of packages`);

// Most of these licences differ only in their first line, the copyright. What follows it is written once.
const copyrights = {};
for (const name of packages) {
  const { version } = JSON.parse(read(`node_modules/${name}/package.json`));
  const [copyright, ...text] = read(`node_modules/${name}/LICENSE`).trim().split("\n");
  (copyrights[text.join("\n")] ??= []).push(`${name} ${version}: ${copyright}`);
}
const licences = Object.entries(copyrights).map(([text, lines]) => `${lines.join("\n")}\n${text}\n`);
writeFileSync("LICENSE", licences.join("\n"));
