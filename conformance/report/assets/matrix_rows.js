// Which cases, columns and cells a state of the matrix asks for. Plain values: no element.

import { cases, cells, columns, disagrees, entries, kinds } from "./data.js";

/** The keys of the matrix's state, in the order in which they stand in an address. */
export const KEYS = ["text", "outcome", "framework", "column", "check", "dtype", "rank", "entry", "disagree"];

/** Return what can be chosen of each thing that can be filtered by. */
export function choices() {
  const sorted = (found) =>
    [...new Set(found)].sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
  const checks = new Set();
  for (const signature of new Set(cells.map((cell) => cell.signature))) {
    for (const each of signature.checks) checks.add(each.name);
  }
  return {
    framework: sorted(columns.map((each) => each.family)),
    check: sorted(checks),
    dtype: sorted(cases.map((each) => each.dtype).filter((each) => each !== "")),
    rank: sorted(cases.map((each) => each.rank).filter((each) => each >= 0)),
  };
}

/** Return the outcome that a cell is shown with: its own, or the chosen check's, or null where that was not asked. */
export function shownKind(cell, check) {
  if (!check) return cell.kind;
  const found = cell.signature.checks.filter((each) => each.name === check);
  if (found.length === 0) return null;
  return found.reduce((worst, each) => (each.kind.number < worst.number ? each.kind : worst), found[0].kind);
}

/**
 * Return the columns that are shown, and the cases grouped by file, of which at least one cell is what is asked for.
 *
 * `matching` counts these cells.
 */
export function selected(state) {
  const shown = columns.filter(
    (each) => (!state.framework || each.family === state.framework) && (!state.column || each.name === state.column),
  );
  const isShown = new Set(shown);
  const outcomes = new Set((state.outcome ?? "").split(",").filter((each) => kinds.some((kind) => kind.name === each)));
  const words = (state.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const entry = state.entry ? entries.findIndex((each) => each.anchor === state.entry) : null;
  const wanted = (cell) => {
    if (!isShown.has(cell.column)) return false;
    const kind = shownKind(cell, state.check);
    if (kind === null || (outcomes.size && !outcomes.has(kind.name))) return false;
    if (entry === null) return true;
    if (entry < 0) return false;
    return cell.signature.entry === entry || cell.signature.checks.some((check) => check.entry === entry);
  };
  const found = [];
  let matching = 0;
  for (const each of cases) {
    if (state.dtype && each.dtype !== state.dtype) continue;
    if (state.rank && String(each.rank) !== state.rank) continue;
    if (words.length && !words.every((word) => each.id.toLowerCase().includes(word))) continue;
    if (state.disagree && !disagrees(each)) continue;
    let here = 0;
    for (let index = each.first; index < each.first + each.count; index += 1) here += wanted(cells[index]) ? 1 : 0;
    matching += here;
    if (here) found.push(each);
  }
  return { shown, found, matching };
}

/** Return rows of the table: a heading before the cases of each file. */
export function withHeadings(found) {
  const rows = [];
  let file = -1;
  for (const each of found) {
    if (each.file !== file) rows.push({ heading: (file = each.file) });
    rows.push({ case: each });
  }
  return rows;
}

/** Return groups of neighbouring columns of one framework, as pairs of its name and their number. */
export function frameworks(shown) {
  const groups = [];
  for (const each of shown) {
    const last = groups.at(-1);
    if (last?.name === each.family) last.count += 1;
    else groups.push({ name: each.family, count: 1 });
  }
  return groups;
}
