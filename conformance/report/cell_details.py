"""
What the page says of a cell that does not simply conform: checks with expected beside observed, and its crash.

Messages, reasons and links stand as the results file has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from conformance.report import text
from conformance.report.columns import name
from conformance.report.matrix import Cell, Kind, kind
from conformance.results import CellRecord, CheckRecord, plain
from conformance.results.behaviours import gone_in, near
from conformance.results.record import CrashRecord, EntryRecord, RaisedRecord

#: The longest script that is shown, in characters.
LONGEST_SCRIPT: Final = 50_000
#: All ends of logs on one page together, in characters: a thousand crashes must still make a page one can open.
LOGS: Final = 2_000_000

# Shown in this order, each under the name a reader knows it by.
_FOUND: Final = (
    ("expected", "expected"),
    ("observed", "observed"),
    ("exact", "exact"),
    ("got", "got"),
    ("allowed", "allowed error"),
    ("margin", "margin"),
    ("where", "in"),
    ("worst", "at element"),
    ("line", "line of the bound"),
)
#: Where a bound comes from, as its line is called in a results file.
LINES: Final = {
    "exact": "no error is allowed: every product and sum of these numbers can be held exactly",
    "proven": "no order of summation can be further off",
    "statistical": "by chance no order of summation is further off, with the stated probability of a false alarm",
    "declared": "a contract for a function that no theory bounds, such as exp or tanh",
}
#: Fields of a cell that are listed as they are; all others have a place of their own.
_LISTED: Final = ("reason", "seconds", "start", "host")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check; `found` is expected beside observed and the numbers, `facts` all else."""

    name: str
    kind: Kind
    message: str
    found: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    entry: str
    """The anchor of the ledger entry that knows of it, if one does."""


@dataclass(frozen=True, kw_only=True)
class Crash:
    """How a process ended."""

    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Detail:
    """Everything the page says of one cell; `entry` is the anchor of the ledger entry that knows how it ended."""

    entry: str
    summary: str
    checks: tuple[Check, ...]
    crash: Crash | None
    steps: tuple[tuple[str, str], ...]
    reproduce: str
    others: tuple[tuple[str, str], ...]


def log_limit(cells: Sequence[Cell]) -> int:
    """Return how many characters of each crash's log a page with all of them can bear."""
    crashes = sum(1 for cell in cells if cell.record.crash is not None)
    return min(8_000, max(400, LOGS // max(1, crashes)))


def summary(cell: Cell) -> str:
    """Return what is the matter with a cell in one line, or nothing where nothing is."""
    if not cell.detailed:
        return ""
    said = ""
    # Beside a check that violates, a crash is as declared.
    if (crash := _crash(cell, 0)) is not None and cell.kind.name != "violates":
        said = ": ".join(each for _, each in crash.facts[:2])
    elif checks := [each for each in cell.checks if each.outcome not in ("conforms", "unsupported")]:
        worst = next((each for each in checks if kind(each).fails), checks[0])
        found = worst.message or "; ".join(f"{key} {each}" for key, each in _shown(worst))
        said = name(worst.check, "check") + (f": {text.value(found)}" if found else "")
        said += f" ({beside})" if (beside := near(worst)) else ""
    return text.head(said or "the results file says no more", 300)


def detail(cell: Cell, limit: int) -> Detail:
    """Return everything that is to be said of a cell, with so many characters of a crash's log."""
    record = cell.record
    return Detail(
        entry="" if record.divergence is None else entry_anchor(record.divergence),
        summary=summary(cell),
        checks=tuple(map(_check, cell.checks)),
        crash=_crash(cell, limit),
        steps=tuple(text.pairs(record.steps)),
        # A script with a hole in it is worse than none, so that one too long to show is not cut.
        reproduce=record.reproduce if len(record.reproduce) <= LONGEST_SCRIPT else "",
        others=(*_of_behaviours(record), *_listed(record)),
    )


def _of_behaviours(record: CellRecord) -> Iterator[tuple[str, str]]:
    """Yield what a cell says of the ledger's behaviours beside the entries of its checks."""
    for entry in gone_in(record):
        yield "gone", text.value(f"{entry.id} ({entry.where or 'no entry'}): {entry.why}")
    if record.powerless:
        yield "without power", "the declared bounds are as wide as the answer"


def _listed(record: CellRecord) -> list[tuple[str, str]]:
    """Return the fields of a cell that have no place of their own, those of later versions among them."""
    known = ((key, getattr(record, key)) for key in _LISTED)
    return text.pairs({**{key: each for key, each in known if each not in (None, "")}, **record.rest})


def _check(record: CheckRecord) -> Check:
    facts = [*_raised(record.raised), *text.pairs(None if record.facts is None else plain(record.facts))]
    if record.reason:
        facts.append(("reason", text.value(record.reason)))
    if beside := near(record):
        facts.append(("near", beside))
    facts += text.pairs(record.rest)
    return Check(
        name=name(record.check, "check"),
        kind=kind(record),
        message=text.value(record.message),
        found=tuple(_shown(record)),
        facts=tuple(facts),
        entry="" if record.divergence is None else entry_anchor(record.divergence),
    )


def _shown(record: CheckRecord) -> Iterator[tuple[str, str]]:
    """Yield what was expected and found: numbers as the file has them, with what follows from them beside."""
    for key, label in _FOUND:
        content = getattr(record, key)
        if content is None:
            continue
        if key == "line" and isinstance(content, str) and content in LINES:
            yield label, f"{content}: {LINES[content]}"
        else:
            yield label, text.value(content)
        if key == "got" and (error := _error(record)) is not None:
            yield "error", error


def _error(record: CheckRecord) -> str | None:
    """Return how far the worst element is off: the margin of what is allowed, which is finer than got - exact."""
    margin, allowed, got, exact = (
        text.number(each) for each in (record.margin, record.allowed, record.got, record.exact)
    )
    if margin is not None and allowed and math.isfinite(margin * allowed):
        return f"{margin * allowed:.6g}"
    return f"{abs(got - exact):.6g}" if got is not None and exact is not None else None


def _raised(raised: RaisedRecord | None) -> list[tuple[str, str]]:
    """Return a framework's exception in one line, and whatever else is known of it."""
    if raised is None:
        return []
    where = [f"in {raised.step}"] if raised.step else []
    where += [f"from {raised.module}"] if raised.module else []
    stage = {"stage": raised.stage} if raised.stage else {}
    said = f"{raised.type or 'exception'}: {text.value(raised.message)}"
    return [(" ".join(["raised", *where]), said), *text.pairs({**stage, **raised.rest})]


def _crash(cell: Cell, limit: int) -> Crash | None:
    crash = cell.record.crash
    reason = _crash_reason(crash, text.value(cell.record.reason))
    if crash is None:
        ended = cell.kind.name in ("crashed", "timed_out") and reason
        return Crash(facts=(("reason", reason),), notes=(), stderr="") if ended else None
    facts = [("in step", text.value(crash.step))] if crash.step else []
    facts += [("reason", reason)] if reason else []
    return Crash(
        facts=(*facts, *text.pairs(crash.rest)),
        notes=tuple(text.value(each) for each in crash.notes if each),
        # Made visible before it is cut: each hidden character becomes several.
        stderr=text.tail(text.visible(crash.stderr), limit) if limit else "",
    )


def _crash_reason(crash: CrashRecord | None, outer: str) -> str:
    """Return why a process ended: the crash and the cell may say the same, more or less of it, or two things."""
    if crash is None:
        return outer
    inner = text.value(crash.reason)
    if outer in inner or outer == f"{text.value(crash.step or '')}: {inner}":
        return inner
    return outer if inner in outer else f"{inner}; {outer}"


def entry_anchor(entry: EntryRecord) -> str:
    """Return the place where an entry of the ledger is shown."""
    return text.anchor("entry", text.value(entry.name))
