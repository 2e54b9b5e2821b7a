"""
The end of a run as a person reads it in a terminal: the first red cells in full, counts, and what to type next.

Text from a tally alone; it judges nothing, writes no file and knows no terminal: each line comes with a style, which
whoever prints it may leave out. What a framework said is shown without the characters that steer a terminal.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from conformance.results import FAILING, OUTCOMES, CellRecord, CheckRecord, has_script
from conformance.results.behaviours import Counts, near
from conformance.results.record import CellName, EntryRecord, Number, QuestionRecord
from conformance.run.tally import KEPT, Tally

Line = tuple[str, str]
"""A line and its style, in words of rich: empty for none."""

#: Red cells that are shown in full, and those that are named after them.
IN_FULL: Final = 3
NAMED: Final = 10
assert IN_FULL + NAMED <= KEPT
#: The end of what a crashed process printed, and the most of a message.
_LINES_OF_STDERR: Final = 5
_MOST_OF_A_MESSAGE: Final = 400
#: Behaviours that one line names.
_NAMED_BEHAVIOURS: Final = 6
#: The order in which a person wants to see outcomes: what is well first.
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
    alone: Callable[[CellName], str | None] = lambda cell: None,
) -> Iterator[Line]:
    """
    Yield the lines of the summary.

    - `results`: the file the records were written to, if any.
    - `versions`: implementation -> distribution -> version, as far as they are known.
    - `strict`: whether a behaviour that is gone fails the run.
    - `idle`: implementations that were asked for by name and of which no cell ran, each with the reason.
    - `notes`: faults of rows that keep no other row from being run.
    - `alone`: cell -> the command that runs this cell alone; None where there is no such.
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
    yield from _next(tally.failing, results, alone, is_gone=bool(tally.behaviours.gone))


def _warnings(tally: Tally, idle: Mapping[str, str], notes: Sequence[str]) -> Iterator[Line]:
    """Yield faults of rows, and of which implementations nothing ran."""
    if notes or idle or not tally.has_run:
        yield "", ""
    yield from ((_printable(each), "yellow") for each in notes)
    reasons = [f"{name}: {reason}" for name, reason in idle.items()]
    if not tally.has_run:
        yield _printable(f"nothing ran: {'; '.join(reasons) or _why_nothing(tally)}"), "bold red"
    else:
        yield from ((_printable(f"asked for by name, and nothing ran of {each}"), "bold red") for each in reasons)


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


def _why_nothing(tally: Tally) -> str:
    """Return why no cell was judged, the reason of most cells for all."""
    if not tally.unjudged:
        return "no row of the selection is asked of an implementation that was chosen"
    (outcome, implementation, reason), count = tally.unjudged.most_common(1)[0]
    return f"{outcome.replace('_', ' ')}: {_cells(count)} of {implementation}: {reason}"


def _news(tally: Tally, versions: Mapping[str, Mapping[str, str]], *, strict: bool) -> Iterator[Line]:
    """Yield what is new: answers that nobody declared, and declared behaviours that are gone, each apart."""
    red = sum(tally.total[outcome] for outcome in FAILING)
    if red:
        cells = "1 cell is" if red == 1 else f"{red} cells are"
        yield f"new: {cells} red, neither as the rule says nor as declared", "bold red"
    style = "bold red" if strict else "yellow"
    for with_versions, named in _by_versions(tally.behaviours.gone, versions).items():
        behaviours = "1 known behaviour is" if len(named) == 1 else f"{len(named)} known behaviours are"
        yield _printable(f"gone: {behaviours} gone{with_versions}: {_listed(named)}"), style
    powerless = tally.behaviours.powerless
    if powerless:
        rests = "1 of the diverging cells rests" if powerless == 1 else f"{powerless} of the diverging cells rest"
        yield f"without power: {rests} on bounds as wide as the answer", "yellow"
    unseen = [
        f"{name} (0 of {_cells(counts.cells)})"
        for name, counts in sorted(tally.behaviours.found.items())
        if counts.cells and not counts.seen and not counts.gone
    ]
    if unseen:
        behaviours = "1 behaviour" if len(unseen) == 1 else f"{len(unseen)} behaviours"
        yield _printable(f"not needed: {behaviours} without which nothing fails here: {_listed(unseen)}"), "dim"


def _by_versions(gone: Mapping[str, Counts], versions: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the behaviours that are gone, with the places of their entries, by the versions that are new."""
    found: dict[str, list[str]] = {}
    for name, counts in gone.items():
        found.setdefault(_changed(counts, versions), []).append(f"{name} ({counts.where})")
    return found


def _changed(counts: Counts, versions: Mapping[str, Mapping[str, str]]) -> str:
    """Return the versions that are others than those the behaviour was seen with, as ` with torch 2.14.1`."""
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


def _next(
    failing: Sequence[CellRecord], results: str | None, alone: Callable[[CellName], str | None], *, is_gone: bool
) -> Iterator[Line]:
    """Yield what a person may want to type, where there is something to be done; each command works as it stands."""
    if failing:
        cell = failing[0].cell
        command = alone(cell)
        yield f"first to look at: {cell}" + ("" if command is None else f"; alone: {command}"), "bold"
    if failing and results is not None:
        file = shlex.quote(results)
        shown = next((each.cell for each in failing if has_script(each)), None)
        if shown is not None:
            yield f"a script that shows it: conformance reproduce {shlex.quote(str(shown))} {file}", "bold"
        yield f"a ledger entry for each red cell: conformance triage {file}", "bold"
    if is_gone and results is not None:
        said = f"which entries to narrow or remove: conformance triage {shlex.quote(results)}"
        yield said, "bold"
    if results is not None:
        yield f"results: {results}; as a page: conformance report {shlex.quote(results)}", ""


def _failures(tally: Tally) -> Iterator[Line]:
    """Yield the first red cells in full, one of each implementation before a second, and the names of the next ones."""
    first = _apart(tally.failing)
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


def _apart(failing: Sequence[CellRecord]) -> list[CellRecord]:
    """Return the records in such an order that each implementation is seen before one is seen again."""
    seen: Counter[str] = Counter()
    turns = []
    for record in failing:
        turns.append(seen[record.implementation])
        seen[record.implementation] += 1
    return [record for _, record in sorted(zip(turns, failing, strict=True), key=lambda each: each[0])]


def _in_full(record: CellRecord) -> Iterator[Line]:
    """Yield the question, and of each check that failed what was expected and observed, and the worst element."""
    yield f"{record.outcome}: {record.name}  ({record.row or 'no row'})", "bold red"
    if record.question is not None:
        yield _item("question", _question(record.question)), ""
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
    told: set[str] = set()
    told_near: set[str] = set()
    for check in checks:
        said = check.message or check.outcome
        # One exception leaves many checks without evidence, and a crash all that follow: each is told once.
        follows = said in told or (is_crash and said.endswith("was never reached"))
        if check.outcome in ("conforms", "unsupported", "diverges") or follows:
            continue
        yield _item(check.check, said), "red"
        if not told:
            yield from _evidence(check)
        told.add(said)
        beside = near(check)
        if beside and beside not in told_near:
            told_near.add(beside)
            yield _item("", beside), "yellow"


def _declared_by(checks: Sequence[CheckRecord]) -> str:
    """Return the behaviours that explain checks, with the places of their entries."""
    entries = [each.divergence or EntryRecord() for each in checks]
    return ", ".join(dict.fromkeys(f"{each.id or 'an entry'} ({each.where})" for each in entries))


def _evidence(check: CheckRecord) -> Iterator[Line]:
    """Yield what a finding holds beside its message."""
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


def _question(asked: QuestionRecord) -> str:
    """Return a question in words: what is fed to which layers, and how."""
    layers = zip(asked.units or (), asked.activation or (), asked.use_bias or (), strict=True)
    stack = ", ".join(
        f"Dense({units}" + (f", {name}" if name != "linear" else "") + ("" if bias else ", no bias") + ")"
        for units, name, bias in layers
    )
    fed = f"samples of shape {tuple(asked.input_shape or ())}, batch {asked.batch}"
    if isinstance(asked.feed_shape, list):
        fed += f", fed {tuple(asked.feed_shape)}"
    extra = [f"input_dtype {asked.input_dtype}"] if asked.input_dtype else []
    extra += [f"environment {asked.environment}"] if asked.environment else []
    extra += [f"layout {asked.layout}"] if asked.layout not in ("", "contiguous") else []
    extra += [f"values {asked.lane}"] if asked.lane else ["must be refused"]
    return "; ".join([fed, stack, str(asked.dtype), *extra])


def _item(label: str, said: str) -> str:
    return f"  {label:<21} {_printable(said)}".rstrip()


def _printable(text: str) -> str:
    """Return text of one line, without characters that steer a terminal or turn the direction of writing."""
    line = " ".join(text.split())
    shown = "".join(each if each.isprintable() else "?" for each in line)
    return shown if len(shown) <= _MOST_OF_A_MESSAGE else f"{shown[: _MOST_OF_A_MESSAGE - 1]}…"


def _table(tally: Tally) -> Iterator[Line]:
    """Yield a row per implementation and device, and their sum; outcomes nobody has are left out."""
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
