// One case: every implementation side by side, which of them agree, and which give the same bits.

import { addressOf } from "./address.js";
import { short } from "./cell_text.js";
import { cases, cellsOf, detailOf, isJudged, kinds } from "./data.js";
import { chip, counted, element, inner, table } from "./dom.js";
import { question } from "./question.js";

/** Checks whose observed value stands in the table of implementations. */
const OBSERVED = ["output_shape", "parameters", "output", "refusal"];

/** Show the case that the parameters name. */
export function showCase(section, { case: name }) {
  const found = cases.find((each) => each.name === name);
  if (found === undefined) {
    const reason = `These results hold no case ${name ?? "(no case)"}.`;
    section.replaceChildren(element("h2", {}, "No such case"), element("p", {}, reason));
    return;
  }
  const cells = cellsOf(found);
  section.replaceChildren(
    element("h2", { class: "id" }, found.id),
    ...question(found),
    element("h3", {}, "Who agrees with whom"),
    ...agreement(cells),
    element("h3", {}, "Side by side"),
    sideBySide(cells),
  );
}

function agreement(cells) {
  const byKind = Map.groupBy(cells, (cell) => cell.kind);
  const groups = kinds
    .filter((kind) => byKind.has(kind))
    .map((kind) => element("li", {}, chip(kind), " ", links(byKind.get(kind))));
  const withBits = cells.filter((cell) => cell.bits >= 0);
  const classes = Map.groupBy(withBits, (cell) => cell.bits);
  return [
    element("p", {}, agreementSentence(cells.filter(isJudged))),
    element("ul", { class: "groups" }, groups),
    ...(classes.size ? equalBits(classes) : []),
  ];
}

function agreementSentence(judged) {
  if (judged.length === 0) return "None was judged.";
  if (judged.length === 1) return "Only one was judged.";
  if (new Set(judged.map((cell) => cell.kind)).size > 1) return "They disagree:";
  return `All ${counted(judged.length)} judged have the same outcome.`;
}

/** Return the classes of implementations whose outputs have the same bits. */
function equalBits(classes) {
  const sentence =
    classes.size === 1
      ? "Bit for bit their outputs are the same."
      : `Bit for bit there are ${counted(classes.size)} outputs; within a class every bit is the same:`;
  const sorted = [...classes].sort(([a], [b]) => a - b);
  const items = sorted.map(([number, cells]) =>
    element("li", {}, element("b", { class: "class" }, letter(number)), " ", links(cells)),
  );
  return [element("p", {}, sentence), element("ul", { class: "groups" }, items)];
}

/** Return A, B, ... Z, A1, B1 ... for 0, 1, ... */
function letter(number) {
  return String.fromCharCode(65 + (number % 26)) + (number < 26 ? "" : Math.floor(number / 26));
}

function links(cells) {
  return cells.map((cell, index) => [index ? ", " : null, inner(addressOf(cell), nameOf(cell))]);
}

function nameOf(cell) {
  return cell.column.label + (cell.copy ? ` (line ${cell.copy + 1})` : "");
}

function sideBySide(cells) {
  const hasBits = cells.some((cell) => cell.bits >= 0);
  const rows = cells.map((cell) => {
    const detail = detailOf(cell);
    return [
      inner(addressOf(cell), nameOf(cell)),
      chip(cell.kind),
      short(cell.margin),
      ...(hasBits ? [cell.bits >= 0 ? letter(cell.bits) : ""] : []),
      observed(detail?.checks ?? []),
      detail?.summary || cell.signature.reason,
    ];
  });
  const heads = ["Implementation", "Outcome", "Margin", ...(hasBits ? ["Bits"] : []), "Observed", "What it says"];
  return table("Side by side", heads, rows, "list beside");
}

/** Return a line for each check that observed a value. */
function observed(checks) {
  return checks.flatMap(({ name, findings }) => {
    const { observed: value, got, "at element": index } = Object.fromEntries(findings);
    if (!OBSERVED.includes(name) || (value === undefined && got === undefined)) return [];
    return [element("div", {}, `${name} ${value ?? `${got}${index ? ` at ${index}` : ""}`}`)];
  });
}
