// A cell in a few characters or words: its sign, its margin, its title. Plain text: no element.

/** Return a margin in two significant digits. A margin below the limit 1 is never rounded up to it. */
export function short(margin) {
  if (margin === null || margin === undefined) return "";
  if (margin === 0 || !Number.isFinite(margin)) return String(margin).replace("Infinity", "inf").replace("NaN", "nan");
  if (margin > 0.99 && margin < 1) return ">0.99";
  const digits = Math.abs(margin) < 100 ? 2 : 3;
  const exponent = Math.floor(Math.log10(Math.abs(Number(margin.toPrecision(digits)))));
  if (exponent >= -4 && exponent < digits) return String(Number(margin.toPrecision(digits)));
  const [head, power] = margin.toExponential(digits - 1).split("e");
  return `${Number(head)}e${power.replace(/^([+-])(\d)$/, "$10$2")}`;
}

/** Return a cell's outcome in words, for readers who cannot tell its sign or its colour. */
export function titleOf({ kind, margin, signature }) {
  const names = (isWanted) => signature.checks.filter(isWanted).map((check) => check.name);
  const failed = names((check) => !["conforms", "unsupported"].includes(check.kind.name));
  const unanswered = names((check) => check.kind.name === "unsupported");
  const words = [
    kind.words,
    margin === null ? "" : `margin ${short(margin)}`,
    signature.reason,
    failed.length ? `in ${failed.join(", ")}` : "",
    unanswered.length ? `cannot answer ${unanswered.join(", ")}` : "",
  ];
  return words.filter(Boolean).join(", ");
}

/** Return what stands in a cell of the matrix: its sign, and its margin where the margin explains the outcome. */
export function signOf({ kind, margin, signature }) {
  const isBeyondLimit = kind.name === "violates" && margin !== null && !(margin <= 1);
  const number = isBeyondLimit || kind.name === "conforms" ? short(margin) : "";
  const isPartial = kind.name !== "unsupported" && signature.checks.some((each) => each.kind.name === "unsupported");
  return `${kind.glyph} ${number}`.trimEnd() + (isPartial ? "*" : "");
}

/** Return the class that shades a conforming cell by its margin, in quarters of the limit. */
export function shadeOf({ kind, margin }) {
  if (kind.name !== "conforms" || !(margin > 0)) return "";
  return ` m${Math.min(4, 1 + Math.floor(margin * 4))}`;
}
