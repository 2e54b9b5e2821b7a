"""
What the page says of a cell that does not simply conform: checks with expected beside observed, and its crash.

Messages, reasons and links stand as the results file has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conformance.report import text
from conformance.report.columns import name
from conformance.report.matrix import UNKNOWN, Cell, Kind, kind
from conformance.results import Record
from conformance.results.behaviours import gone_in, near

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
_KNOWN: Final = {
    *("check", "outcome", "message", "raised", "divergence", "facts", "reason", "near", "under"),
    *(key for key, _ in _FOUND),
}


# What is said of a cell in a place of its own; all else is listed.
_CELL: Final = {
    *("type", "case", "implementation", "device", "outcome", "checks", "crash", "divergence", "steps", "reproduce"),
    *("question", "row", "why", "source", "covered", "behaviours", "gone", "widths", "powerless"),
}


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
    crashes = sum(1 for cell in cells if cell.record.get("crash"))
    return min(8_000, max(400, LOGS // max(1, crashes)))


def summary(cell: Cell) -> str:
    """Return what is the matter with a cell in one line, or nothing where nothing is."""
    if not cell.detailed:
        return ""
    said = ""
    # Beside a check that violates, a crash is as declared.
    if (crash := _crash(cell, 0)) is not None and cell.kind.name != "violates":
        said = ": ".join(each for _, each in crash.facts[:2])
    elif checks := [each for each in cell.checks if each.get("outcome") not in ("conforms", "unsupported")]:
        worst = next((each for each in checks if kind(each).fails), checks[0])
        found = worst.get("message") or "; ".join(f"{key} {each}" for key, each in _shown(worst))
        said = f"{name(worst, 'check')}: {text.value(found)}" if found else name(worst, "check")
        said += f" ({beside})" if (beside := near(worst)) else ""
    return text.head(said or "the results file says no more", 300)


def detail(cell: Cell, limit: int) -> Detail:
    """Return everything that is to be said of a cell, with so many characters of a crash's log."""
    divergence = cell.record.get("divergence")
    steps = cell.record.get("steps")
    reproduce = cell.record.get("reproduce")
    return Detail(
        entry=entry_anchor(divergence) if isinstance(divergence, dict) else "",
        summary=summary(cell),
        checks=tuple(map(_check, cell.checks)),
        crash=_crash(cell, limit),
        steps=tuple(text.pairs(steps)),
        # A script with a hole in it is worse than none, so that one too long to show is not cut.
        reproduce=reproduce if isinstance(reproduce, str) and len(reproduce) <= LONGEST_SCRIPT else "",
        others=(
            *_of_behaviours(cell.record),
            *text.pairs({str(key): each for key, each in cell.record.items() if key not in _CELL}),
        ),
    )


def _of_behaviours(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what a cell says of the ledger's behaviours beside the entries of its checks."""
    for entry in gone_in(record):
        said = f"{entry['id']} ({text.value(entry.get('where') or 'no entry')}): {text.value(entry.get('why') or '')}"
        yield "gone", text.value(said)
    if record.get("powerless") is True:
        yield "without power", "the declared bounds are as wide as the answer"


def _check(record: Record) -> Check:
    facts = [*_raised(record.get("raised")), *text.pairs(record.get("facts"))]
    if record.get("reason"):
        facts.append(("reason", text.value(record["reason"])))
    if kind(record) is UNKNOWN:
        facts.append(("outcome", text.value(record.get("outcome"))))
    if beside := near(record):
        facts.append(("near", beside))
    facts += [(str(key), text.value(each)) for key, each in record.items() if key not in _KNOWN]
    divergence = record.get("divergence")
    return Check(
        name=name(record, "check"),
        kind=kind(record),
        message=text.value(record["message"]) if record.get("message") else "",
        found=tuple(_shown(record)),
        facts=tuple(facts),
        entry=entry_anchor(divergence) if isinstance(divergence, dict) else "",
    )


def _shown(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what was expected and found: numbers as the file has them, with what follows from them beside."""
    for key, label in _FOUND:
        content = record.get(key)
        if content is None:
            continue
        if key == "line" and isinstance(content, str) and content in LINES:
            yield label, f"{content}: {LINES[content]}"
        else:
            yield label, text.value(content)
        if key == "got" and (error := _error(record)) is not None:
            yield "error", error


def _error(record: Record) -> str | None:
    """Return how far the worst element is off: the margin of what is allowed, which is finer than got - exact."""
    margin, allowed, got, exact = (text.number(record.get(key)) for key in ("margin", "allowed", "got", "exact"))
    if margin is not None and allowed and math.isfinite(margin * allowed):
        return f"{margin * allowed:.6g}"
    return f"{abs(got - exact):.6g}" if got is not None and exact is not None else None


def _raised(raised: Any) -> list[tuple[str, str]]:
    """Return a framework's exception in one line, and whatever else is known of it."""
    if not isinstance(raised, dict):
        return [("raised", text.value(raised))] if raised else []
    where = [f"in {raised['step']}"] if raised.get("step") else []
    where += [f"from {raised['module']}"] if raised.get("module") else []
    said = f"{raised.get('type') or 'exception'}: {text.value(raised.get('message') or '')}"
    others = [(key, each) for key, each in raised.items() if key not in ("step", "type", "message", "module")]
    return [
        (" ".join(["raised", *where]), said),
        *((text.head(str(key), 200), text.value(each)) for key, each in others),
    ]


def _crash(cell: Cell, limit: int) -> Crash | None:
    content = cell.record.get("crash")
    crash: dict[str, Any] = content if isinstance(content, dict) else {"reason": content} if content else {}
    reason = _crash_reason(crash, cell.record.get("reason"))
    if not crash and (cell.kind.name not in ("crashed", "timed_out") or not reason):
        return None
    facts = [("in step", text.value(crash["step"]))] if crash.get("step") else []
    facts += [("reason", reason)] if reason else []
    notes = crash.get("notes")
    stderr = (crash.get("stderr") if limit else "") or ""
    return Crash(
        facts=tuple(facts),
        notes=tuple(text.value(each) for each in (notes if isinstance(notes, list) else [notes]) if each),
        # Made visible before it is cut: each hidden character becomes several.
        stderr=text.tail(text.visible(stderr if isinstance(stderr, str) else text.value(stderr)), limit),
    )


def _crash_reason(crash: Record, outer: Any) -> str:
    """Return why a process ended: the crash and the cell may say the same, more or less of it, or two things."""
    inner, outer = text.value(crash.get("reason") or ""), text.value(outer or "")
    if outer in inner or outer == f"{text.value(crash.get('step') or '')}: {inner}":
        return inner
    return outer if inner in outer else f"{inner}; {outer}"


def entry_name(divergence: Record) -> str:
    """Return by what an entry of the ledger is known: where it stands, else its reason."""
    return text.value(divergence.get("where") or divergence.get("why") or "(no entry)")


def entry_anchor(entry: Record | str) -> str:
    """Return the place where an entry of the ledger is shown, given as a record or by where it stands."""
    return text.anchor("entry", entry if isinstance(entry, str) else entry_name(entry))
