// The form of the matrix's filter: what can be chosen, and what is.

import { cells, columns, entries, kinds } from "./data.js";
import { element } from "./dom.js";
import { choices, FILTERS } from "./selection.js";

/** Parameters of the filter that a field of the form holds as its value. */
const FIELDS = ["text", "framework", "check", "dtype", "rank"];

/** Return the form. `change` is called with the parameters that a reader changes. */
export function makeForm(change) {
  const onchange = () => change(valuesOf(form));
  const values = choices();
  const form = element(
    "form",
    { class: "filter", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() },
    element(
      "label",
      {},
      "case ",
      element("input", { type: "search", name: "text", oninput: onchange, autocomplete: "off" }),
    ),
    outcomes(onchange),
    ["framework", "check", "dtype", "rank"].map((name) => choice(name, values[name], onchange)),
    element(
      "label",
      { title: "cases whose judged implementations differ in their outcome" },
      element("input", { type: "checkbox", name: "disagree", onchange }),
      " disagree",
    ),
    element("span", { class: "chosen" }),
    element(
      "button",
      { type: "button", onclick: () => change(Object.fromEntries(FILTERS.map((name) => [name, ""]))) },
      "Show all",
    ),
  );
  return form;
}

function outcomes(onchange) {
  const present = kinds.filter((kind) => cells.some((cell) => cell.kind === kind));
  const boxes = present.map((kind) =>
    element(
      "label",
      { class: `chip ${kind.name}`, title: kind.meaning },
      element("input", { type: "checkbox", name: "outcome", value: kind.name, onchange }),
      ` ${kind.glyph} ${kind.words}`,
    ),
  );
  return element("fieldset", {}, element("legend", {}, "outcome"), boxes);
}

function choice(name, values, onchange) {
  const options = values.map((each) => element("option", { value: each }, each));
  const all = element("option", { value: "" }, "all");
  return element("label", {}, `${name} `, element("select", { name, onchange }, all, options));
}

/** Return the parameters that the fields of the form hold. */
function valuesOf(form) {
  const checked = [...form.querySelectorAll("[name=outcome]:checked")].map((each) => each.value);
  return {
    ...Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value])),
    outcome: checked.join(","),
    disagree: form.elements.disagree.checked ? "yes" : "",
  };
}

/** Show a filter in the form. `change` is called when a reader drops a column or an entry. */
export function fillForm(form, filter, change) {
  for (const name of FIELDS) form.elements[name].value = filter[name];
  const checked = new Set(filter.outcome.split(","));
  for (const each of form.querySelectorAll("[name=outcome]")) each.checked = checked.has(each.value);
  form.elements.disagree.checked = filter.disagree !== "";
  const column = columns.find((each) => each.name === filter.column);
  const entry = entries.find((each) => each.anchor === filter.entry);
  const drop = (name, text) =>
    element(
      "button",
      { type: "button", onclick: () => change({ [name]: "" }), title: "remove this filter" },
      `${text} ×`,
    );
  form
    .querySelector(".chosen")
    .replaceChildren(
      ...(column ? [drop("column", column.label)] : []),
      ...(entry ? [drop("entry", `entry: ${entry.title.slice(0, 60)}`)] : []),
    );
}
