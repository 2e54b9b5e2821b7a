"""
The end of a run as a person reads it in a terminal: counts per implementation, the slowest cells, what to do next.

Text from records alone; it judges nothing and writes no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from conformance.results import FAILING, OUTCOMES

Record = Mapping[str, Any]

SLOWEST: Final = 5
#: The order in which a person wants to see outcomes: what is well first.
_COLUMNS: Final = ("conforms", "diverges", "violates", "crashed", "timed_out", "unsupported", "not_run")
assert set(_COLUMNS) == set(OUTCOMES)


def summarise(records: Sequence[Record], *, results: str | None) -> Iterator[str]:
    """Yield the lines of the summary; `results` is the file they were written to, if any."""
    yield from _table(records)
    reasons = Counter((each["implementation"], each.get("reason")) for each in records if each["outcome"] == "not_run")
    if reasons:
        yield ""
        for (implementation, reason), count in sorted(reasons.items(), key=str):
            yield f"not run: {count} cells of {implementation}: {reason}"
    slowest = sorted(records, key=lambda each: -float(each["seconds"]))[:SLOWEST]
    yield ""
    yield "slowest: " + ", ".join(f"{_name(each)} {float(each['seconds']):.1f} s" for each in slowest)
    failing = [each for each in records if each["outcome"] in FAILING]
    if failing:
        yield f"first to look at: {_name(failing[0])}; alone: pytest -k '{_expression(failing[0])}'"
    if results is not None:
        yield f"results: {results}"


def _table(records: Sequence[Record]) -> Iterator[str]:
    """Yield a row per implementation and device, and their sum; outcomes nobody has are left out."""
    counted: dict[str, Counter[str]] = {}
    for each in records:
        counted.setdefault(f"{each['device']}/{each['implementation']}", Counter())[each["outcome"]] += 1
    total: Counter[str] = Counter(each["outcome"] for each in records)
    columns = [outcome for outcome in _COLUMNS if total[outcome]]
    rows = [["", *columns, "cells"]]
    for name, counts in [*counted.items(), ("all", total)]:
        rows.append([name, *(str(counts[outcome] or ".") for outcome in columns), str(sum(counts.values()))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([row[0].ljust(len(first)), *rest])


def _name(record: Record) -> str:
    return f"{record['device']}/{record['implementation']}/{record['case']}"


def _expression(record: Record) -> str:
    return f"/{record['implementation']}/ and {record['case']}"
