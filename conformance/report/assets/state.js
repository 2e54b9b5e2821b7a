// The page's state: everything that changes while the page is open. Its view and parameters also stand in the page's
// address, so that a link shows somebody else the same: #/matrix?outcome=violates&text=784

import { address, parsedAddress } from "./address.js";

export const state = {
  /** Name of the view on the screen. */
  view: "",
  /** What the address tells this view: texts by name. */
  parameters: {},
  matrix: {
    /** Elements of the view, null until it is opened. */
    elements: null,
    /** What the filter leaves: the columns, the cases, and how many of their cells match. */
    selection: { columns: [], cases: [], matching: 0 },
    /** Rows of the table: cases, and a heading before those of each file. */
    rows: [],
    /** Indices of the first row that is an element of the page, and of the row after the last. */
    drawn: [0, 0],
  },
  rule: {
    /** Elements of the view, null until it is opened. */
    elements: null,
  },
};

/** Set view and parameters to those of the page's address. */
export function readAddress() {
  Object.assign(state, parsedAddress(location.hash));
}

/** Set the parameters of the view, without a new entry in the browser's history: for what changes while one types. */
export function setParameters(parameters) {
  state.parameters = parameters;
  history.replaceState(null, "", address(state.view, parameters));
}
