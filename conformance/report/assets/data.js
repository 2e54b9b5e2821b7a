// What the page is about, read once from the JSON in the page. Nothing here changes, and nothing is an element. The form
// of the JSON is that of conformance/report/payload.py.

const payload = JSON.parse(document.getElementById("data").textContent);
const texts = (numbers) => numbers.map((each) => payload.strings[each]);
const pairs = (numbers) => numbers.map(texts);

/** Kinds of outcome, worst first. */
export const kinds = payload.kinds.map(([name, glyph, words, meaning, fails], number) => ({
  name,
  glyph,
  words,
  meaning,
  fails,
  number,
}));

/** Columns of the matrix: an implementation on a device. */
export const columns = payload.columns.map(([label, implementation, device, source, family, name], number) => ({
  label,
  implementation,
  device,
  source,
  family,
  name,
  number,
}));

/** Names of the files of rows. */
export const files = payload.files;

/** Entries of the ledger that cover a cell: where the page shows each, and its title. */
export const entries = payload.entries.map(([anchor, title]) => ({ anchor, title }));

/** What the page shows of earlier nights, null where it shows none. */
export const history = payload.history;

/** Cases in the order of the matrix. `first` and `count` say which of `cells` are the case's. */
export const cases = readCases();

/** All cells, row by row. A margin is a number, NaN where the file has NaN, or null. */
export const cells = readCells();

function readCases() {
  let next = 0;
  return payload.cases.map(([id, name, file, line, count, dtype, rank, questions], number) => {
    const first = next;
    next += count;
    return { id, name: name || id, file, line, count, first, dtype: payload.strings[dtype], rank, questions, number };
  });
}

function readCells() {
  const kindOfLetter = new Map([...payload.letters].map((letter, number) => [letter, kinds[number]]));
  const signatures = payload.signatures.map(([reason, checks, entry, place]) => ({
    reason: payload.strings[reason],
    checks: checks.map(([name, kind, entry]) => ({ name: payload.strings[name], kind: kinds[kind], entry })),
    entry,
    place: payload.strings[place],
  }));
  return cases.flatMap((each) =>
    Array.from({ length: each.count }, (_, index) => {
      const number = each.first + index;
      return {
        number,
        case: each,
        column: columns[payload.column[number]],
        kind: kindOfLetter.get(payload.kind[number]),
        margin: readMargin(payload.margin[number]),
        signature: signatures[payload.signature[number]],
        copy: payload.copies[number] ?? 0,
        bits: payload.bits.length ? payload.bits[number] : -1,
      };
    }),
  );
}

function readMargin(margin) {
  if (typeof margin !== "string") return margin;
  return { inf: Infinity, "-inf": -Infinity }[margin] ?? NaN;
}

/** Return the questions of a case: one for each form that it has in the files. */
export function questionsOf(each) {
  return each.questions.map(([words, yaml, why, row, source, isLink]) => ({
    words: texts(words),
    yaml: texts(yaml).join("\n"),
    why: payload.strings[why],
    row: payload.strings[row],
    source: payload.strings[source],
    isLink: isLink === 1,
  }));
}

/** Return the cells of a case. */
export function cellsOf(each) {
  return cells.slice(each.first, each.first + each.count);
}

/** Return the detail of a cell, or null where the page has none. */
export function detailOf(cell) {
  const detail = payload.details[cell.number];
  if (detail === undefined) return null;
  const [summary, checks, crash, steps, script, others, entry] = detail;
  return {
    summary: payload.strings[summary],
    checks: checks.map(([name, kind, message, findings, facts, entry]) => ({
      name: payload.strings[name],
      kind: kinds[kind],
      message: payload.strings[message],
      findings: pairs(findings),
      facts: pairs(facts),
      entry,
    })),
    crash: crash && { facts: pairs(crash[0]), notes: texts(crash[1]), stderr: payload.strings[crash[2]] },
    steps: pairs(steps),
    script: payload.strings[script],
    others: pairs(others),
    entry,
  };
}

/** Return whether a cell was judged. */
export function isJudged(cell) {
  return cell.kind.fails || cell.kind.name === "diverges" || cell.kind.name === "conforms";
}

/** Return whether the judged implementations of a case differ in their outcome. */
export function disagrees(each) {
  const judged = cellsOf(each).filter(isJudged);
  return new Set(judged.map((cell) => cell.kind)).size > 1;
}
