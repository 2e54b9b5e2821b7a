// One cell: the question, what was expected and found, and how to reproduce it.

import { address, addressOf } from "./address.js";
import { short } from "./cell_text.js";
import { cells, detailOf, entries } from "./data.js";
import { chip, code, element, facts, inner, table } from "./dom.js";
import { question } from "./question.js";

/** Show the cell that the parameters name. */
export function showCell(section, { case: name, column, copy = "0" }) {
  const isNamed = (each) => each.case.name === name && each.column.name === column && each.copy === Number(copy);
  const cell = cells.find(isNamed);
  if (cell === undefined) {
    const reason = `These results hold no cell of ${column ?? "(no column)"} on ${name ?? "(no case)"}.`;
    section.replaceChildren(element("h2", {}, "No such cell"), element("p", {}, reason));
    return;
  }
  const detail = detailOf(cell);
  const findings = detail === null ? withoutDetail(cell) : withDetail(cell, detail);
  section.replaceChildren(
    ...heading(cell),
    element("h3", {}, "Question"),
    ...question(cell.case),
    ...findings.flat().filter(Boolean),
  );
}

function heading(cell) {
  const margin = element("span", { title: String(cell.margin) }, ` · margin ${short(cell.margin)}`);
  return [
    element("h2", { class: "id" }, cell.case.id),
    element(
      "p",
      { class: "verdict" },
      chip(cell.kind),
      ` ${cell.column.label}`,
      cell.copy ? ` (line ${cell.copy + 1} for this cell)` : null,
      cell.margin === null ? null : margin,
    ),
    element(
      "p",
      {},
      inner(address("case", { case: cell.case.name }), "all implementations on this case"),
      " ",
      neighbours(cell),
    ),
  ];
}

/** Return links to the cells before and after that fail or diverge. */
function neighbours(cell) {
  const before = cells.findLast((each) => each.number < cell.number && failsOrDiverges(each));
  const after = cells.find((each) => each.number > cell.number && failsOrDiverges(each));
  return [
    before ? [" · ", inner(addressOf(before), "previous that fails or diverges")] : null,
    after ? [" · ", inner(addressOf(after), "next that fails or diverges")] : null,
  ];
}

function failsOrDiverges({ kind }) {
  return kind.fails || kind.name === "diverges";
}

/** Return a link to an entry of the ledger, null for the number -1. */
function entryLink(number) {
  if (number < 0) return null;
  const { anchor, title } = entries[number];
  return element("p", { class: "entry" }, "Known: ", inner(address("divergences", { at: anchor }), title));
}

function withoutDetail(cell) {
  const { reason, place, entry, checks } = cell.signature;
  const rows = checks.map((each) => [each.name, [chip(each.kind), entryLink(each.entry)]]);
  const notice = "There is no room on this page for the rest that is known of this cell: the results file has it.";
  return [
    element("h3", {}, "What was found"),
    reason ? element("p", { class: "message" }, reason) : null,
    place ? element("p", {}, inner(place, "others like it")) : null,
    entryLink(entry),
    rows.length ? table("Checks", ["Check", "Outcome"], rows) : null,
    element("p", { class: "notice" }, notice),
    reproduction(cell, ""),
  ];
}

function withDetail(cell, { checks, crash, steps, script, others, entry }) {
  const { reason, place } = cell.signature;
  const isEmpty = checks.length === 0 && !crash;
  const worstFirst = [...checks].sort((a, b) => a.kind.number - b.kind.number);
  return [
    element("h3", {}, "What was found"),
    isEmpty && reason ? element("p", { class: "message" }, reason) : null,
    place ? element("p", {}, inner(place, "others like it")) : null,
    entryLink(entry),
    crash ? processEnd(crash) : null,
    worstFirst.map(checkFindings),
    isEmpty && !reason ? element("p", {}, "No check was judged.") : null,
    reproduction(cell, script),
    steps.length ? element("h3", {}, "Time of each step, in seconds") : null,
    steps.length ? table("Time of each step", ["Step", "seconds"], steps, "numbers steps") : null,
    others.length ? [element("h3", {}, "What else the record says"), facts(others)] : null,
  ];
}

function checkFindings({ name, kind, message, findings, facts: others, entry }) {
  const content = [
    message ? element("p", { class: "message" }, message) : null,
    entryLink(entry),
    findings.length ? facts(findings, "found") : null,
    others.length ? facts(others) : null,
  ];
  const title = [chip(kind), ` ${name}`];
  if (kind.name !== "conforms" && kind.name !== "unsupported") {
    return element("section", { class: `problem ${kind.name}` }, element("h4", {}, title), content);
  }
  const { margin } = Object.fromEntries(findings);
  const marginText = margin === undefined ? "" : ` · margin ${short(Number(margin))}`;
  return element("details", { class: "check" }, element("summary", {}, title, marginText), content);
}

function processEnd({ facts: pairs, notes, stderr }) {
  const log = element(
    "details",
    { open: true },
    element("summary", {}, "end of its stderr"),
    element("pre", { tabindex: "0" }, stderr),
  );
  return element(
    "section",
    { class: "problem crashed" },
    element("h4", {}, "How the process ended"),
    facts(pairs),
    notes.map((each) => element("p", { class: "message" }, each)),
    stderr ? log : null,
  );
}

/** Return the script that reproduces a cell, or the command that writes one; nothing for a cell that conforms. */
function reproduction(cell, script) {
  if (!script && !failsOrDiverges(cell)) return [];
  const name = `${cell.column.device}/${cell.column.implementation}/${cell.case.id}`;
  const quoted = /^[\w./:@=+-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
  const shown = script ? code(script, "script") : code(`conformance reproduce ${quoted}`, "command");
  return [element("h3", {}, "See it yourself"), shown];
}
