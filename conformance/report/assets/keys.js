// The keys that the page answers beside those of the browser. The handlers and the page's help are made from this table.

import { element } from "./dom.js";

/** Keys of the matrix by their name in an event: sign and words for the help, the step in rows and in columns. */
const MATRIX_KEYS = {
  ArrowUp: { sign: "↑", words: "cell above", step: [-1, 0] },
  ArrowDown: { sign: "↓", words: "cell below", step: [1, 0] },
  ArrowLeft: { sign: "←", words: "cell to the left", step: [0, -1] },
  ArrowRight: { sign: "→", words: "cell to the right", step: [0, 1] },
};

/** Return the step in rows and columns that a key asks for, null for another key or one with Alt, Ctrl or Meta. */
export function stepOf(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || !Object.hasOwn(MATRIX_KEYS, event.key)) return null;
  return MATRIX_KEYS[event.key].step;
}

/** Return the keys of the matrix and what they do, to put into a sentence. */
export function matrixKeyHelp() {
  return Object.values(MATRIX_KEYS).map(({ sign, words }, index) => [
    index ? ", " : null,
    element("kbd", {}, sign),
    ` ${words}`,
  ]);
}
