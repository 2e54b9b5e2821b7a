// The matrix: a case in each row, an implementation in each column, and a filter above.

import { cells } from "./data.js";
import { counted, element } from "./dom.js";
import { matrixKeyHelp } from "./keys.js";
import { fillForm, makeForm } from "./matrix_filter.js";
import { drawHead, drawRows, makeTable } from "./matrix_table.js";
import { FILTERS, select, withHeadings } from "./selection.js";
import { setParameters, state } from "./state.js";

/** Show the matrix with the filter that the address has. */
export function showMatrix(section, parameters) {
  state.matrix.elements ??= build(section);
  state.parameters = filterOf(parameters);
  update();
}

/** Return a filter, in which every parameter is a text, "" where it leaves all. */
function filterOf(parameters) {
  return Object.fromEntries(FILTERS.map((name) => [name, parameters[name] ?? ""]));
}

function changeFilter(parameters) {
  setParameters(filterOf({ ...state.parameters, ...parameters }));
  update();
}

function build(section) {
  const form = makeForm(changeFilter);
  const status = element("p", { role: "status", class: "quiet" });
  const unprinted = element("p", { class: "quiet" });
  const table = makeTable();
  section.append(element("h2", {}, "Matrix"), help(), form, status, table.scroller, unprinted);
  addEventListener("resize", () => drawRows());
  addEventListener("beforeprint", () => section.hidden || drawRows({ forPaper: true }));
  addEventListener("afterprint", () => section.hidden || drawRows());
  return { form, status, unprinted, ...table };
}

function help() {
  return element(
    "details",
    { class: "quiet" },
    element("summary", {}, "How to read it"),
    element(
      "p",
      {},
      "The number in a cell is its margin: the largest error found over the largest allowed, where 1 is the limit ",
      "and 0 is exact; the shade follows it. An asterisk: some checks of the cell cannot be answered. With a check ",
      "chosen, a cell shows the outcome of that check.",
    ),
    element("p", {}, "Keys: ", matrixKeyHelp(), "."),
  );
}

/** Show what the filter leaves. */
function update() {
  const { matrix } = state;
  matrix.selection = select(state.parameters);
  matrix.rows = withHeadings(matrix.selection.cases);
  const { elements, selection } = matrix;
  fillForm(elements.form, state.parameters, changeFilter);
  elements.status.textContent = `${counted(selection.cases.length, "case")}, ${counted(selection.matching, "cell")} of ${counted(cells.length)}.`;
  drawHead();
  elements.scroller.scrollTop = 0;
  drawRows({ anew: true });
}
