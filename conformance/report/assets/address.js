// The page's address says which view is shown and in which state, so that what one sees can be sent to somebody else:
// #/matrix?outcome=violates&text=784

/** Return view and state of an address; the view is "" where it names none. */
export function parsed(hash) {
  const found = /^#\/([a-z]+)(?:\?(.*))?$/s.exec(hash);
  if (found === null) return { view: "", state: {} };
  return { view: found[1], state: Object.fromEntries(new URLSearchParams(found[2] ?? "")) };
}

/** Return the address of a view in a state; what is empty is left out. */
export function address(view, state = {}) {
  const said = Object.entries(state)
    .filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false)
    .map(([key, value]) => `${key}=${quoted(String(value))}`)
    .join("&");
  return `#/${view}${said === "" ? "" : `?${said}`}`;
}

function quoted(text) {
  return encodeURIComponent(text.toWellFormed?.() ?? text)
    .replaceAll("%2F", "/")
    .replaceAll("%3A", ":")
    .replaceAll("%2C", ",");
}

/** Put a state into the page's address without a new entry in the browser's history: for what changes as one types. */
export function replaceAddress(view, state) {
  history.replaceState(null, "", address(view, state));
}
