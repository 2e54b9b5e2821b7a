// The parts that plots have in common: the titled drawing with its legend, and the axes. Lengths are in px.

import { drawn, element } from "./dom.js";

/**
 * Return a titled drawing of `width` by `height`. Its title is all that a screen reader reads: a table has the numbers.
 * `colours` are pairs of name and colour, for the legend.
 */
export function figure(title, width, height, parts, colours = []) {
  const label = `${title}; the table below has the numbers`;
  return element(
    "figure",
    {},
    element("figcaption", {}, title),
    colours.length ? element("p", { class: "legend" }, colours.map(entry)) : null,
    drawn("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, parts),
  );
}

function entry([name, colour]) {
  const swatch = drawn("rect", { width: 15, height: 15, fill: colour });
  return element("span", {}, drawn("svg", { width: 15, height: 15, "aria-hidden": "true" }, swatch), name);
}

/** Return a horizontal axis below `area`, its edges by name, with a tick at each of `values`. */
export function bottomAxis(x, area, values, format) {
  return values.map((value) =>
    drawn(
      "g",
      { transform: `translate(${x(value)}, ${area.bottom})` },
      drawn("line", { y2: 6, class: "axis" }),
      drawn("text", { y: 18, "text-anchor": "middle" }, format(value)),
    ),
  );
}

/** Return a vertical axis left of `area`, its edges by name, with a tick at each of `values`. */
export function leftAxis(y, area, values, format) {
  return values.map((value) =>
    drawn(
      "g",
      { transform: `translate(${area.left}, ${y(value)})` },
      drawn("line", { x2: -6, class: "axis" }),
      drawn("text", { x: -9, y: "0.32em", "text-anchor": "end" }, format(value)),
    ),
  );
}

/** Return a line across `area` at `x`. */
export function upright(x, area, attributes) {
  return drawn("line", { x1: x, x2: x, y1: area.top, y2: area.bottom, ...attributes });
}

/** Return a line across `area` at `y`. */
export function level(y, area, attributes) {
  return drawn("line", { x1: area.left, x2: area.right, y1: y, y2: y, ...attributes });
}
