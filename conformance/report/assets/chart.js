// The parts that plots have in common: the titled drawing with its legend, and the axes. Lengths are in px.

import { element, svg } from "./dom.js";

/**
 * Return a titled drawing of `width` by `height`. A screen reader reads its title alone, since a table has the numbers.
 * `colours` are pairs of name and colour for the legend.
 */
export function figure(title, width, height, parts, colours = []) {
  const label = `${title}; the table below has the numbers`;
  return element(
    "figure",
    {},
    element("figcaption", {}, title),
    colours.length ? element("p", { class: "legend" }, colours.map(legendEntry)) : null,
    svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, parts),
  );
}

function legendEntry([name, colour]) {
  const swatch = svg("rect", { width: 15, height: 15, fill: colour });
  return element("span", {}, svg("svg", { width: 15, height: 15, "aria-hidden": "true" }, swatch), name);
}

/** Return a horizontal axis below `area`, its edges by name, with a tick at each of `values`. */
export function bottomAxis(x, area, values, format) {
  return values.map((value) =>
    svg(
      "g",
      { transform: `translate(${x(value)}, ${area.bottom})` },
      svg("line", { y2: 6, class: "axis" }),
      svg("text", { y: 18, "text-anchor": "middle" }, format(value)),
    ),
  );
}

/** Return a vertical axis left of `area`, its edges by name, with a tick at each of `values`. */
export function leftAxis(y, area, values, format) {
  return values.map((value) =>
    svg(
      "g",
      { transform: `translate(${area.left}, ${y(value)})` },
      svg("line", { x2: -6, class: "axis" }),
      svg("text", { x: -9, y: "0.32em", "text-anchor": "end" }, format(value)),
    ),
  );
}

/** Return a line across `area` at `x`. */
export function verticalLine(x, area, attributes) {
  return svg("line", { x1: x, x2: x, y1: area.top, y2: area.bottom, ...attributes });
}

/** Return a line across `area` at `y`. */
export function horizontalLine(y, area, attributes) {
  return svg("line", { x1: area.left, x2: area.right, y1: y, y2: y, ...attributes });
}
