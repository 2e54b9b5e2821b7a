// The views: which one is on the screen is what the page's address says.

import { showCase } from "./case.js";
import { showCell } from "./cell.js";
import { cells } from "./data.js";
import { element, inner } from "./dom.js";
import { showMatrix } from "./matrix.js";
import { drawHistory, drawMargins } from "./plots.js";
import { showRule } from "./rule.js";
import { readAddress, state } from "./state.js";

/**
 * Views that scripts make. `show` is called with the section of the view and the parameters of the address. `place` says
 * where the link to the view stands: beside which view of the template, and on which side.
 */
const SCRIPTED = [
  { name: "matrix", title: "Matrix", show: showMatrix, place: ["afterend", "overview"], needsCells: true },
  { name: "case", title: "Case", show: showCase, needsCells: true },
  { name: "cell", title: "Cell", show: showCell, needsCells: true },
  { name: "rule", title: "The rule", show: showRule, place: ["beforebegin", "environment"] },
];
/** What scripts draw into views of the template whenever they are opened. */
const PLOTS = { numerics: drawMargins, history: drawHistory };

const main = document.querySelector("main");
const navigation = document.querySelector("nav");
const headline = document.title;

function makeView({ name, title, place }) {
  main.append(element("section", { class: "view", id: name, tabindex: "-1", "aria-label": title, hidden: true }));
  if (place === undefined) return;
  const [side, other] = place;
  const link = inner(`#/${name}`, title);
  navigation.querySelector(`[href="#/${other}"]`).insertAdjacentElement(side, link);
}

/** Show the view that the address names, else the overview. */
function show(isFirst) {
  readAddress();
  const sections = new Map([...main.querySelectorAll(":scope > .view")].map((each) => [each.id, each]));
  if (!sections.has(state.view)) state.view = "overview";
  for (const [name, section] of sections) section.hidden = name !== state.view;
  const section = sections.get(state.view);
  document.body.dataset.view = state.view;
  const view = SCRIPTED.find(({ name }) => name === state.view);
  if (view) view.show(section, state.parameters);
  else PLOTS[state.view]?.();
  for (const link of navigation.querySelectorAll("a")) {
    if (link.hash.split("?")[0] === `#/${state.view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = state.view === "overview" ? headline : `${section.getAttribute("aria-label")} · ${headline}`;
  reach(section, state.parameters.at, isFirst);
}

/** Bring the element with the id `at`, or the view itself, into sight and under the keyboard. */
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

for (const view of SCRIPTED) {
  if (cells.length || !view.needsCells) makeView(view);
}
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById(state.view).focus();
});
document.documentElement.classList.add("js");
addEventListener("hashchange", () => show(false));
show(true);
// For measurements: from here on the page answers.
performance.mark("interactive");
