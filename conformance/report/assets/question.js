// What a case asks: in words, and as the row of a case table that asks it again.

import { questions } from "./data.js";
import { code, element, outer } from "./dom.js";

/** Return the elements that say what a case asks, once for each way in which the results files have it. */
export function questionOf(each) {
  return questions(each).map((asked) => [
    asked.words.length ? element("p", { class: "asked" }, `${asked.words.join("; ")}.`) : null,
    asked.why ? element("p", { class: "why" }, asked.why) : null,
    element(
      "p",
      { class: "quiet" },
      asked.row || "no row named",
      asked.source ? " · " : null,
      asked.isLink ? outer(asked.source) : asked.source,
    ),
    asked.yaml ? code(asked.yaml, "row") : null,
  ]);
}
