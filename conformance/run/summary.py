"""
The summary at the end of a run: the first red cells in full, counts, and the commands to type next.

It is made from a tally alone. Each line has a style, which the caller may ignore. Text of a framework is shown without
control characters.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from conformance.results import FAILING, OUTCOMES, CellRecord, CheckRecord, has_script
from conformance.results.behaviours import Counts, near_text
from conformance.results.record import CellName, EntryRecord, Number, QuestionRecord
from conformance.run.tally import MOST_FAILING, Tally

Line = tuple[str, str]
"""A line and its style as rich names it, empty for none."""

#: Red cells that are shown in full, and the further ones that are listed by name.
IN_FULL: Final = 3
NAMED: Final = 10
assert IN_FULL + NAMED <= MOST_FAILING
#: The last lines that a crashed process printed, and the most characters of a message.
_LINES_OF_STDERR: Final = 5
_MOST_OF_A_MESSAGE: Final = 400
#: The most behaviours of one line.
_NAMED_BEHAVIOURS: Final = 6
#: The order of outcomes in the table.
_COLUMNS: Final = ("conforms", "diverges", "violates", "crashed", "timed_out", "unsupported", "not_run")
assert set(_COLUMNS) == set(OUTCOMES)


def summarise(
    tally: Tally,
    *,
    results: str | None,
    versions: Mapping[str, Mapping[str, str]] | None = None,
    strict: bool = False,
    idle: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    single_cell_command: Callable[[CellName], str | None] = lambda cell: None,
) -> Iterator[Line]:
    """
    Yield the lines of the summary.

    - `results`: the results file, if any.
    - `versions`: implementation -> distribution -> version, as far as they are known.
    - `strict`: whether a behaviour that is gone fails the run.
    - `idle`: implementations that were named and of which no cell ran, each with the reason.
    - `notes`: faults of rows that do not affect other rows.
    - `single_cell_command`: cell -> the command that runs this cell alone, None if there is none.
    """
    if tally.failing:
        yield from _failures(tally)
        yield "", ""
    yield from _table(tally) if tally.counted else ()
    news = [*_news(tally, versions or {}, strict=strict)]
    if news:
        yield "", ""
        yield from news
    if tally.unjudged:
        yield "", ""
        yield from _unjudged(tally)
    yield from _warnings(tally, idle or {}, notes)
    yield "", ""
    if tally.has_run:
        yield "slowest: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in tally.slowest), "dim"
    yield from _next_commands(
        tally.failing, results, single_cell_command, is_gone=bool(tally.behaviours.gone_behaviours)
    )


def _warnings(tally: Tally, idle: Mapping[str, str], notes: Sequence[str]) -> Iterator[Line]:
    """Yield faults of rows, and the implementations of which no cell ran."""
    if notes or idle or not tally.has_run:
        yield "", ""
    yield from ((_printable(each), "yellow") for each in notes)
    reasons = [f"{name}: {reason}" for name, reason in idle.items()]
    if not tally.has_run:
        yield _printable(f"no cell ran: {'; '.join(reasons) or _main_reason(tally)}"), "bold red"
    else:
        yield from ((_printable(f"no cell ran of {each}"), "bold red") for each in reasons)


def _unjudged(tally: Tally) -> Iterator[Line]:
    """Yield a line for each reason cells were not run, and one of unsupported cells for each implementation."""
    unsupported: dict[str, Counter[str]] = {}
    for (outcome, implementation, reason), count in sorted(tally.unjudged.items()):
        if outcome == "unsupported":
            unsupported.setdefault(implementation, Counter())[reason] += count
        else:
            yield f"not run: {_cells(count)} of {implementation}: {_printable(reason)}", "yellow"
    for implementation, reasons in unsupported.items():
        first, *others = (reason for reason, _ in reasons.most_common())
        more = f"; and {len(others)} other reason{'s' if len(others) > 1 else ''}" if others else ""
        yield f"unsupported: {_cells(reasons.total())} of {implementation}: {_printable(first)}{more}", "dim"


def _main_reason(tally: Tally) -> str:
    """Return why no cell was judged: the reason of most cells."""
    if not tally.unjudged:
        return "no selected row applies to a selected implementation"
    (outcome, implementation, reason), count = tally.unjudged.most_common(1)[0]
    return f"{outcome.replace('_', ' ')}: {_cells(count)} of {implementation}: {reason}"


def _news(tally: Tally, versions: Mapping[str, Mapping[str, str]], *, strict: bool) -> Iterator[Line]:
    """Yield lines on red cells, on declared behaviours that are gone, and on those without power or effect."""
    red = sum(tally.total[outcome] for outcome in FAILING)
    if red:
        cells = "1 cell is" if red == 1 else f"{red} cells are"
        yield f"new: {cells} red, neither as the rule says nor as declared", "bold red"
    style = "bold red" if strict else "yellow"
    for with_versions, named in _by_versions(tally.behaviours.gone_behaviours, versions).items():
        behaviours = "1 known behaviour is" if len(named) == 1 else f"{len(named)} known behaviours are"
        yield _printable(f"gone: {behaviours} gone{with_versions}: {_listed(named)}"), style
    powerless = tally.behaviours.powerless
    if powerless:
        rests = "1 of the diverging cells rests" if powerless == 1 else f"{powerless} of the diverging cells rest"
        yield f"without power: {rests} on bounds as wide as the answer", "yellow"
    unseen = [
        f"{name} (0 of {_cells(counts.cells)})"
        for name, counts in sorted(tally.behaviours.by_id.items())
        if counts.cells and not counts.needed and not counts.gone
    ]
    if unseen:
        behaviours = "1 behaviour" if len(unseen) == 1 else f"{len(unseen)} behaviours"
        yield _printable(f"not needed: without {behaviours} nothing fails here: {_listed(unseen)}"), "dim"


def _by_versions(gone: Mapping[str, Counts], versions: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the behaviours that are gone, with the places of their entries, by the versions that changed."""
    found: dict[str, list[str]] = {}
    for name, counts in gone.items():
        found.setdefault(_changed(counts, versions), []).append(f"{name} ({counts.where})")
    return found


def _changed(counts: Counts, versions: Mapping[str, Mapping[str, str]]) -> str:
    """Return the versions that differ from those the entry names, as ` with torch 2.14.1`."""
    declared = (counts.entry and counts.entry.seen_with) or {}
    changed = {
        f"{distribution} {version}"
        for implementation in counts.gone_from
        for distribution, version in versions.get(implementation, {}).items()
        if distribution in declared and declared[distribution] != version
    }
    return f" with {', '.join(sorted(changed))}" if changed else ""


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _listed(named: Sequence[str]) -> str:
    more = len(named) - _NAMED_BEHAVIOURS
    return ", ".join(named[:_NAMED_BEHAVIOURS]) + (f" and {more} more" if more > 0 else "")


def _next_commands(
    failing: Sequence[CellRecord],
    results: str | None,
    single_cell_command: Callable[[CellName], str | None],
    *,
    is_gone: bool,
) -> Iterator[Line]:
    """Yield the commands for what is left to do; each works when pasted."""
    if failing:
        cell = failing[0].cell
        command = single_cell_command(cell)
        yield f"first to look at: {cell}" + ("" if command is None else f"; run it alone: {command}"), "bold"
    if failing and results is not None:
        file = shlex.quote(results)
        cell_with_script = next((each.cell for each in failing if has_script(each)), None)
        if cell_with_script is not None:
            yield f"a script that shows it: conformance reproduce {shlex.quote(str(cell_with_script))} {file}", "bold"
        yield f"a ledger entry for each red cell: conformance triage {file}", "bold"
    if is_gone and results is not None:
        yield f"which entries to narrow or remove: conformance triage {shlex.quote(results)}", "bold"
    if results is not None:
        yield f"results: {results}; as a page: conformance report {shlex.quote(results)}", ""


def _failures(tally: Tally) -> Iterator[Line]:
    """Yield the first red cells in full, one of each implementation before a second, and the names of the next ones."""
    first = _alternating(tally.failing)
    red = sum(tally.total[outcome] for outcome in FAILING)
    for number, record in enumerate(first[:IN_FULL]):
        if number:
            yield "", ""
        yield from _in_full(record)
    others = first[IN_FULL : IN_FULL + NAMED]
    if others:
        yield "", ""
    for record in others:
        yield f"{record.outcome}: {record.name}", "red"
    if red > IN_FULL + NAMED:
        yield f"and {red - IN_FULL - NAMED} more red cells", "red"


def _alternating(failing: Sequence[CellRecord]) -> list[CellRecord]:
    """Return the records in an order in which each implementation comes once before one comes again."""
    earlier: Counter[str] = Counter()
    turns = []
    for record in failing:
        turns.append(earlier[record.implementation])
        earlier[record.implementation] += 1
    return [record for _, record in sorted(zip(turns, failing, strict=True), key=lambda each: each[0])]


def _in_full(record: CellRecord) -> Iterator[Line]:
    """Yield the question, and for each failing check the expected and observed values and the worst element."""
    yield f"{record.outcome}: {record.name}  ({record.row or 'no row'})", "bold red"
    if record.question is not None:
        yield _item("question", _question_text(record.question)), ""
    if record.why:
        yield _item("why", record.why), ""
    if record.reason:
        yield _item("reason", record.reason), ""
    printed = "" if record.crash is None else record.crash.stderr
    for line in printed.strip().splitlines()[-_LINES_OF_STDERR:]:
        yield _item("stderr", line), "dim"
    yield from _new_findings(record.checks, is_crash=record.crash is not None)
    known = [each for each in record.checks if each.outcome == "diverges"]
    if known:
        checks = ", ".join(each.check for each in known)
        yield _item("as declared", f"{checks}: {_declared_by(known)}"), "yellow"


def _new_findings(checks: Sequence[CheckRecord], *, is_crash: bool) -> Iterator[Line]:
    """Yield each check that violates, with the evidence of the first, and the behaviours that are near."""
    messages: set[str] = set()
    notes: set[str] = set()
    for check in checks:
        message = check.message or check.outcome
        # One exception leaves many checks without evidence, and a crash all later ones. Each cause is shown once.
        is_repetition = message in messages or (is_crash and check.unreached)
        if check.outcome in ("conforms", "unsupported", "diverges") or is_repetition:
            continue
        yield _item(check.check, message), "red"
        if not messages:
            yield from _evidence(check)
        messages.add(message)
        note = near_text(check)
        if note and note not in notes:
            notes.add(note)
            yield _item("", note), "yellow"


def _declared_by(checks: Sequence[CheckRecord]) -> str:
    """Return the behaviours that explain checks, with the places of their entries."""
    entries = [each.divergence or EntryRecord() for each in checks]
    return ", ".join(dict.fromkeys(f"{each.id or 'an entry'} ({each.where})" for each in entries))


def _evidence(check: CheckRecord) -> Iterator[Line]:
    """Yield the evidence of a finding: its worst element, or what was expected and observed."""
    if check.worst is not None:
        element = f"{check.where or ''}{check.worst}"
        yield _item("", f"worst element {element}: expected {check.exact}, observed {check.got}"), ""
        bound = f"allowed error {check.allowed}, by the line {check.line or '?'}"
        yield _item("", f"{bound}; the error is {_times(check.margin)}"), ""
    elif check.expected is not None or check.observed is not None:
        yield _item("", f"expected {check.expected}, observed {check.observed}"), ""


def _times(margin: Number | None) -> str:
    number = float("inf") if margin is None else float(margin)
    return f"{number:.3g} times as large" if number not in (float("inf"), float("-inf")) else "not allowed at all"


def _question_text(question: QuestionRecord) -> str:
    """Return a question as text: the input, the layers, and the other fields that are not defaults."""
    layers = zip(question.units or (), question.activation or (), question.use_bias or (), strict=True)
    stack = ", ".join(
        f"Dense({units}" + (f", {name}" if name != "linear" else "") + ("" if bias else ", no bias") + ")"
        for units, name, bias in layers
    )
    samples = f"samples of shape {tuple(question.input_shape or ())}, batch {question.batch}"
    if isinstance(question.feed_shape, list):
        samples += f", input {tuple(question.feed_shape)}"
    extra = [f"input_dtype {question.input_dtype}"] if question.input_dtype else []
    extra += [f"environment {question.environment}"] if question.environment else []
    extra += [f"layout {question.layout}"] if question.layout not in ("", "contiguous") else []
    extra += [f"values {question.lane}"] if question.lane else ["must be refused"]
    return "; ".join([samples, stack, str(question.dtype), *extra])


def _item(label: str, content: str) -> str:
    return f"  {label:<21} {_printable(content)}".rstrip()


def _printable(text: str) -> str:
    """Return text of one line without control characters and without marks that change the direction of writing."""
    line = " ".join(text.split())
    shown = "".join(each if each.isprintable() else "?" for each in line)
    return shown if len(shown) <= _MOST_OF_A_MESSAGE else f"{shown[: _MOST_OF_A_MESSAGE - 1]}…"


def _table(tally: Tally) -> Iterator[Line]:
    """Yield a row per implementation and device, and their sum. Outcomes without cells have no column."""
    total = tally.total
    columns = [outcome for outcome in _COLUMNS if total[outcome]]
    rows = [["", *columns, "cells"]]
    styles = ["bold"]
    for name, counts in [*(("/".join(each), counts) for each, counts in tally.counted.items()), ("all", total)]:
        rows.append([name, *(str(counts[outcome] or ".") for outcome in columns), str(sum(counts.values()))])
        styles.append("red" if any(counts[each] for each in FAILING) else "yellow" if counts["not_run"] else "green")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row, style in zip(rows, styles, strict=True):
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([row[0].ljust(len(first)), *rest]), style
