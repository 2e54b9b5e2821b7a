// Plots of margins and of nights. Each stands above a table with its numbers, which is what a screen reader reads.

import { cells, columns, kinds, nights, short } from "./data.js";
import { element } from "./dom.js";

const DRAWN = { background: "none", color: "currentColor", fontSize: "12px", fontFamily: "inherit" };

/** Draw the margins of conforming cells: a box for each implementation, a plot for each dtype. */
export function drawMargins() {
  const place = document.getElementById("margin-plots");
  if (place === null) return;
  const found = cells.filter((cell) => cell.kind.name === "conforms" && cell.margin > 0 && cell.case.dtype !== "");
  const dtypes = [...new Set(found.map((cell) => cell.case.dtype))].sort();
  const labels = columns.map((each) => each.label);
  const marginLeft = Math.min(200, 20 + 6.5 * Math.max(0, ...labels.map((each) => each.length)));
  place.replaceChildren(
    ...dtypes.map((dtype) => {
      const data = found
        .filter((cell) => cell.case.dtype === dtype)
        .map((cell) => ({ margin: Math.min(cell.margin, 1), label: cell.column.label }));
      const present = labels.filter((label) => data.some((each) => each.label === label));
      return figure(`${dtype}: margins of conforming cells that are not exact`, {
        width: wide(place),
        height: 64 + 26 * present.length,
        marginLeft,
        marginBottom: 44,
        x: { domain: [0, 1], label: "margin: 1 is the limit", labelOffset: 40, grid: true },
        y: { domain: present, label: null, tickFormat: (each) => (each.length > 28 ? `${each.slice(0, 27)}…` : each) },
        marks: [
          Plot.ruleX([1], { stroke: "var(--violates)", strokeWidth: 1.5 }),
          Plot.boxX(data, {
            x: "margin",
            y: "label",
            fill: "color-mix(in srgb, var(--conforms) 35%, var(--page))",
            stroke: "var(--ink)",
            r: 2,
          }),
        ],
      });
    }),
  );
}

/** Draw what the nights before had: outcomes as bars, margins as lines. */
export function drawHistory() {
  if (!nights) return;
  drawOutcomes(document.getElementById("night-plots"));
  const trends = document.getElementById("trend-plots");
  if (trends !== null) drawTrends(trends);
}

function drawOutcomes(place) {
  const shown = kinds.filter((kind, number) => nights.nights.some(([, counts]) => counts[number] > 0));
  const data = nights.nights.flatMap(([started, counts], night) =>
    shown.map((kind) => ({ night, started, kind: kind.words, cells: counts[kind.number] })),
  );
  const loud = data.filter((each) => !["conforms", "not run", "unsupported"].includes(each.kind));
  const colours = (some) => ({
    domain: some.map((kind) => kind.words),
    range: some.map((kind) => `var(--${kind.name})`),
    legend: true,
  });
  const louder = shown.filter((kind) => loud.some((each) => each.kind === kind.words));
  place.replaceChildren(
    outcomes("Cells by outcome, each night", data, colours(shown), place),
    ...(louder.length ? [outcomes("Of these, cells that fail or diverge", loud, colours(louder), place)] : []),
  );
}

function outcomes(title, data, color, place) {
  return figure(title, {
    width: wide(place),
    height: 200,
    marginLeft: 56,
    x: byNight(wide(place)),
    y: { label: "cells", grid: true },
    color,
    marks: [
      Plot.rectY(data, { x1: (each) => each.night - 0.45, x2: (each) => each.night + 0.45, y: "cells", fill: "kind" }),
      Plot.ruleY([0]),
    ],
  });
}

/** Return an axis of nights, with as many dates as there is room for. */
function byNight(width) {
  const count = nights.nights.length;
  const step = Math.max(1, Math.ceil(count / Math.floor((width - 60) / 90)));
  return {
    label: null,
    ticks: Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step),
    tickFormat: (index) => nights.nights[index]?.[0].slice(0, 10) ?? "",
  };
}

function drawTrends(place) {
  const dtypes = [...new Set(nights.margins.map(([, dtype]) => dtype))].sort();
  const plots = dtypes.flatMap((dtype) => {
    const some = nights.margins.filter(([, each]) => each === dtype);
    return [
      [2, "medians"],
      [3, "largest margins"],
    ].map(([column, what]) => {
      const data = some.flatMap((each) =>
        each[column].map((margin, night) => ({ implementation: each[0], night, margin })),
      );
      return figure(`${dtype}: ${what} over the nights`, {
        width: wide(place),
        height: 200,
        marginRight: 10,
        x: byNight(wide(place)),
        y: { label: "margin", grid: true, zero: true },
        color: { legend: true, scheme: "Observable10" },
        marks: [
          Plot.ruleY([0]),
          Plot.lineY(data, {
            x: "night",
            y: "margin",
            stroke: "implementation",
            title: (each) => `${each.implementation}: ${short(each.margin)}`,
          }),
          Plot.dot(data, { x: "night", y: "margin", fill: "implementation", r: 2.5 }),
        ],
      });
    });
  });
  place.replaceChildren(...plots);
}

function wide(place) {
  return Math.max(300, Math.min(580, place.clientWidth || 640));
}

/** Return a titled plot; its title is all that is read out, as the numbers stand in a table. */
function figure(title, options) {
  const drawing = Plot.plot({ style: DRAWN, ...options });
  const svg = drawing.tagName === "svg" ? drawing : drawing.querySelector(":scope > svg:last-of-type");
  for (const each of drawing.tagName === "svg" ? [] : drawing.querySelectorAll("svg"))
    each.setAttribute("aria-hidden", "true");
  svg.removeAttribute("aria-hidden");
  // The parts of a picture have no names of their own: it is one thing, named below.
  for (const part of svg.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${title}; the table below has the numbers`);
  return element("figure", {}, element("figcaption", {}, title), drawing);
}
