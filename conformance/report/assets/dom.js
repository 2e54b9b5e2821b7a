// Elements made of text. This is the only way in which anything of a results file enters the page: as a text node or
// as the value of an attribute that cannot run, never as markup.

/**
 * Return a new element. `attributes` are set as they are, but for `class`, and `on...` which is a function; children
 * are elements, or anything else as text. What is null or false is left out.
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

/** Return a new element of a drawing. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat(3));
  return made;
}

/** Return a link to a view of this page. */
export function inner(address, text, attributes = {}) {
  return element("a", { href: address, ...attributes }, text);
}

/** Return a link to a web address, or its text where it is not one that may be followed. */
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
  const wide = new Set(["expected", "observed", "exact", "got", "line of the bound"]);
  return element(
    "dl",
    { class: className },
    pairs.map(([name, value]) =>
      element("div", { class: wide.has(name) ? "wide" : null }, element("dt", {}, name), element("dd", {}, value)),
    ),
  );
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
  const said = element("span", { role: "status", class: "copied" });
  const copy = async () => {
    said.textContent = (await copied(text, block)) ? "copied" : "selected: copy it with the keyboard";
  };
  return element(
    "div",
    { class: "code" },
    element("p", { class: "tools" }, element("button", { type: "button", onclick: copy }, `Copy ${label}`), " ", said),
    block,
  );
}

/** Copy text, or select it where a browser does not let a page copy. */
async function copied(text, block) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(block);
    return document.execCommand("copy");
  }
}

/** Return a count as people write it. */
export function counted(number, noun) {
  const said = number.toLocaleString("en-US");
  return noun === undefined ? said : `${said} ${noun}${number === 1 ? "" : "s"}`;
}
