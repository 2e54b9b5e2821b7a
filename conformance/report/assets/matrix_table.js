// The table of the matrix. Only the rows in sight are elements of the page, so that a hundred thousand cells scroll as
// ten do; on paper all rows are.

import { address, addressOf } from "./address.js";
import { shadeOf, signOf, titleOf } from "./cell_text.js";
import { cellsOf, columns, files } from "./data.js";
import { counted, element, inner } from "./dom.js";
import { stepOf } from "./keys.js";
import { frameworks, kindOf } from "./selection.js";
import { state } from "./state.js";

const ROW_HEIGHT = 28; // px, as in the style
const MARGIN = 12; // rows drawn above and below those in sight
const PAPER_ROWS = 3000; // most rows on paper
const HEAD_ROWS = 2;
const deviceCount = new Set(columns.map((each) => each.device)).size;

/** Return the elements of an empty table. */
export function makeTable() {
  const head = element("thead");
  const body = element("tbody");
  const caption = element("caption", { class: "unseen" }, "Outcome of each cell");
  const table = element("table", { class: "cells" }, caption, head, body);
  const onscroll = () => requestAnimationFrame(() => drawRows());
  const scroller = element(
    "div",
    { class: "matrix", tabindex: "0", role: "region", "aria-label": "Cells", onscroll, onkeydown: onKey },
    table,
  );
  return { head, body, table, scroller };
}

/** Make the head of the table. */
export function drawHead() {
  const { elements, rows, selection } = state.matrix;
  elements.table.setAttribute("aria-rowcount", rows.length + HEAD_ROWS);
  elements.table.style.setProperty("--columns", selection.columns.length);
  const groups = frameworks(selection.columns).map(({ name, count }) =>
    element("th", { scope: "colgroup", colspan: count }, name),
  );
  const names = selection.columns.map((each) =>
    element("th", { scope: "col", title: each.label }, element("span", {}, columnName(each))),
  );
  elements.head.replaceChildren(
    element("tr", { class: "frameworks", "aria-rowindex": 1 }, element("td", {}), groups),
    element("tr", { "aria-rowindex": 2 }, element("th", { scope: "col" }, "Case"), names),
  );
}

/** Return the name of a column without its framework, which stands above it. */
function columnName({ implementation, family, device, source }) {
  const rest = implementation.slice(family.length).replace(/^[-:/]/, "");
  const name = implementation.startsWith(family) && rest !== "" ? rest : implementation;
  return name + (deviceCount > 1 ? `/${device}` : "") + (source ? ` (${source})` : "");
}

/** Make the rows in sight, or all for paper. Rows that are there already stay unless they are to be made anew. */
export function drawRows({ forPaper = false, anew = false } = {}) {
  const { elements, rows, drawn } = state.matrix;
  const [first, last] = forPaper ? [0, Math.min(rows.length, PAPER_ROWS)] : rowsInSight();
  if (!anew && drawn[0] === first && drawn[1] === last) return;
  state.matrix.drawn = [first, last];
  const missing = forPaper ? rows.length - last : 0;
  elements.unprinted.textContent =
    missing > 0 ? `${counted(missing, "more row")} would not fit on paper; filter to see them.` : "";
  const focused = document.activeElement?.dataset?.place;
  const made = rows.slice(first, last).map((each, index) => row(each, first + index));
  elements.body.replaceChildren(gap(first), ...made, gap(rows.length - last));
  if (focused) markAt(focused)?.focus({ preventScroll: true });
}

function rowsInSight() {
  const { elements, rows } = state.matrix;
  const first = Math.max(0, Math.floor(elements.scroller.scrollTop / ROW_HEIGHT) - MARGIN);
  const height = Math.max(elements.scroller.clientHeight, 600);
  return [first, Math.min(rows.length, first + Math.ceil(height / ROW_HEIGHT) + 2 * MARGIN)];
}

/** Return one row as tall as `count` rows that are not made. */
function gap(count) {
  const colspan = state.matrix.selection.columns.length + 1;
  const cell = element("td", { colspan, style: `height:${count * ROW_HEIGHT}px` });
  return element("tr", { class: "gap", "aria-hidden": "true" }, cell);
}

function row(each, index) {
  const { columns: selected } = state.matrix.selection;
  const rowIndex = index + HEAD_ROWS + 1;
  if (each.heading !== undefined) {
    const name = element("span", {}, files[each.heading] || "(no row named)");
    const head = element("th", { scope: "rowgroup", colspan: selected.length + 1 }, name);
    return element("tr", { class: "file", "aria-rowindex": rowIndex }, head);
  }
  const byColumn = Map.groupBy(cellsOf(each.case), (cell) => cell.column);
  const link = inner(address("case", { case: each.case.name }), each.case.id, { title: each.case.id });
  return element(
    "tr",
    { "aria-rowindex": rowIndex },
    element("th", { scope: "row" }, link),
    selected.map((column, place) => element("td", {}, marks(byColumn.get(column) ?? [], `${index}-${place}`))),
  );
}

/** Return the marks of the cells at one place of the table, which are several where files are shown together. */
function marks(cells, place) {
  const { check } = state.parameters;
  if (cells.length === 0) return element("i", { title: "no line in the results: it did not run, or was not reached" }, "·");
  return cells.map((cell, copy) => {
    const kind = kindOf(cell, check);
    if (kind === null) return element("i", { title: `${check} was not judged` }, "·");
    const title = check ? `${check}: ${kind.words}` : titleOf(cell);
    return inner(addressOf(cell), check ? kind.glyph : signOf(cell), {
      class: kind.name + (check ? "" : shadeOf(cell)),
      title,
      "aria-label": `${title}: ${cell.column.label}, ${cell.case.id}`,
      "data-place": copy ? null : place,
      tabindex: "-1",
    });
  });
}

function markAt(place) {
  return state.matrix.elements.body.querySelector(`[data-place="${place}"]`);
}

/** Move the focus from cell to cell, or from the table itself to the first cell in sight. */
function onKey(event) {
  const step = stepOf(event);
  if (step === null) return;
  const place = document.activeElement?.dataset?.place;
  const hasMoved = place === undefined ? focusFirstInSight() : focusNext(place, step);
  if (hasMoved || place !== undefined) event.preventDefault();
}

/** Move the focus from the table itself to the first cell in sight; return whether it was moved. */
function focusFirstInSight() {
  const { scroller, head, body } = state.matrix.elements;
  if (document.activeElement !== scroller) return false;
  const top = scroller.getBoundingClientRect().top + head.offsetHeight;
  const first = [...body.querySelectorAll("[data-place]")].find((each) => each.getBoundingClientRect().top >= top);
  first?.focus({ preventScroll: true });
  return first !== undefined;
}

/** Move the focus in steps to the next place with a cell; return whether there is one. */
function focusNext(place, [down, right]) {
  const { rows, selection } = state.matrix;
  let [index, column] = place.split("-").map(Number);
  for (;;) {
    index += down;
    column += right;
    if (index < 0 || index >= rows.length || column < 0 || column >= selection.columns.length) return false;
    if (rows[index].case && focusOn(index, column)) return true;
  }
}

/** Scroll to a place and focus its cell; return whether it has one. */
function focusOn(index, column) {
  const { scroller, head } = state.matrix.elements;
  const top = index * ROW_HEIGHT;
  const room = scroller.clientHeight - head.offsetHeight - ROW_HEIGHT;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top > scroller.scrollTop + room) scroller.scrollTop = top - room;
  drawRows();
  const mark = markAt(`${index}-${column}`);
  mark?.focus({ preventScroll: true });
  mark?.scrollIntoView({ block: "nearest", inline: "nearest" });
  return mark !== null;
}
