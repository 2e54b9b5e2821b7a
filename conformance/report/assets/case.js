// One case: every implementation side by side, who disagrees with whom, and which give the same bits.

import { cases, cellsOf, detail, isJudged, kinds, short } from "./data.js";
import { chip, counted, element, inner, table } from "./dom.js";
import { addressOf } from "./matrix.js";
import { questionOf } from "./question.js";

/** Show the case that a state names. */
export function showCase(section, state) {
  const each = cases.find((one) => one.name === state.case);
  if (each === undefined) {
    section.replaceChildren(
      element("h2", {}, "No such case"),
      element("p", {}, `These results hold no case ${state.case ?? "(no case)"}.`),
    );
    return;
  }
  const found = cellsOf(each);
  section.replaceChildren(
    element("h2", { class: "id" }, each.id),
    ...questionOf(each).flat(2).filter(Boolean),
    element("h3", {}, "Who agrees with whom"),
    ...agreement(found),
    element("h3", {}, "Side by side"),
    sideBySide(found),
  );
}

function agreement(found) {
  const judged = found.filter(isJudged);
  const byKind = kinds
    .map((kind) => [kind, found.filter((cell) => cell.kind === kind)])
    .filter(([, some]) => some.length);
  const outcomes = new Set(judged.map((cell) => cell.kind)).size;
  let sentence = `All ${counted(judged.length)} judged have the same outcome.`;
  if (outcomes > 1) sentence = "They disagree:";
  if (judged.length < 2) sentence = judged.length ? "Only one was judged." : "None was judged.";
  const classes = Map.groupBy(
    found.filter((cell) => cell.bits >= 0),
    (cell) => cell.bits,
  );
  return [
    element("p", {}, sentence),
    element(
      "ul",
      { class: "groups" },
      byKind.map(([kind, some]) => element("li", {}, chip(kind), " ", names(some))),
    ),
    ...(classes.size ? bitwise(classes) : []),
  ];
}

/** Return the classes of implementations whose outputs have the same bits. */
function bitwise(classes) {
  const sentence =
    classes.size === 1
      ? "Bit for bit their outputs are the same."
      : `Bit for bit there are ${counted(classes.size)} outputs; within a class every bit is the same:`;
  const listed = [...classes].sort(([a], [b]) => a - b);
  return [
    element("p", {}, sentence),
    element(
      "ul",
      { class: "groups" },
      listed.map(([number, some]) =>
        element("li", {}, element("b", { class: "class" }, letter(number)), " ", names(some)),
      ),
    ),
  ];
}

/** Return A, B, ... Z, A1, B1 ... for 0, 1, ... */
function letter(number) {
  return String.fromCharCode(65 + (number % 26)) + (number < 26 ? "" : Math.floor(number / 26));
}

function names(some) {
  return some.map((cell, index) => [index ? ", " : null, inner(addressOf(cell), nameOf(cell))]);
}

function nameOf(cell) {
  return cell.column.label + (cell.copy ? ` (line ${cell.copy + 1})` : "");
}

function sideBySide(found) {
  const hasBits = found.some((cell) => cell.bits >= 0);
  const rows = found.map((cell) => [
    inner(addressOf(cell), nameOf(cell)),
    chip(cell.kind),
    short(cell.margin),
    ...(hasBits ? [cell.bits >= 0 ? letter(cell.bits) : ""] : []),
    observed(cell),
    said(cell),
  ]);
  const heads = ["Implementation", "Outcome", "Margin", ...(hasBits ? ["Bits"] : []), "Observed", "What it says"];
  return table("Side by side", heads, rows, "list beside");
}

/** Return what the first checks observed, where the page has it. */
function observed(cell) {
  const known = detail(cell);
  if (known === null) return "";
  const lines = known.checks
    .map((check) => [check.name, Object.fromEntries(check.found)])
    .filter(([, found]) => found.observed !== undefined || found.got !== undefined)
    .filter(([name]) => ["output_shape", "parameters", "output", "refusal"].includes(name))
    .map(([name, found]) =>
      element(
        "div",
        {},
        `${name} ${found.observed ?? `${found.got}${found["at element"] ? ` at ${found["at element"]}` : ""}`}`,
      ),
    );
  return lines;
}

function said(cell) {
  const known = detail(cell);
  return known?.summary || cell.signature.reason;
}
