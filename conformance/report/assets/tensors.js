// Drawings of a layer's tensors: input, kernel, bias and output beside one another. Lengths are in px.

import { element, svg } from "./dom.js";
import { tuple } from "./rule_shapes.js";

const SIDE = 18; // of an element of a tensor
const GAP = 14; // between one tensor and the next
const SHIFT = 9; // from one sheet to the next
const HEADING = 34;
const MOST_ELEMENTS = 6; // drawn along an axis
const MOST_SHEETS = 4;

/** Return a drawing of a layer, with the axes that change in colour. */
export function layerDrawing(layer, index) {
  const parts = [
    tensor(layer.input, "input", "in"),
    operator("·"),
    tensor(layer.kernel, "kernel", "in", "out"),
    ...(layer.bias ? [operator("+"), tensor(layer.bias, "bias", "out")] : []),
    operator("="),
    tensor(layer.output, "output", "out"),
  ];
  const height = Math.max(...parts.map((each) => each.height));
  let left = 0;
  const placed = parts.map((each) => {
    const group = svg("g", { transform: `translate(${left}, ${(height - each.height) / 2})` }, each.content);
    left += each.width + GAP;
    return group;
  });
  const size = { viewBox: `0 0 ${left} ${height}`, width: left, height };
  return element(
    "figure",
    { class: "tensors" },
    element("figcaption", {}, `Dense ${index + 1}, for each sample`),
    svg("svg", { ...size, role: "img", "aria-label": sentence(layer, index) }, placed),
  );
}

/** Return what the drawing shows, in words. */
function sentence({ input, kernel, output, bias }, index) {
  const product = `input ${tuple(input)} times kernel ${tuple(kernel)}${bias ? ` plus bias ${tuple(bias)}` : ""}`;
  const replaced = `The last axis, ${input.at(-1)}, becomes ${output.at(-1)}.`;
  return `Layer ${index + 1}: ${product} gives ${tuple(output)}, for each sample. ${replaced}`;
}

function operator(sign) {
  return { width: 12, height: 20, content: svg("text", { x: 6, y: 14, class: "sign" }, sign) };
}

/**
 * Return a tensor: the last axis to the right, the one before it downwards, the one before that as sheets behind. The
 * lengths of all axes before these stand above it. `across` and `down` are classes of its elements: colours by their
 * place on the last axis and on the one before it.
 */
function tensor(shape, name, across, down = "") {
  const [sheets, rows, columns] = [1, 1, ...shape].slice(-3);
  const size = {
    wide: Math.min(columns, MOST_ELEMENTS),
    tall: Math.min(rows ?? 3, MOST_ELEMENTS),
    deep: Math.min(sheets ?? 2, MOST_SHEETS),
  };
  const isCut = { right: columns > size.wide, below: (rows ?? Infinity) > size.tall };
  const drawnSheets = [];
  for (let index = size.deep - 1; index >= 0; index -= 1) {
    drawnSheets.push(svg("g", { opacity: index ? 0.45 : 1 }, sheet(index, size, isCut, `element ${across} ${down}`)));
  }
  const isEmpty = size.wide * size.tall * size.deep === 0;
  const empty = isEmpty ? [svg("text", { x: 0, y: HEADING + 14, class: "shape" }, "empty")] : [];
  const offset = Math.max(0, size.deep - 1) * SHIFT;
  return {
    width: Math.max(offset + size.wide * SIDE, 74, 8 * tuple(shape).length),
    height: HEADING + Math.max(offset + size.tall * SIDE + 8, 22),
    content: [heading(shape, name), empty, drawnSheets],
  };
}

/** Return the elements of one sheet of a tensor; the one in front has dots where elements are left out. */
function sheet(index, { wide, tall, deep }, isCut, className) {
  const elements = [];
  for (let row = 0; row < tall; row += 1) {
    for (let column = 0; column < wide; column += 1) {
      const x = index * SHIFT + column * SIDE;
      const y = HEADING + (deep - 1 - index) * SHIFT + row * SIDE;
      elements.push(svg("rect", { x, y, width: SIDE - 2, height: SIDE - 2, rx: 3, class: className }));
      const hasDots = (column === wide - 2 && isCut.right) || (row === tall - 2 && isCut.below);
      if (hasDots && index === 0) elements.push(svg("text", { x: x + SIDE / 2 - 1, y: y + 11, class: "dots" }, "…"));
    }
  }
  return elements;
}

function heading(shape, name) {
  const before = shape.slice(0, -3).map((each) => ` × ${each ?? "None"}`);
  return [
    svg("text", { x: 0, y: 12, class: "name" }, name),
    svg("text", { x: 0, y: 27, class: "shape" }, tuple(shape)),
    before.length ? [svg("text", { x: 40, y: 12, class: "shape" }, before.join(""))] : [],
  ];
}
