// Builds what the entry names into d3.min.js, and the licences of all packages that are in it into d3.LICENSE.

import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const read = (path) => readFileSync(path, "utf8");
const outfile = "d3.min.js";
const { metafile } = await build({
  entryPoints: ["entry.js"],
  outfile,
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "d3",
  target: "es2022",
  metafile: true,
});

const inputs = Object.entries(metafile.outputs[outfile].inputs).filter(([, input]) => input.bytesInOutput > 0);
const paths = inputs.map(([path]) => path.split("/")).filter(([folder]) => folder === "node_modules");
const packages = [...new Set(paths.map(([, name]) => name))].sort();

// Most of these licences differ in the first line alone, the copyright: what follows is written once.
const copyrights = {};
for (const name of packages) {
  const { version } = JSON.parse(read(`node_modules/${name}/package.json`));
  const [copyright, ...text] = read(`node_modules/${name}/LICENSE`).trim().split("\n");
  (copyrights[text.join("\n")] ??= []).push(`${name} ${version}: ${copyright}`);
}
const licences = Object.entries(copyrights).map(([text, lines]) => `${lines.join("\n")}\n${text}\n`);
writeFileSync("d3.LICENSE", licences.join("\n"));
