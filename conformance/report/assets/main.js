// Which view is shown: what the page's address says.

import { parsed } from "./address.js";
import { showCase } from "./case.js";
import { showCell } from "./cell.js";
import { showMatrix } from "./matrix.js";
import { drawHistory, drawMargins } from "./plots.js";
import { showRule } from "./rule.js";

const SHOWN = {
  matrix: showMatrix,
  case: showCase,
  cell: showCell,
  rule: showRule,
  numerics: drawMargins,
  history: drawHistory,
};
const views = new Map([...document.querySelectorAll("main > .view")].map((each) => [each.id, each]));
const headline = document.title;

function show(isFirst) {
  const asked = parsed(location.hash);
  const view = views.has(asked.view) ? asked.view : "overview";
  for (const [name, section] of views) section.hidden = name !== view;
  const section = views.get(view);
  document.body.dataset.view = view;
  SHOWN[view]?.(section, asked.state);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash.split("?")[0] === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const title = section.getAttribute("aria-label");
  document.title = view === "overview" ? headline : `${title} · ${headline}`;
  reach(section, asked.state.at, isFirst);
}

/** Bring what was asked for into sight and under the keyboard. */
function reach(section, at, isFirst) {
  const target = at ? document.getElementById(at) : null;
  for (const each of document.querySelectorAll(".reached")) each.classList.remove("reached");
  if (target !== null && section.contains(target)) {
    target.classList.add("reached");
    target.focus({ preventScroll: true });
    target.scrollIntoView();
  } else if (!isFirst) {
    section.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  views.get(document.body.dataset.view).focus();
});
document.documentElement.classList.add("js");
addEventListener("hashchange", () => show(false));
show(true);
// For whoever measures: from here on the page answers.
performance.mark("interactive");
