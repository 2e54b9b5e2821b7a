"""
The details of a cell that does not simply conform: checks with expected and observed values, and its crash.

Messages, reasons and links are those of the results file.
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
from conformance.results.behaviours import gone_entries, near_text
from conformance.results.record import CrashRecord, EntryRecord, RaisedRecord

#: The longest script that is shown (characters).
LONGEST_SCRIPT: Final = 50_000
#: The ends of all logs on one page (characters): a page with a thousand crashes must still open in a browser.
LOGS: Final = 2_000_000

# Field of a check -> its label on the page, in the order in which they are shown.
_NUMBERS: Final = (
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
#: Class of a bound, as the field `line` of a results file names it -> its meaning.
LINES: Final = {
    "exact": "no error is allowed: every product and sum of these numbers is exact in the format",
    "proven": "no order of summation can have a larger error",
    "statistical": "terms of random signs: an order of summation has a larger error only with the stated probability",
    "declared": "a contract for a function that no theory bounds, such as exp or tanh",
}
#: Fields of a cell that are listed as they are. All others have a place of their own.
_LISTED: Final = ("reason", "seconds", "start", "host")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check; `numbers` has the expected and the observed values, `facts` all else."""

    name: str
    kind: Kind
    message: str
    numbers: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    #: The anchor of the ledger entry that explains it; empty where none does.
    entry: str


@dataclass(frozen=True, kw_only=True)
class Crash:
    """How a process ended."""

    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Detail:
    """All details of one cell; `entry` is the anchor of the ledger entry that explains how its process ended."""

    entry: str
    summary: str
    checks: tuple[Check, ...]
    crash: Crash | None
    steps: tuple[tuple[str, str], ...]
    reproduce: str
    others: tuple[tuple[str, str], ...]


def log_limit(cells: Sequence[Cell]) -> int:
    """Return how many characters of each crash's log fit on a page with all crashes."""
    crashes = sum(1 for cell in cells if cell.record.crash is not None)
    return min(8_000, max(400, LOGS // max(1, crashes)))


def summary(cell: Cell) -> str:
    """Return what is wrong with a cell in one line; empty where nothing is."""
    if not cell.detailed:
        return ""
    line = ""
    # If a check violates as well, the crash is a declared one.
    if (crash := _crash(cell, 0)) is not None and cell.kind.name != "violates":
        line = ": ".join(each for _, each in crash.facts[:2])
    elif checks := [each for each in cell.checks if each.outcome not in ("conforms", "unsupported")]:
        worst = next((each for each in checks if kind(each).fails), checks[0])
        message = worst.message or "; ".join(f"{key} {each}" for key, each in _numbers(worst))
        line = name(worst.check, "check") + (f": {text.value(message)}" if message else "")
        line += f" ({behaviours})" if (behaviours := near_text(worst)) else ""
    return text.head(line or "the results file has no details", 300)


def detail(cell: Cell, limit: int) -> Detail:
    """Return all details of a cell, with at most `limit` characters of a crash's log."""
    record = cell.record
    return Detail(
        entry="" if record.divergence is None else entry_anchor(record.divergence),
        summary=summary(cell),
        checks=tuple(map(_check, cell.checks)),
        crash=_crash(cell, limit),
        steps=tuple(text.pairs(record.steps)),
        # A script that is too long is left out: a part of a script is of no use.
        reproduce=record.reproduce if len(record.reproduce) <= LONGEST_SCRIPT else "",
        others=(*_behaviour_facts(record), *_further_fields(record)),
    )


def _behaviour_facts(record: CellRecord) -> Iterator[tuple[str, str]]:
    """Yield the facts about the ledger's behaviours that no check has."""
    for entry in gone_entries(record):
        yield "gone", text.value(f"{entry.id} ({entry.where or 'no entry'}): {entry.why}")
    if record.powerless:
        yield "without power", "the declared bounds are as wide as the answer"


def _further_fields(record: CellRecord) -> list[tuple[str, str]]:
    """Return the fields of a cell that have no place of their own, including those of later versions."""
    listed = ((key, getattr(record, key)) for key in _LISTED)
    return text.pairs({**{key: each for key, each in listed if each not in (None, "")}, **record.rest})


def _check(record: CheckRecord) -> Check:
    facts = [*_exception_facts(record.raised), *text.pairs(None if record.facts is None else plain(record.facts))]
    if record.reason:
        facts.append(("reason", text.value(record.reason)))
    if behaviours := near_text(record):
        facts.append(("near", behaviours))
    facts += text.pairs(record.rest)
    return Check(
        name=name(record.check, "check"),
        kind=kind(record),
        message=text.value(record.message),
        numbers=tuple(_numbers(record)),
        facts=tuple(facts),
        entry="" if record.divergence is None else entry_anchor(record.divergence),
    )


def _numbers(record: CheckRecord) -> Iterator[tuple[str, str]]:
    """Yield the expected and observed values as the file has them, and the error that follows from them."""
    for key, label in _NUMBERS:
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
    """Return the error of the worst element: margin times allowed, which is more precise than got - exact."""
    margin, allowed, got, exact = (
        text.number(each) for each in (record.margin, record.allowed, record.got, record.exact)
    )
    if margin is not None and allowed and math.isfinite(margin * allowed):
        return f"{margin * allowed:.6g}"
    return f"{abs(got - exact):.6g}" if got is not None and exact is not None else None


def _exception_facts(raised: RaisedRecord | None) -> list[tuple[str, str]]:
    """Return a framework's exception in one line, and its further fields."""
    if raised is None:
        return []
    where = [f"in {raised.step}"] if raised.step else []
    where += [f"from {raised.module}"] if raised.module else []
    stage = {"stage": raised.stage} if raised.stage else {}
    exception = f"{raised.type or 'exception'}: {text.value(raised.message)}"
    return [(" ".join(["raised", *where]), exception), *text.pairs({**stage, **raised.rest})]


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
        # `visible` comes before the cut, since it writes a hidden character as several.
        stderr=text.tail(text.visible(crash.stderr), limit) if limit else "",
    )


def _crash_reason(crash: CrashRecord | None, outer: str) -> str:
    """Return why a process ended: the reasons of the crash and of the cell, unless one contains the other."""
    if crash is None:
        return outer
    inner = text.value(crash.reason)
    if outer in inner or outer == f"{text.value(crash.step or '')}: {inner}":
        return inner
    return outer if inner in outer else f"{inner}; {outer}"


def entry_anchor(entry: EntryRecord) -> str:
    """Return the anchor at which an entry of the ledger is shown."""
    return text.anchor("entry", text.value(entry.name))
