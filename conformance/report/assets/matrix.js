// The matrix: a case in each row, an implementation in each column. Only the rows in sight are elements of the page, so
// that a hundred thousand cells scroll as ten do; on paper all rows are.

import { address, replaceAddress } from "./address.js";
import { cells, cellsOf, columns, entries, files, kinds, shadeOf, signOf, titleOf } from "./data.js";
import { counted, element, inner } from "./dom.js";
import { choices, frameworks, KEYS, selected, shownKind, withHeadings } from "./matrix_rows.js";

const ROW_HEIGHT = 28; // px, as the style has it
const BEYOND = 12; // rows made above and below those in sight
const PRINTED = 3000; // rows on paper
const devices = new Set(columns.map((each) => each.device)).size;

let made = null; // the elements of the view, made when it is first opened
let state = {};
let asked = { shown: [], found: [], matching: 0 };
let rows = [];
let inSight = [0, 0];

/** Show the matrix in a state. */
export function showMatrix(section, wanted) {
  made ??= build(section);
  state = Object.fromEntries(KEYS.map((key) => [key, wanted[key] ?? ""]));
  fillForm();
  update();
}

function build(section) {
  const options = choices();
  const present = kinds.filter((kind) => cells.some((cell) => cell.kind === kind));
  const select = (key, label) =>
    element(
      "label",
      {},
      `${label} `,
      element(
        "select",
        { name: key, onchange: read },
        element("option", { value: "" }, "all"),
        options[key].map((each) => element("option", { value: each }, each)),
      ),
    );
  const form = element(
    "form",
    { class: "filter", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() },
    element(
      "label",
      {},
      "case ",
      element("input", { type: "search", name: "text", oninput: read, autocomplete: "off" }),
    ),
    element(
      "fieldset",
      {},
      element("legend", {}, "outcome"),
      present.map((kind) =>
        element(
          "label",
          { class: `chip ${kind.name}`, title: kind.meaning },
          element("input", { type: "checkbox", name: "outcome", value: kind.name, onchange: read }),
          ` ${kind.glyph} ${kind.words}`,
        ),
      ),
    ),
    select("framework", "framework"),
    select("check", "check"),
    select("dtype", "dtype"),
    select("rank", "rank"),
    element(
      "label",
      { title: "cases whose judged implementations did not all fare the same" },
      element("input", { type: "checkbox", name: "disagree", onchange: read }),
      " disagree",
    ),
    element("span", { class: "chosen" }),
    element("button", { type: "button", onclick: reset }, "Show all"),
  );
  const status = element("p", { role: "status", class: "quiet" });
  const cut = element("p", { class: "quiet" });
  const head = element("thead");
  const body = element("tbody");
  const table = element(
    "table",
    { class: "cells" },
    element("caption", { class: "unseen" }, "Outcome of each cell"),
    head,
    body,
  );
  const scroller = element(
    "div",
    { class: "matrix", tabindex: "0", role: "region", "aria-label": "Cells", onscroll: onScroll, onkeydown: onKey },
    table,
  );
  section.append(
    element("h2", {}, "Matrix"),
    element(
      "details",
      { class: "quiet" },
      element("summary", {}, "How to read it"),
      element(
        "p",
        {},
        "The number in a cell is its margin: the largest error found over the largest allowed, where 1 is the limit ",
        "and 0 is exact; the shade follows it. An asterisk: some checks of the cell cannot be answered. With a check ",
        "chosen, a cell shows the outcome of that check. Arrow keys move from cell to cell.",
      ),
    ),
    form,
    status,
    scroller,
    cut,
  );
  addEventListener("resize", () => draw(false));
  addEventListener("beforeprint", () => section.hidden || draw(true));
  addEventListener("afterprint", () => section.hidden || draw(false));
  return { form, status, cut, head, body, table, scroller, chosen: form.querySelector(".chosen") };
}

function fillForm() {
  const { form } = made;
  for (const key of ["text", "framework", "check", "dtype", "rank"]) form.elements[key].value = state[key];
  const outcomes = new Set(state.outcome.split(","));
  for (const each of form.querySelectorAll("[name=outcome]")) each.checked = outcomes.has(each.value);
  form.elements.disagree.checked = state.disagree !== "";
  const column = columns.find((each) => each.name === state.column);
  const entry = entries.find((each) => each.anchor === state.entry);
  const drop = (key, said) =>
    element(
      "button",
      { type: "button", onclick: () => change({ [key]: "" }), title: "remove this filter" },
      `${said} ×`,
    );
  made.chosen.replaceChildren(
    ...(column ? [drop("column", column.label)] : []),
    ...(entry ? [drop("entry", `entry: ${entry.title.slice(0, 60)}`)] : []),
  );
}

function read() {
  const { form } = made;
  const outcomes = [...form.querySelectorAll("[name=outcome]:checked")].map((each) => each.value);
  const values = Object.fromEntries(
    ["text", "framework", "check", "dtype", "rank"].map((key) => [key, form.elements[key].value]),
  );
  change({ ...values, outcome: outcomes.join(","), disagree: form.elements.disagree.checked ? "yes" : "" });
}

function reset() {
  change(Object.fromEntries(KEYS.map((key) => [key, ""])));
}

function change(values) {
  state = { ...state, ...values };
  replaceAddress("matrix", state);
  fillForm();
  update();
}

function update() {
  asked = selected(state);
  rows = withHeadings(asked.found);
  made.status.textContent = `${counted(asked.found.length, "case")}, ${counted(asked.matching, "cell")} of ${counted(cells.length)}.`;
  const { head, table, scroller } = made;
  table.setAttribute("aria-rowcount", rows.length + 2);
  table.style.setProperty("--columns", asked.shown.length);
  head.replaceChildren(
    element(
      "tr",
      { class: "frameworks", "aria-rowindex": 1 },
      element("td", {}),
      frameworks(asked.shown).map((each) => element("th", { scope: "colgroup", colspan: each.count }, each.name)),
    ),
    element(
      "tr",
      { "aria-rowindex": 2 },
      element("th", { scope: "col" }, "Case"),
      asked.shown.map((each) =>
        element("th", { scope: "col", title: each.label }, element("span", {}, columnName(each))),
      ),
    ),
  );
  scroller.scrollTop = 0;
  draw(false, true);
}

/** Return what stands above a column: the implementation without its framework, which stands above that. */
function columnName({ implementation, family, device, source }) {
  const rest = implementation.slice(family.length).replace(/^[-:/]/, "");
  const name = implementation.startsWith(family) && rest !== "" ? rest : implementation;
  return name + (devices > 1 ? `/${device}` : "") + (source ? ` (${source})` : "");
}

function onScroll() {
  requestAnimationFrame(() => draw(false));
}

/** Make the rows in sight; all of them where `whole`, which is for paper. */
function draw(whole, anew = false) {
  const { scroller, body } = made;
  const first = whole ? 0 : Math.max(0, Math.floor(scroller.scrollTop / ROW_HEIGHT) - BEYOND);
  const tall = Math.max(scroller.clientHeight, 600);
  const last = Math.min(rows.length, whole ? PRINTED : first + Math.ceil(tall / ROW_HEIGHT) + 2 * BEYOND);
  if (!anew && inSight[0] === first && inSight[1] === last) return;
  inSight = [first, last];
  const left = whole ? rows.length - last : 0;
  made.cut.textContent = left > 0 ? `${counted(left, "more row")} would not fit on paper; filter to see them.` : "";
  const held = document.activeElement?.dataset?.place;
  const shown = [];
  for (let index = first; index < last; index += 1) shown.push(row(rows[index], index));
  body.replaceChildren(gap(first), ...shown, gap(rows.length - last));
  if (held) body.querySelector(`[data-place="${held}"]`)?.focus({ preventScroll: true });
}

/** Return a row that is as tall as those that are not made. */
function gap(count) {
  return element(
    "tr",
    { class: "gap", "aria-hidden": "true" },
    element("td", { colspan: asked.shown.length + 1, style: `height:${count * ROW_HEIGHT}px` }),
  );
}

function row(each, index) {
  if (each.heading !== undefined) {
    const name = files[each.heading] || "(no row named)";
    return element(
      "tr",
      { class: "file", "aria-rowindex": index + 3 },
      element("th", { scope: "rowgroup", colspan: asked.shown.length + 1 }, element("span", {}, name)),
    );
  }
  const byColumn = Map.groupBy(cellsOf(each.case), (cell) => cell.column);
  const link = inner(address("case", { case: each.case.name }), each.case.id, { title: each.case.id });
  return element(
    "tr",
    { "aria-rowindex": index + 3 },
    element("th", { scope: "row" }, link),
    asked.shown.map((column, place) => element("td", {}, marks(byColumn.get(column) ?? [], index, place))),
  );
}

function marks(found, index, place) {
  if (found.length === 0) return element("i", { title: "no line in the results: not asked, or not reached" }, "·");
  return found.map((cell, copy) => {
    const kind = shownKind(cell, state.check);
    if (kind === null) return element("i", { title: `${state.check} was not asked` }, "·");
    const title = state.check ? `${state.check}: ${kind.words}` : titleOf(cell);
    return inner(addressOf(cell), state.check ? kind.glyph : signOf(cell), {
      class: kind.name + (state.check ? "" : shadeOf(cell)),
      title,
      "aria-label": `${title}: ${cell.column.label}, ${cell.case.id}`,
      "data-place": copy ? null : `${index}-${place}`,
      tabindex: "-1",
    });
  });
}

/** Return the address of a cell's view. */
export function addressOf(cell) {
  return address("cell", { case: cell.case.name, column: cell.column.name, copy: cell.copy || "" });
}

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Move from cell to cell with the arrow keys; from the table itself to the first cell in sight. */
function onKey(event) {
  const move = MOVES[event.key];
  const { scroller, body } = made;
  if (move === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  const place = document.activeElement?.dataset?.place;
  if (place === undefined) {
    if (document.activeElement !== scroller) return;
    const top = scroller.getBoundingClientRect().top + made.head.offsetHeight;
    const first = [...body.querySelectorAll("[data-place]")].find((each) => each.getBoundingClientRect().top >= top);
    if (first === undefined) return;
    event.preventDefault();
    first.focus({ preventScroll: true });
    return;
  }
  event.preventDefault();
  let [index, column] = place.split("-").map(Number);
  const limit = rows.length + asked.shown.length;
  for (let step = 0; step < limit; step += 1) {
    index += move[0];
    column += move[1];
    if (index < 0 || index >= rows.length || column < 0 || column >= asked.shown.length) return;
    if (rows[index].case && focusOn(index, column)) return;
  }
}

function focusOn(index, column) {
  const { scroller, body, head } = made;
  const top = index * ROW_HEIGHT;
  const room = scroller.clientHeight - head.offsetHeight - ROW_HEIGHT;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top > scroller.scrollTop + room) scroller.scrollTop = top - room;
  draw(false);
  const found = body.querySelector(`[data-place="${index}-${column}"]`);
  found?.focus({ preventScroll: true });
  found?.scrollIntoView({ block: "nearest", inline: "nearest" });
  return found !== null;
}
