// The question of a case: in words, and as the row of a case table that states it.

import { questionsOf } from "./data.js";
import { code, element, outer } from "./dom.js";

/** Return the elements of a case's question, once for each form that it has in the results files. */
export function question(each) {
  const parts = questionsOf(each).flatMap(({ words, yaml, why, row, source, isLink }) => [
    words.length ? element("p", { class: "question" }, `${words.join("; ")}.`) : null,
    why ? element("p", { class: "why" }, why) : null,
    element("p", { class: "quiet" }, row || "no row named", source ? " · " : null, isLink ? outer(source) : source),
    yaml ? code(yaml, "row") : null,
  ]);
  return parts.filter(Boolean);
}
