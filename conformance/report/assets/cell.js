// One cell: what was asked, what was expected and found, and how to see it oneself.

import { address } from "./address.js";
import { cells, detail, entries, short } from "./data.js";
import { chip, code, element, facts, inner, table } from "./dom.js";
import { addressOf } from "./matrix.js";
import { questionOf } from "./question.js";

/** Show the cell that a state names. */
export function showCell(section, state) {
  const copy = Number(state.copy ?? 0);
  const cell = cells.find(
    (each) => each.case.name === state.case && each.column.name === state.column && each.copy === copy,
  );
  if (cell === undefined) {
    section.replaceChildren(
      element("h2", {}, "No such cell"),
      element(
        "p",
        {},
        `These results hold no cell of ${state.column ?? "(no column)"} on ${state.case ?? "(no case)"}.`,
      ),
    );
    return;
  }
  const known = detail(cell);
  section.replaceChildren(
    element("h2", { class: "id" }, cell.case.id),
    element(
      "p",
      { class: "verdict" },
      chip(cell.kind),
      ` ${cell.column.label}`,
      cell.copy ? ` (line ${cell.copy + 1} for this cell)` : null,
      cell.margin === null ? null : element("span", { title: String(cell.margin) }, ` · margin ${short(cell.margin)}`),
    ),
    element(
      "p",
      {},
      inner(address("case", { case: cell.case.name }), "all implementations on this case"),
      " ",
      neighbours(cell),
    ),
    element("h3", {}, "What is asked"),
    ...questionOf(cell.case).flat(2).filter(Boolean),
    ...(known === null ? brief(cell) : full(cell, known)),
  );
}

/** Return links to the cells before and after that are not green. */
function neighbours(cell) {
  const loud = (each) => each.kind.fails || each.kind.name === "diverges";
  const before = cells.findLast((each) => each.number < cell.number && loud(each));
  const after = cells.find((each) => each.number > cell.number && loud(each));
  return [
    before ? [" · ", inner(addressOf(before), "previous that fails or diverges")] : null,
    after ? [" · ", inner(addressOf(after), "next that fails or diverges")] : null,
  ];
}

/** Return a link to the entry of the ledger that knows of something. */
function entryLink(number) {
  if (number < 0) return null;
  const { anchor, title } = entries[number];
  return element("p", { class: "entry" }, "Known: ", inner(address("divergences", { at: anchor }), title));
}

function brief(cell) {
  const { signature } = cell;
  return [
    element("h3", {}, "What was found"),
    signature.reason ? element("p", { class: "message" }, signature.reason) : null,
    signature.place ? element("p", {}, inner(signature.place, "others like it")) : null,
    entryLink(signature.entry),
    signature.checks.length
      ? table(
          "Checks",
          ["Check", "Outcome"],
          signature.checks.map((each) => [each.name, [chip(each.kind), entryLink(each.entry)]]),
        )
      : null,
    element(
      "p",
      { class: "notice" },
      "There is no room on this page for the rest that is known of this cell: the results file has it.",
    ),
    ...reproduction(cell, ""),
  ].filter(Boolean);
}

function full(cell, known) {
  const { signature } = cell;
  return [
    element("h3", {}, "What was found"),
    known.ended || known.checks.length || !signature.reason
      ? null
      : element("p", { class: "message" }, signature.reason),
    signature.place ? element("p", {}, inner(signature.place, "others like it")) : null,
    entryLink(known.entry),
    known.ended ? ended(known.ended) : null,
    ...[...known.checks].sort((a, b) => a.kind.number - b.kind.number).map(check),
    known.checks.length === 0 && !known.ended && !signature.reason ? element("p", {}, "No check was judged.") : null,
    ...reproduction(cell, known.reproduce),
    known.steps.length
      ? [
          element("h3", {}, "Time of each step, in seconds"),
          table("Time of each step", ["Step", "seconds"], known.steps, "numbers steps"),
        ]
      : null,
    known.others.length ? [element("h3", {}, "What else the record says"), facts(known.others)] : null,
  ]
    .flat()
    .filter(Boolean);
}

function check(each) {
  const rest = [
    each.message ? element("p", { class: "message" }, each.message) : null,
    entryLink(each.entry),
    each.found.length ? facts(each.found, "found") : null,
    each.facts.length ? facts(each.facts) : null,
  ];
  const title = [chip(each.kind), ` ${each.name}`];
  if (each.kind.name !== "conforms" && each.kind.name !== "unsupported") {
    return element("section", { class: `problem ${each.kind.name}` }, element("h4", {}, title), rest);
  }
  const numbers = Object.fromEntries(each.found);
  const margin = numbers.margin === undefined ? "" : ` · margin ${short(Number(numbers.margin))}`;
  return element("details", { class: "check" }, element("summary", {}, title, margin), rest);
}

function ended({ facts: pairs, notes, stderr }) {
  return element(
    "section",
    { class: "problem crashed" },
    element("h4", {}, "How the process ended"),
    facts(pairs),
    notes.map((each) => element("p", { class: "message" }, each)),
    stderr
      ? element(
          "details",
          { open: true },
          element("summary", {}, "end of its stderr"),
          element("pre", { tabindex: "0" }, stderr),
        )
      : null,
  );
}

function reproduction(cell, script) {
  const name = `${cell.column.device}/${cell.column.implementation}/${cell.case.id}`;
  const quoted = /^[\w./:@=+-]+$/.test(name) ? name : `'${name.replaceAll("'", `'\\''`)}'`;
  // Where nothing fails there is nothing to show, and the command refuses.
  if (!script && !cell.kind.fails && cell.kind.name !== "diverges") return [];
  return [
    element("h3", {}, "See it yourself"),
    script ? code(script, "script") : code(`conformance reproduce ${quoted}`, "command"),
  ];
}
