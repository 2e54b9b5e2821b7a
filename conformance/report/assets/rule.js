// The rule, to try: a reader types a shape and units, and sees which axis is replaced, the tensors and the counts.

import { code, counted, element, table } from "./dom.js";
import { ACTIVATIONS, layersOf, notations, parsedActivations, parsedShape, parsedUnits, tuple } from "./rule_shapes.js";
import { setParameters, state } from "./state.js";
import { layerDrawing } from "./tensors.js";

/** What the form holds where the address has neither a shape nor units. */
const EXAMPLE = { shape: "784, 1", units: "4, 10", activation: "linear, softmax", bias: "yes" };
const EMPTY = { shape: "", units: "", activation: "", bias: "yes" };
const TEXTS = ["shape", "units", "activation"];

/** Show the rule for a stack that the parameters describe. */
export function showRule(section, parameters) {
  state.rule.elements ??= build(section);
  const hasStack = "shape" in parameters || "units" in parameters;
  const stack = hasStack ? { ...EMPTY, ...parameters } : EXAMPLE;
  const { form } = state.rule.elements;
  for (const name of TEXTS) form.elements[name].value = stack[name];
  form.elements.bias.checked = stack.bias !== "no";
  update();
}

function build(section) {
  const field = (name, label, hint) =>
    element(
      "label",
      {},
      `${label} `,
      element("input", { type: "text", name, oninput: onChange, autocomplete: "off", title: hint }),
    );
  const form = element(
    "form",
    { class: "filter", "aria-label": "The rule", onsubmit: (event) => event.preventDefault() },
    field("shape", "shape of one sample", "as in Keras, without the batch: 784, 1"),
    field("units", "units", "one for each layer: 4, 10"),
    field("activation", "activation", Object.keys(ACTIVATIONS).join(", ")),
    element("label", {}, element("input", { type: "checkbox", name: "bias", onchange: onChange }), " bias"),
  );
  const answer = element("div", { "aria-live": "polite" });
  section.append(
    element("h2", {}, "The rule"),
    element("p", { class: "formula" }, "input (d₁, …, dₙ, d), units m → output (d₁, …, dₙ, m), parameters d·m + m"),
    element(
      "p",
      { class: "quiet" },
      "A dense layer replaces the last axis and keeps all others. The same kernel and bias are used at every position, so no other axis enters the count.",
    ),
    form,
    answer,
  );
  return { form, answer };
}

function onChange() {
  const { shape, units, activation, bias } = state.rule.elements.form.elements;
  setParameters({
    shape: shape.value || "()",
    units: units.value,
    activation: activation.value,
    bias: bias.checked ? "" : "no",
  });
  update();
}

function update() {
  const { form, answer } = state.rule.elements;
  let layers;
  try {
    layers = layersIn(form);
  } catch (error) {
    answer.replaceChildren(element("p", { class: "warnings", id: "refused" }, `Refused: ${error.message}.`));
    return;
  }
  answer.replaceChildren(...answerFor(layers));
}

/** Return the layers that the form describes. Throws an Error that says why there are none. */
function layersIn(form) {
  const { shape, units, activation, bias } = form.elements;
  const counts = parsedUnits(units.value);
  const activations = parsedActivations(activation.value, counts.length);
  return layersOf(parsedShape(shape.value), counts, activations, bias.checked);
}

function answerFor(layers) {
  const total = layers.reduce((sum, each) => sum + each.parameters, 0n);
  const codes = notations(layers).map(([name, text]) => element("div", {}, element("h4", {}, name), code(text, name)));
  return [
    chain(layers),
    layerTable(layers),
    element("p", { class: "total" }, element("b", {}, counted(total)), " parameters in all"),
    ...layers.map(layerDrawing),
    element("h3", {}, "The same in each framework"),
    element("div", { class: "notations" }, codes),
  ];
}

function layerTable(layers) {
  const heads = ["Layer", "Input", "Kernel", "Bias", "Output", "Parameters"];
  const rows = layers.map(({ activation, input, kernel, bias, output, parameters }, index) => [
    `Dense ${index + 1}${activation === "linear" ? "" : `, ${activation}`}`,
    batched(input),
    tuple(kernel),
    bias ? tuple(bias) : "none",
    batched(output),
    `${kernel[0]}·${kernel[1]}${bias ? ` + ${bias[0]}` : ""} = ${counted(parameters)}`,
  ]);
  return table("Layers", heads, rows, "list layers");
}

function batched(shape) {
  return tuple([null, ...shape]);
}

/** Return the shapes of a batch one after the other, the replaced axis marked. */
function chain(layers) {
  const shape = (axes) => [
    "(None, ",
    axes.slice(0, -1).map((each) => `${each ?? "None"}, `),
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
