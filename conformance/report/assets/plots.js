// Plots of margins and of nights. Each stands above a table with its numbers, which is what a screen reader reads.

import { bottomAxis, figure, leftAxis, level, upright } from "./chart.js";
import { cells, columns, kinds, nights, short } from "./data.js";
import { drawn } from "./dom.js";

const ROW = 26; // px, of a box and the gap to the next
const BOX = 22; // px, the height of a box
const LABEL = 28; // characters of an implementation beside its box
const HEIGHT = 200; // px, of a plot over the nights

/** Draw the margins of conforming cells: a box for each implementation, a plot for each dtype. */
export function drawMargins() {
  const place = document.getElementById("margin-plots");
  if (place === null) return;
  const found = cells.filter((cell) => cell.kind.name === "conforms" && cell.margin > 0 && cell.case.dtype !== "");
  const byDtype = groups(found, (cell) => cell.case.dtype);
  const left = Math.min(200, 20 + 6.5 * Math.max(0, ...columns.map((each) => each.label.length)));
  place.replaceChildren(...byDtype.map(([dtype, some]) => margins(dtype, some, left, wide(place))));
}

function margins(dtype, some, left, width) {
  const byColumn = Map.groupBy(some, (cell) => cell.column);
  const present = columns.filter((each) => byColumn.has(each));
  const area = { left, right: width - 20, top: 20, bottom: 20 + ROW * present.length };
  const x = d3.scaleLinear([0, 1], [area.left, area.right]);
  const middle = (column) => area.top + ROW * (present.indexOf(column) + 0.5);
  const count = (area.right - area.left) / 80;
  const name = ({ label }) => (label.length > LABEL ? `${label.slice(0, LABEL - 1)}…` : label);
  return figure(`${dtype}: margins of conforming cells that are not exact`, width, area.bottom + 44, [
    x.ticks(count).map((value) => upright(x(value), area, { class: "grid" })),
    bottomAxis(x, area, x.ticks(count), x.tickFormat(count)),
    drawn("text", { x: width - 2, y: area.bottom + 40, "text-anchor": "end" }, "margin: 1 is the limit →"),
    leftAxis(middle, area, present, name),
    upright(x(1), area, { class: "limit" }),
    present.map((column) => {
      const values = byColumn.get(column).map((cell) => Math.min(cell.margin, 1));
      return drawn("g", { class: "box", transform: `translate(0, ${middle(column)})` }, box(values, x));
    }),
  ]);
}

/**
 * Return a box from quartile to quartile with its median, whiskers to the last values that lie within 1.5 lengths of the
 * box from it, and a circle for each value beyond.
 */
function box(values, x) {
  const [low, median, high] = [0.25, 0.5, 0.75].map((share) => d3.quantile(values, share));
  const isNear = (value) => value >= low - 1.5 * (high - low) && value <= high + 1.5 * (high - low);
  const [least, most] = d3.extent(values.filter(isNear));
  return [
    drawn("line", { x1: x(least), x2: x(most) }),
    drawn("rect", { x: x(low), y: -BOX / 2, width: x(high) - x(low), height: BOX }),
    drawn("line", { x1: x(median), x2: x(median), y1: -BOX / 2, y2: BOX / 2, class: "median" }),
    values.filter((value) => !isNear(value)).map((value) => drawn("circle", { cx: x(value), r: 2 })),
  ];
}

/** Draw what the nights before had: outcomes as bars, margins as lines. */
export function drawHistory() {
  if (!nights) return;
  drawOutcomes(document.getElementById("night-plots"));
  const trends = document.getElementById("trend-plots");
  if (trends !== null) drawTrends(trends);
}

function drawOutcomes(place) {
  const present = kinds.filter((kind) => nights.nights.some(([, counts]) => counts[kind.number] > 0));
  const loud = present.filter((kind) => !["conforms", "not_run", "unsupported"].includes(kind.name));
  place.replaceChildren(
    outcomes("Cells by outcome, each night", present, wide(place)),
    ...(loud.length ? [outcomes("Of these, cells that fail or diverge", loud, wide(place))] : []),
  );
}

function outcomes(title, some, width) {
  const colour = (kind) => `var(--${kind.name})`;
  const stack = d3
    .stack()
    .keys(some)
    .value(([, counts], kind) => counts[kind.number]);
  const layers = stack(nights.nights);
  const area = { left: 56, right: width - 20, top: 20, bottom: HEIGHT - 30 };
  const x = d3.scaleLinear([-0.45, nights.nights.length - 0.55], [area.left, area.right]);
  const y = d3.scaleLinear([0, d3.max(layers.flat(2)) ?? 0], [area.bottom, area.top]);
  const bars = layers.map((layer) =>
    drawn(
      "g",
      { fill: colour(layer.key) },
      layer.map(([lower, upper], night) =>
        drawn("rect", { x: x(night - 0.45), y: y(upper), width: x(0.9) - x(0), height: y(lower) - y(upper) }),
      ),
    ),
  );
  const colours = some.map((kind) => [kind.words, colour(kind)]);
  return figure(title, width, HEIGHT, [byNight(x, y, area, "cells"), bars, ground(area)], colours);
}

/** Return the axes of a plot over the nights, with as many dates as there is room for. */
function byNight(x, y, area, label) {
  const step = Math.max(1, Math.ceil(nights.nights.length / Math.floor((area.right - area.left) / 90)));
  const dated = [...nights.nights.keys()].filter((night) => night % step === 0);
  const count = (area.bottom - area.top) / 35;
  return [
    y.ticks(count).map((value) => level(y(value), area, { class: "grid" })),
    leftAxis(y, area, y.ticks(count), y.tickFormat(count)),
    drawn("text", { x: 4, y: 12 }, `↑ ${label}`),
    bottomAxis(x, area, dated, date),
  ];
}

function date(night) {
  return nights.nights[night][0].slice(0, 10);
}

function ground(area) {
  return level(area.bottom, area, { class: "axis" });
}

function drawTrends(place) {
  const plots = groups(nights.margins, ([, dtype]) => dtype).flatMap(([dtype, some]) => {
    const medians = some.map(([name, , numbers]) => [name, numbers]);
    const maxima = some.map(([name, , , numbers]) => [name, numbers]);
    return [
      trends(`${dtype}: medians over the nights`, new Map(medians), wide(place)),
      trends(`${dtype}: largest margins over the nights`, new Map(maxima), wide(place)),
    ];
  });
  place.replaceChildren(...plots);
}

/** Return a line for each implementation, with gaps where a night has no margin, and a dot for each night. */
function trends(title, series, width) {
  const names = [...series.keys()].sort();
  const colours = names.map((name, index) => [name, d3.schemeObservable10[index % 10]]);
  const area = { left: 40, right: width - 10, top: 20, bottom: HEIGHT - 30 };
  const x = d3.scaleLinear([0, nights.nights.length - 1], [area.left, area.right]);
  const y = d3.scaleLinear([0, d3.max([...series.values()].flat()) ?? 0], [area.bottom, area.top]);
  const line = d3
    .line()
    .defined((margin) => margin !== null)
    .x((_, night) => x(night))
    .y(y);
  const paths = colours.map(([name, stroke]) => drawn("path", { d: line(series.get(name)) ?? "", stroke }));
  const dots = colours.map(([name, fill]) =>
    drawn(
      "g",
      { fill },
      series.get(name).flatMap((margin, night) => {
        if (margin === null) return [];
        const said = drawn("title", {}, `${name}, ${date(night)}: ${short(margin)}`);
        return drawn("circle", { cx: x(night), cy: y(margin), r: 2.5 }, said);
      }),
    ),
  );
  return figure(title, width, HEIGHT, [byNight(x, y, area, "margin"), ground(area), paths, dots], colours);
}

function wide(place) {
  return Math.max(300, Math.min(580, place.clientWidth || 640));
}

/** Return pairs of key and members, sorted by key. */
function groups(members, key) {
  const byKey = Map.groupBy(members, key);
  return [...byKey.keys()].sort().map((each) => [each, byKey.get(each)]);
}
