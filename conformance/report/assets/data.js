// What the page is about, read once from the data that stands in it. Everything here is plain values: no element.

const given = JSON.parse(document.getElementById("data").textContent);

/** Outcomes, worst first. */
export const kinds = given.kinds.map(([name, glyph, words, meaning, fails], number) => ({
  name,
  glyph,
  words,
  meaning,
  fails,
  number,
}));

/** Columns of the matrix: an implementation on a device. */
export const columns = given.columns.map(([label, implementation, device, source, family, name], number) => ({
  label,
  implementation,
  device,
  source,
  family,
  name,
  number,
}));

export const files = given.files;

/** Entries of the ledger that know of a cell: the place where each is shown, and its reason. */
export const entries = given.entries.map(([anchor, title]) => ({ anchor, title }));

export const nights = given.history;

const strings = (numbers) => numbers.map((each) => given.strings[each]);
const pairs = (numbers) => numbers.map(strings);

let next = 0;
/** Cases in the order of the matrix; the cells of each are `cells.slice(first, first + count)`. */
export const cases = given.cases.map(([id, name, file, line, count, dtype, rank, ways], number) => {
  const first = next;
  next += count;
  return { id, name: name || id, file, line, count, first, dtype: given.strings[dtype], rank, ways, number };
});

/** Return what a case asks, once for each way in which the files have it. */
export function questions(each) {
  return each.ways.map(([words, yaml, why, row, source, isLink]) => ({
    words: strings(words),
    yaml: strings(yaml).join("\n"),
    why: given.strings[why],
    row: given.strings[row],
    source: given.strings[source],
    isLink: isLink === 1,
  }));
}

const signatures = given.signatures.map(([reason, checks, entry, place]) => ({
  reason: given.strings[reason],
  checks: checks.map(([name, kind, known]) => ({ name: given.strings[name], kind: kinds[kind], entry: known })),
  entry,
  place: given.strings[place],
}));

const byLetter = new Map([...given.letters].map((letter, number) => [letter, kinds[number]]));

/** All cells, row by row. A margin is a number, NaN where the file says so, or null. */
export const cells = [];
for (const each of cases) {
  for (let index = each.first; index < each.first + each.count; index += 1) {
    cells.push({
      number: index,
      case: each,
      column: columns[given.column[index]],
      kind: byLetter.get(given.kind[index]),
      margin: margin(given.margin[index]),
      signature: signatures[given.signature[index]],
      copy: given.copies[index] ?? 0,
      bits: given.bits.length ? given.bits[index] : -1,
    });
  }
}

function margin(said) {
  if (typeof said !== "string") return said;
  return { inf: Infinity, "-inf": -Infinity }[said] ?? NaN;
}

/** Return the cells of a case. */
export function cellsOf(each) {
  return cells.slice(each.first, each.first + each.count);
}

/** Return the detail of a cell, or null where the page has none. */
export function detail(cell) {
  const found = given.details[cell.number];
  if (found === undefined) return null;
  const [summary, checks, ended, steps, reproduce, others, entry] = found;
  return {
    summary: given.strings[summary],
    checks: checks.map(([name, kind, message, numbers, more, known]) => ({
      name: given.strings[name],
      kind: kinds[kind],
      message: given.strings[message],
      found: pairs(numbers),
      facts: pairs(more),
      entry: known,
    })),
    ended: ended && { facts: pairs(ended[0]), notes: strings(ended[1]), stderr: given.strings[ended[2]] },
    steps: pairs(steps),
    reproduce: given.strings[reproduce],
    others: pairs(others),
    entry,
  };
}

/** Return a margin in two significant digits; what is below the limit is never rounded up to it. */
export function short(value) {
  if (value === null || value === undefined) return "";
  if (value === 0 || !Number.isFinite(value)) return String(value).replace("Infinity", "inf").replace("NaN", "nan");
  if (value > 0.99 && value < 1) return ">0.99";
  const digits = Math.abs(value) < 100 ? 2 : 3;
  const exponent = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))));
  if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
  const [head, power] = value.toExponential(digits - 1).split("e");
  return `${Number(head)}e${power.replace(/^([+-])(\d)$/, "$10$2")}`;
}

/** Return whether a cell was judged. */
export function isJudged(cell) {
  return cell.kind.fails || cell.kind.name === "diverges" || cell.kind.name === "conforms";
}

/** Return whether the implementations that were judged on a case did not all fare the same. */
export function disagrees(each) {
  const found = new Set(
    cellsOf(each)
      .filter(isJudged)
      .map((cell) => cell.kind),
  );
  return found.size > 1;
}

/** Return a cell's outcome in words, for whoever cannot tell the sign or the colour. */
export function titleOf(cell) {
  const words = [cell.kind.words];
  if (cell.margin !== null) words.push(`margin ${short(cell.margin)}`);
  if (cell.signature.reason) words.push(cell.signature.reason);
  const named = (wanted) => cell.signature.checks.filter(wanted).map((check) => check.name);
  const failed = named((check) => !["conforms", "unsupported"].includes(check.kind.name));
  if (failed.length) words.push(`in ${failed.join(", ")}`);
  const unanswered = named((check) => check.kind.name === "unsupported");
  if (unanswered.length) words.push(`cannot answer ${unanswered.join(", ")}`);
  return words.join(", ");
}

/** Return what stands in a cell: the sign, and the margin unless it has nothing to do with the outcome. */
export function signOf(cell) {
  const beyond = cell.kind.name === "violates" && cell.margin !== null && !(cell.margin <= 1);
  const said = beyond || cell.kind.name === "conforms" ? short(cell.margin) : "";
  const partly =
    cell.kind.name !== "unsupported" && cell.signature.checks.some((each) => each.kind.name === "unsupported");
  return `${cell.kind.glyph} ${said}`.trimEnd() + (partly ? "*" : "");
}

/** Return the class that shades a conforming cell by how near it came to what is allowed, in quarters. */
export function shadeOf(cell) {
  if (cell.kind.name !== "conforms" || !(cell.margin > 0)) return "";
  return ` m${Math.min(4, 1 + Math.floor(cell.margin * 4))}`;
}
