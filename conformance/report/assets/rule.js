// The rule, to look at: a shape and units are typed, and one sees which axis is replaced, the tensors and the counts.

import { replaceAddress } from "./address.js";
import { code, counted, drawn, element, table } from "./dom.js";
import { ACTIVATIONS, layersOf, notations, parsedActivations, parsedShape, parsedUnits, tuple } from "./rule_shapes.js";

const FIRST = { shape: "784, 1", units: "4, 10", activation: "linear, softmax", bias: "yes" };
const SIDE = 18; // px, of an element of a drawn tensor
const MOST = 6; // elements drawn along an axis
const SHEETS = 4;
const SHIFT = 9; // px, from one sheet to the next

let made = null;

/** Show the rule for what a state holds. */
export function showRule(section, state) {
  made ??= build(section);
  const asked =
    "shape" in state || "units" in state ? { shape: "", units: "", activation: "", bias: "yes", ...state } : FIRST;
  const { form } = made;
  for (const key of ["shape", "units", "activation"]) form.elements[key].value = asked[key];
  form.elements.bias.checked = asked.bias !== "no";
  answer();
}

function build(section) {
  const field = (name, label, hint) =>
    element(
      "label",
      {},
      `${label} `,
      element("input", { type: "text", name, oninput: read, autocomplete: "off", title: hint }),
    );
  const form = element(
    "form",
    { class: "filter", "aria-label": "The rule", onsubmit: (event) => event.preventDefault() },
    field("shape", "shape of one sample", "as in Keras, without the batch: 784, 1"),
    field("units", "units", "one for each layer: 4, 10"),
    field("activation", "activation", Object.keys(ACTIVATIONS).join(", ")),
    element("label", {}, element("input", { type: "checkbox", name: "bias", onchange: read }), " bias"),
  );
  const shown = element("div", { "aria-live": "polite" });
  section.append(
    element("h2", {}, "The rule"),
    element("p", { class: "formula" }, "input (d₁, …, dₙ, d), units m → output (d₁, …, dₙ, m), parameters d·m + m"),
    element(
      "p",
      { class: "quiet" },
      "A dense layer replaces the last axis and keeps all others. The same kernel and bias are used at every position, so no other axis enters the count.",
    ),
    form,
    shown,
  );
  return { form, shown };
}

function read() {
  const { shape, units, activation, bias } = made.form.elements;
  replaceAddress("rule", {
    shape: shape.value || "()",
    units: units.value,
    activation: activation.value,
    bias: bias.checked ? "" : "no",
  });
  answer();
}

function answer() {
  const { form, shown } = made;
  let layers;
  try {
    const units = parsedUnits(form.elements.units.value);
    const activations = parsedActivations(form.elements.activation.value, units.length);
    layers = layersOf(parsedShape(form.elements.shape.value), units, activations, form.elements.bias.checked);
  } catch (error) {
    shown.replaceChildren(element("p", { class: "warnings", id: "refused" }, `Refused: ${error.message}.`));
    return;
  }
  const total = layers.reduce((sum, each) => sum + each.parameters, 0n);
  shown.replaceChildren(
    chain(layers),
    table(
      "Layers",
      ["Layer", "Input", "Kernel", "Bias", "Output", "Parameters"],
      layers.map((each, index) => [
        `Dense ${index + 1}${each.activation === "linear" ? "" : `, ${each.activation}`}`,
        batched(each.input),
        tuple(each.kernel),
        each.bias ? tuple(each.bias) : "none",
        batched(each.output),
        sum(each),
      ]),
      "list layers",
    ),
    element("p", { class: "total" }, element("b", {}, counted(total)), " parameters in all"),
    ...layers.map(drawing),
    element("h3", {}, "The same in each framework"),
    element(
      "div",
      { class: "notations" },
      notations(layers).map(([name, text]) => element("div", {}, element("h4", {}, name), code(text, name))),
    ),
  );
}

function batched(shape) {
  return tuple([null, ...shape]);
}

function sum({ kernel, bias, parameters }) {
  const said = `${kernel[0]}·${kernel[1]}${bias ? ` + ${bias[0]}` : ""}`;
  return `${said} = ${counted(parameters)}`;
}

/** Return the shapes one after the other, the replaced axis marked. */
function chain(layers) {
  const shape = (axes) => [
    "(None, ",
    axes.slice(0, -1).map((each) => `${each === null ? "None" : each}, `),
    element("mark", {}, String(axes.at(-1))),
    ")",
  ];
  return element(
    "p",
    { class: "chain" },
    shape(layers[0].input),
    layers.map((each) => [element("span", { class: "arrow" }, ` → Dense(${each.kernel[1]}) → `), shape(each.output)]),
  );
}

/** Return input, kernel and output of a layer drawn beside one another, the axes that change coloured. */
function drawing(layer, index) {
  const parts = [
    tensor(layer.input, "input", "in"),
    sign("·"),
    tensor(layer.kernel, "kernel", "in", "out"),
    ...(layer.bias ? [sign("+"), tensor(layer.bias, "bias", "out")] : []),
    sign("="),
    tensor(layer.output, "output", "out"),
  ];
  const height = Math.max(...parts.map((each) => each.height));
  let left = 0;
  const placed = parts.map((each) => {
    const group = drawn("g", { transform: `translate(${left}, ${(height - each.height) / 2})` }, each.made);
    left += each.width + 14;
    return group;
  });
  const { input, kernel, output, bias } = layer;
  const product = `input ${tuple(input)} times kernel ${tuple(kernel)}${bias ? ` plus bias ${tuple(bias)}` : ""}`;
  const replaced = `The last axis, ${input.at(-1)}, becomes ${output.at(-1)}.`;
  const label = `Layer ${index + 1}: ${product} gives ${tuple(output)}, for each sample. ${replaced}`;
  return element(
    "figure",
    { class: "tensors" },
    element("figcaption", {}, `Dense ${index + 1}, for each sample`),
    drawn("svg", { viewBox: `0 0 ${left} ${height}`, width: left, height, role: "img", "aria-label": label }, placed),
  );
}

function sign(text) {
  return { width: 12, height: 20, made: drawn("text", { x: 6, y: 14, class: "sign" }, text) };
}

/**
 * Return a tensor: the last axis to the right, the one before downwards, the one before that as sheets behind; what is
 * before these is written above. `across` colours elements by their place on the last axis, `down` on the one before.
 */
function tensor(shape, name, across, down = "") {
  const [columns, rows, sheets] = [
    shape.at(-1),
    shape.length > 1 ? shape.at(-2) : 1,
    shape.length > 2 ? shape.at(-3) : 1,
  ];
  const [wide, tall, deep] = [Math.min(columns, MOST), Math.min(rows ?? 3, MOST), Math.min(sheets ?? 2, SHEETS)];
  const before = shape.slice(0, -3);
  const top = 34;
  const offset = Math.max(0, deep - 1) * SHIFT;
  const width = Math.max(offset + wide * SIDE, 74);
  const height = top + offset + tall * SIDE + 8;
  const drawnSheets = [];
  for (let sheet = deep - 1; sheet >= 0; sheet -= 1) {
    const cells = [];
    for (let row = 0; row < tall; row += 1) {
      for (let column = 0; column < wide; column += 1) {
        const dots = (column === wide - 2 && columns > wide) || (row === tall - 2 && (rows ?? 1e9) > tall);
        const [x, y] = [sheet * SHIFT + column * SIDE, top + (deep - 1 - sheet) * SHIFT + row * SIDE];
        cells.push(
          drawn("rect", { x, y, width: SIDE - 2, height: SIDE - 2, rx: 3, class: `element ${across} ${down}` }),
          ...(dots && sheet === 0 ? [drawn("text", { x: x + SIDE / 2 - 1, y: y + 11, class: "dots" }, "…")] : []),
        );
      }
    }
    drawnSheets.push(drawn("g", { opacity: sheet ? 0.45 : 1 }, cells));
  }
  const many = before.length ? ` × ${before.map((each) => each ?? "None").join(" × ")}` : "";
  const heading = [
    drawn("text", { x: 0, y: 12, class: "name" }, name),
    drawn("text", { x: 0, y: 27, class: "shape" }, tuple(shape)),
  ];
  const empty = wide * tall * deep === 0 ? [drawn("text", { x: 0, y: top + 14, class: "shape" }, "empty")] : [];
  const more = many ? [drawn("text", { x: 40, y: 12, class: "shape" }, many)] : [];
  return {
    width: Math.max(width, 8 * tuple(shape).length),
    height: Math.max(height, top + 22),
    made: [heading, more, empty, drawnSheets],
  };
}
