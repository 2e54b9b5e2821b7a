// Plots of margins and of nights. Each stands above a table with its numbers, which is what a screen reader reads.

import { extent, max, quantile } from "d3-array";
import { scaleLinear } from "d3-scale";
import { schemeObservable10 } from "d3-scale-chromatic";
import { line, stack } from "d3-shape";
import { short } from "./cell_text.js";
import { bottomAxis, figure, horizontalLine, leftAxis, verticalLine } from "./chart.js";
import { cells, columns, history, kinds } from "./data.js";
import { svg } from "./dom.js";

const BOX_STEP = 26; // px, from one box to the next
const BOX_HEIGHT = 22; // px
const LABEL_LENGTH = 28; // characters of an implementation beside its box
const NIGHTS_HEIGHT = 200; // px, of a plot over the nights

/** Draw the margins of conforming cells: a box for each implementation, a plot for each dtype. */
export function drawMargins() {
  const place = document.getElementById("margin-plots");
  if (place === null) return;
  const inexact = cells.filter((cell) => cell.kind.name === "conforms" && cell.margin > 0 && cell.case.dtype !== "");
  const left = Math.min(200, 20 + 6.5 * Math.max(0, ...columns.map((each) => each.label.length)));
  const plots = groups(inexact, (cell) => cell.case.dtype).map(([dtype, members]) =>
    marginPlot(dtype, members, left, widthOf(place)),
  );
  place.replaceChildren(...plots);
}

function marginPlot(dtype, inexact, left, width) {
  const byColumn = Map.groupBy(inexact, (cell) => cell.column);
  const present = columns.filter((each) => byColumn.has(each));
  const area = { left, right: width - 20, top: 20, bottom: 20 + BOX_STEP * present.length };
  const x = scaleLinear([0, 1], [area.left, area.right]);
  const middle = (column) => area.top + BOX_STEP * (present.indexOf(column) + 0.5);
  const count = (area.right - area.left) / 80;
  const name = ({ label }) => (label.length > LABEL_LENGTH ? `${label.slice(0, LABEL_LENGTH - 1)}…` : label);
  return figure(`${dtype}: margins of conforming cells that are not exact`, width, area.bottom + 44, [
    x.ticks(count).map((value) => verticalLine(x(value), area, { class: "grid" })),
    bottomAxis(x, area, x.ticks(count), x.tickFormat(count)),
    svg("text", { x: width - 2, y: area.bottom + 40, "text-anchor": "end" }, "margin: 1 is the limit →"),
    leftAxis(middle, area, present, name),
    verticalLine(x(1), area, { class: "limit" }),
    present.map((column) => {
      const values = byColumn.get(column).map((cell) => Math.min(cell.margin, 1));
      return svg("g", { class: "box", transform: `translate(0, ${middle(column)})` }, box(values, x));
    }),
  ]);
}

/**
 * Return a box from quartile to quartile with its median, whiskers to the last values within 1.5 lengths of the box from
 * it, and a circle for each value beyond.
 */
function box(values, x) {
  const [low, median, high] = [0.25, 0.5, 0.75].map((share) => quantile(values, share));
  const isNear = (value) => value >= low - 1.5 * (high - low) && value <= high + 1.5 * (high - low);
  const [least, most] = extent(values.filter(isNear));
  const [top, bottom] = [-BOX_HEIGHT / 2, BOX_HEIGHT / 2];
  return [
    svg("line", { x1: x(least), x2: x(most) }),
    svg("rect", { x: x(low), y: top, width: x(high) - x(low), height: BOX_HEIGHT }),
    svg("line", { x1: x(median), x2: x(median), y1: top, y2: bottom, class: "median" }),
    values.filter((value) => !isNear(value)).map((value) => svg("circle", { cx: x(value), r: 2 })),
  ];
}

/** Draw the nights: outcomes as bars, margins as lines. */
export function drawHistory() {
  if (!history) return;
  drawOutcomes(document.getElementById("night-plots"));
  const place = document.getElementById("trend-plots");
  if (place !== null) drawTrends(place);
}

function drawOutcomes(place) {
  const present = kinds.filter((kind) => history.nights.some(([, counts]) => counts[kind.number] > 0));
  const loud = present.filter((kind) => !["conforms", "not_run", "unsupported"].includes(kind.name));
  const width = widthOf(place);
  place.replaceChildren(
    outcomePlot("Cells by outcome, each night", present, width),
    ...(loud.length ? [outcomePlot("Of these, cells that fail or diverge", loud, width)] : []),
  );
}

function outcomePlot(title, present, width) {
  const colour = (kind) => `var(--${kind.name})`;
  const layersOf = stack()
    .keys(present)
    .value(([, counts], kind) => counts[kind.number]);
  const layers = layersOf(history.nights);
  const area = { left: 56, right: width - 20, top: 20, bottom: NIGHTS_HEIGHT - 30 };
  const x = scaleLinear([-0.45, history.nights.length - 0.55], [area.left, area.right]);
  const y = scaleLinear([0, max(layers.flat(2)) ?? 0], [area.bottom, area.top]);
  const bars = layers.map((layer) =>
    svg(
      "g",
      { fill: colour(layer.key) },
      layer.map(([lower, upper], night) =>
        svg("rect", { x: x(night - 0.45), y: y(upper), width: x(0.9) - x(0), height: y(lower) - y(upper) }),
      ),
    ),
  );
  const colours = present.map((kind) => [kind.words, colour(kind)]);
  return figure(title, width, NIGHTS_HEIGHT, [nightAxes(x, y, area, "cells"), bars, groundLine(area)], colours);
}

/** Return the axes of a plot over the nights, with as many dates as there is room for. */
function nightAxes(x, y, area, label) {
  const step = Math.max(1, Math.ceil(history.nights.length / Math.floor((area.right - area.left) / 90)));
  const dated = [...history.nights.keys()].filter((night) => night % step === 0);
  const count = (area.bottom - area.top) / 35;
  return [
    y.ticks(count).map((value) => horizontalLine(y(value), area, { class: "grid" })),
    leftAxis(y, area, y.ticks(count), y.tickFormat(count)),
    svg("text", { x: 4, y: 12 }, `↑ ${label}`),
    bottomAxis(x, area, dated, dateOf),
  ];
}

function dateOf(night) {
  return history.nights[night][0].slice(0, 10);
}

function groundLine(area) {
  return horizontalLine(area.bottom, area, { class: "axis" });
}

function drawTrends(place) {
  const width = widthOf(place);
  const plots = groups(history.margins, ([, dtype]) => dtype).flatMap(([dtype, members]) => {
    const medians = members.map(([name, , numbers]) => [name, numbers]);
    const maxima = members.map(([name, , , numbers]) => [name, numbers]);
    return [
      trendPlot(`${dtype}: medians over the nights`, new Map(medians), width),
      trendPlot(`${dtype}: largest margins over the nights`, new Map(maxima), width),
    ];
  });
  place.replaceChildren(...plots);
}

/** Return a line for each implementation, with gaps where a night has no margin, and a dot for each night. */
function trendPlot(title, series, width) {
  const names = [...series.keys()].sort();
  const colours = names.map((name, index) => [name, schemeObservable10[index % 10]]);
  const area = { left: 40, right: width - 10, top: 20, bottom: NIGHTS_HEIGHT - 30 };
  const x = scaleLinear([0, history.nights.length - 1], [area.left, area.right]);
  const y = scaleLinear([0, max([...series.values()].flat()) ?? 0], [area.bottom, area.top]);
  const pathOf = line()
    .defined((margin) => margin !== null)
    .x((_, night) => x(night))
    .y(y);
  const paths = colours.map(([name, stroke]) => svg("path", { d: pathOf(series.get(name)) ?? "", stroke }));
  const dots = colours.map(([name, fill]) => svg("g", { fill }, trendDots(name, series.get(name), x, y)));
  return figure(title, width, NIGHTS_HEIGHT, [nightAxes(x, y, area, "margin"), groundLine(area), paths, dots], colours);
}

function trendDots(name, margins, x, y) {
  return margins.flatMap((margin, night) => {
    if (margin === null) return [];
    const title = svg("title", {}, `${name}, ${dateOf(night)}: ${short(margin)}`);
    return [svg("circle", { cx: x(night), cy: y(margin), r: 2.5 }, title)];
  });
}

/** Return the width of a plot in px. */
function widthOf(place) {
  return Math.max(300, Math.min(580, place.clientWidth || 640));
}

/** Return pairs of key and members, sorted by key. */
function groups(members, keyOf) {
  const byKey = Map.groupBy(members, keyOf);
  return [...byKey.keys()].sort().map((key) => [key, byKey.get(key)]);
}
