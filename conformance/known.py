"""The ledger as a document for the terminal: what differs between the frameworks' dense layers, and since when."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import date

from conformance.ledger import Entry
from conformance.settlement import words

_KINDS = {"bug": "Bugs", "by_design": "By design", "numeric": "Numerics"}


def document(entries: Sequence[Entry], today: date, width: int = 100) -> str:
    """Return the entries by kind: what is seen where, why, since when, and which of them are due for a review."""
    return "\n".join(_lines(entries, today, max(40, min(width, 120))))


def _lines(entries: Sequence[Entry], today: date, width: int) -> Iterator[str]:
    for kind, title in _KINDS.items():
        chosen = [each for each in entries if each.kind == kind]
        if chosen:
            yield f"{title} ({len(chosen)})"
            yield ""
        for each in chosen:
            yield from textwrap.wrap(each.why, width, initial_indent="  ", subsequent_indent="  ")
            for name, said in _facts(each, today):
                yield from textwrap.wrap(
                    f"{name + ':':<9}{said}", width, initial_indent="      ", subsequent_indent=" " * 15
                )
            yield ""
    due = [each for each in entries if _is_due(each, today)]
    yield f"{len(entries)} known divergences" + (f", {len(due)} due for a review" if due else "")


def _facts(entry: Entry, today: date) -> Iterator[tuple[str, str]]:
    yield "where", f"{', '.join(entry.implementations)}, on {', '.join(entry.cases)}"
    yield "checks", ", ".join(entry.checks) or "all"
    yield "seen", words(entry)
    if entry.since or entry.versions:
        bounds = [f"{name} {wanted}" for name, wanted in entry.versions.items()]
        yield "since", "; ".join([*([entry.since] if entry.since else []), *bounds])
    if entry.cpu:
        yield "cpu", ", ".join(entry.cpu)
    yield "source", entry.link or entry.evidence or ""
    if entry.review is not None:
        yield "review", entry.review.isoformat() + (" (due)" if _is_due(entry, today) else "")
    yield "entry", entry.where


def _is_due(entry: Entry, today: date) -> bool:
    return entry.review is not None and entry.review <= today
