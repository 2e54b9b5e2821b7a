// The last-axis rule and the notation of three frameworks, as plain values and text: no element.
//
//     input (d1, ..., dn, d), units m  ->  output (d1, ..., dn, m), parameters d*m + m

const LONGEST = 2 ** 31;

/** Activations that are written alike in all three, by name: Keras's own, PyTorch's module, the function of Flax. */
export const ACTIVATIONS = {
  linear: null,
  relu: ["ReLU()", "relu"],
  sigmoid: ["Sigmoid()", "sigmoid"],
  tanh: ["Tanh()", "tanh"],
  softmax: ["Softmax(dim=-1)", "softmax"],
  log_softmax: ["LogSoftmax(dim=-1)", "log_softmax"],
  softplus: ["Softplus()", "softplus"],
  silu: ["SiLU()", "silu"],
  elu: ["ELU()", "elu"],
  selu: ["SELU()", "selu"],
};

/** Return a shape as a list of lengths, null where one is unknown. Throws an Error that says what is wrong. */
export function parsedShape(text) {
  const inside = text
    .trim()
    .replace(/^[([]|[)\]]$/g, "")
    .replace(/,\s*$/, "")
    .trim();
  if (inside === "") return [];
  return inside.split(/\s*[,x×\s]\s*/).map((each) => {
    if (["none", "null", "?"].includes(each.toLowerCase())) return null;
    return length(each, "an axis is a length of 0 or more, or None");
  });
}

/** Return the units of each layer. */
export function parsedUnits(text) {
  const found = text
    .trim()
    .replace(/^[([]|[)\]]$/g, "")
    .split(/[,\s]+/)
    .filter(Boolean);
  if (found.length === 0) throw new Error("a stack has at least one layer: give its units");
  return found.map((each) => length(each, "units is an integer of 0 or more"));
}

/** Return one activation for each layer. */
export function parsedActivations(text, layers) {
  const found = text.split(/[,\s]+/).filter(Boolean);
  if (found.length === 0) return Array(layers).fill("linear");
  for (const each of found) {
    if (!Object.hasOwn(ACTIVATIONS, each))
      throw new Error(`an activation is one of ${Object.keys(ACTIVATIONS).join(", ")}, not ${each}`);
  }
  if (found.length === 1) return Array(layers).fill(found[0]);
  if (found.length !== layers) throw new Error(`give one activation, or one for each of the ${layers} layers`);
  return found;
}

function length(text, rule) {
  if (!/^\d+$/.test(text)) throw new Error(`${rule}, not ${text}`);
  if (Number(text) >= LONGEST) throw new Error(`${text} is more than is drawn here`);
  return Number(text);
}

/** Return for each layer its input, kernel, bias and output shapes and its parameters, a BigInt. */
export function layersOf(shape, units, activations, useBias) {
  if (shape.length === 0) throw new Error("rank 0 has no last axis: a dense layer refuses a single number");
  let input = shape;
  return units.map((count, index) => {
    const features = input.at(-1);
    if (features === null) throw new Error("the last axis is unknown: the kernel would have no shape");
    const layer = {
      input,
      kernel: [features, count],
      bias: useBias ? [count] : null,
      output: [...input.slice(0, -1), count],
      parameters: BigInt(features) * BigInt(count) + (useBias ? BigInt(count) : 0n),
      activation: activations[index],
    };
    input = layer.output;
    return layer;
  });
}

/** Return a shape as Python writes a tuple. */
export function tuple(shape) {
  const axes = shape.map((each) => (each === null ? "None" : String(each)));
  return `(${axes.join(", ")}${axes.length === 1 ? "," : ""})`;
}

/** Return the same layers in the notation of each framework, as pairs of its name and code. */
export function notations(layers) {
  return [
    ["Keras", keras(layers)],
    ["PyTorch", torch(layers)],
    ["Flax Linen", linen(layers)],
    ["Flax NNX", nnx(layers)],
  ];
}

function keras(layers) {
  const lines = layers.map((each) => {
    const more = each.activation === "linear" ? "" : `, activation="${each.activation}"`;
    return `    keras.layers.Dense(${each.kernel[1]}${more}${each.bias ? "" : ", use_bias=False"}),`;
  });
  return [
    "import keras",
    "",
    "model = keras.Sequential([",
    `    keras.Input(${tuple(layers[0].input)}),`,
    ...lines,
    "])",
  ].join("\n");
}

function torch(layers) {
  const lines = layers.flatMap((each) => [
    `    nn.Linear(${each.kernel.join(", ")}${each.bias ? "" : ", bias=False"}),`,
    ...(each.activation === "linear" ? [] : [`    nn.${ACTIVATIONS[each.activation][0]},`]),
  ]);
  return ["from torch import nn", "", "model = nn.Sequential(", ...lines, ")"].join("\n");
}

function linen(layers) {
  const lines = layers.flatMap((each) => [
    `    nn.Dense(${each.kernel[1]}${each.bias ? "" : ", use_bias=False"}),`,
    ...(each.activation === "linear" ? [] : [`    nn.${ACTIVATIONS[each.activation][1]},`]),
  ]);
  const fed = tuple([2, ...layers[0].input.map((each) => each ?? 1)]);
  return [
    "import jax",
    "from flax import linen as nn",
    "",
    "model = nn.Sequential([",
    ...lines,
    "])",
    `parameters = model.init(jax.random.key(0), jax.numpy.zeros(${fed}))`,
  ].join("\n");
}

function nnx(layers) {
  const lines = layers.flatMap((each) => [
    `    nnx.Linear(${each.kernel.join(", ")}${each.bias ? "" : ", use_bias=False"}, rngs=rngs),`,
    ...(each.activation === "linear" ? [] : [`    nnx.${ACTIVATIONS[each.activation][1]},`]),
  ]);
  return ["from flax import nnx", "", "rngs = nnx.Rngs(0)", "model = nnx.Sequential(", ...lines, ")"].join("\n");
}
