// The cases, columns and cells that a filter of the matrix leaves. Plain values: no element.

import { cases, cells, columns, disagrees, entries, kinds } from "./data.js";

/** Names of the filter's parameters, in the order in which they stand in an address. */
export const FILTERS = ["text", "outcome", "framework", "column", "check", "dtype", "rank", "entry", "disagree"];

/** Return the values that can be chosen, by the name of the parameter. */
export function choices() {
  const sorted = (values) =>
    [...new Set(values)].sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
  const signatures = [...new Set(cells.map((cell) => cell.signature))];
  return {
    framework: sorted(columns.map((each) => each.family)),
    check: sorted(signatures.flatMap((signature) => signature.checks.map((each) => each.name))),
    dtype: sorted(cases.map((each) => each.dtype).filter((each) => each !== "")),
    rank: sorted(cases.map((each) => each.rank).filter((each) => each >= 0)),
  };
}

/** Return the outcome of a cell; with `check` the outcome of this check, or null where the cell has no such check. */
export function kindOf(cell, check) {
  if (!check) return cell.kind;
  const outcomes = cell.signature.checks.filter((each) => each.name === check).map((each) => each.kind);
  if (outcomes.length === 0) return null;
  return outcomes.reduce((worst, each) => (each.number < worst.number ? each : worst));
}

/** Return the columns of a filter, the cases of which at least one cell matches it, and the number of these cells. */
export function select(filter) {
  const selection = { columns: columns.filter((each) => matchesColumn(filter, each)), cases: [], matching: 0 };
  const matches = cellFilter(filter, new Set(selection.columns));
  const matchesCase = caseFilter(filter);
  for (const each of cases) {
    if (!matchesCase(each)) continue;
    let count = 0;
    for (let index = each.first; index < each.first + each.count; index += 1) count += matches(cells[index]) ? 1 : 0;
    selection.matching += count;
    if (count) selection.cases.push(each);
  }
  return selection;
}

function matchesColumn(filter, { family, name }) {
  return (!filter.framework || family === filter.framework) && (!filter.column || name === filter.column);
}

function cellFilter(filter, selectedColumns) {
  const outcomes = new Set(filter.outcome.split(",").filter((each) => kinds.some((kind) => kind.name === each)));
  const entry = entries.findIndex((each) => each.anchor === filter.entry);
  return (cell) => {
    if (!selectedColumns.has(cell.column)) return false;
    const kind = kindOf(cell, filter.check);
    if (kind === null || (outcomes.size && !outcomes.has(kind.name))) return false;
    if (!filter.entry) return true;
    if (entry < 0) return false;
    return cell.signature.entry === entry || cell.signature.checks.some((check) => check.entry === entry);
  };
}

function caseFilter(filter) {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  return (each) =>
    (!filter.dtype || each.dtype === filter.dtype) &&
    (!filter.rank || String(each.rank) === filter.rank) &&
    words.every((word) => each.id.toLowerCase().includes(word)) &&
    (!filter.disagree || disagrees(each));
}

/** Return rows of the table: a heading before the cases of each file. */
export function withHeadings(selected) {
  return selected.flatMap((each, index) => {
    const isFirst = index === 0 || selected[index - 1].file !== each.file;
    return isFirst ? [{ heading: each.file }, { case: each }] : [{ case: each }];
  });
}

/** Return groups of neighbouring columns of one framework: its name and the number of columns. */
export function frameworks(selected) {
  const groups = [];
  for (const each of selected) {
    const last = groups.at(-1);
    if (last?.name === each.family) last.count += 1;
    else groups.push({ name: each.family, count: 1 });
  }
  return groups;
}
