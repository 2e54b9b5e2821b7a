// Elements made of text. Nothing of a results file enters the page in another way: it becomes a text node or the value of
// an attribute that cannot run, never markup.

/** Rows of a list of definitions that need the whole width, since their values are long. */
const WIDE = new Set(["expected", "observed", "exact", "got", "line of the bound"]);

/**
 * Return a new element. A function among `attributes` becomes a listener: its name is `on` and an event. Attributes and
 * children that are null, undefined or false are left out. A child is an element, a list of children, or anything else
 * as text.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(3).filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

/** Return a new element of an SVG drawing. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat(3));
  return made;
}

/** Return a link to an address within the page. */
export function inner(address, text, attributes = {}) {
  return element("a", { href: address, ...attributes }, text);
}

/** Return a link to a web address, or its text where the address is not one of the web. */
export function outer(address) {
  if (!/^https?:\/\//i.test(address)) return address;
  return element("a", { href: address, rel: "noopener noreferrer" }, address);
}

/** Return an outcome as a chip: its sign and its name. */
export function chip(kind) {
  return element("b", { class: `chip ${kind.name}`, title: kind.meaning }, `${kind.glyph} ${kind.words}`);
}

/** Return pairs of name and value as a list of definitions. */
export function facts(pairs, className = "facts") {
  const rows = pairs.map(([name, value]) =>
    element("div", { class: WIDE.has(name) ? "wide" : null }, element("dt", {}, name), element("dd", {}, value)),
  );
  return element("dl", { class: className }, rows);
}

/** Return a table of texts or elements; the first column heads its rows. */
export function table(label, heads, rows, className = "list") {
  const head = heads.map((each) => element("th", { scope: "col" }, each));
  const row = ([first, ...others]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, first),
      others.map((each, index) => element("td", { "data-label": heads[index + 1].toLowerCase() }, each)),
    );
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    element(
      "table",
      { class: className },
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, rows.map(row)),
    ),
  );
}

/** Return a block of code with a button that copies it. */
export function code(text, label) {
  const block = element("pre", { tabindex: "0", "aria-label": label }, text);
  const status = element("span", { role: "status", class: "copied" });
  const onclick = async () => {
    status.textContent = (await copy(text, block)) ? "copied" : "selected: copy it with the keyboard";
  };
  return element(
    "div",
    { class: "code" },
    element("p", { class: "tools" }, element("button", { type: "button", onclick }, `Copy ${label}`), " ", status),
    block,
  );
}

/** Copy text, or select it where the browser lets no page copy; return whether it was copied. */
async function copy(text, block) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(block);
    return document.execCommand("copy");
  }
}

/** Return a number with commas between thousands, and with `noun` a count of it: "1 cell", "2 cells". */
export function counted(number, noun) {
  const digits = number.toLocaleString("en-US");
  return noun === undefined ? digits : `${digits} ${noun}${number === 1 ? "" : "s"}`;
}
