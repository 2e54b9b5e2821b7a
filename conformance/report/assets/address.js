// Addresses within the page: the name of a view and its parameters.

/** Return view and parameters of an address; the view is "" where the address names none. */
export function parsedAddress(hash) {
  const match = /^#\/([a-z]+)(?:\?(.*))?$/s.exec(hash);
  if (match === null) return { view: "", parameters: {} };
  return { view: match[1], parameters: Object.fromEntries(new URLSearchParams(match[2] ?? "")) };
}

/** Return the address of a view with parameters; empty parameters are left out. */
export function address(view, parameters = {}) {
  const query = Object.entries(parameters)
    .filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false)
    .map(([name, value]) => `${name}=${quoted(String(value))}`)
    .join("&");
  return `#/${view}${query === "" ? "" : `?${query}`}`;
}

/** Return the address of a cell's view. */
export function addressOf(cell) {
  return address("cell", { case: cell.case.name, column: cell.column.name, copy: cell.copy || "" });
}

function quoted(text) {
  return encodeURIComponent(text.toWellFormed?.() ?? text)
    .replaceAll("%2F", "/")
    .replaceAll("%3A", ":")
    .replaceAll("%2C", ",");
}
