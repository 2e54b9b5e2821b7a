"""
What the runs measured of each implementation's arithmetic, as tables: one for each dtype, an implementation a column.

Facts are shown as the results files have them, each with its evidence; nothing is inferred here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.report import text
from conformance.report.columns import labels
from conformance.results import Record, Run


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What was found, and by what."""

    finding: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The facts of one dtype: `rows` holds, for each thing that facts are about, one fact or none per column."""

    dtype: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Fact | None, ...]], ...]


def numerics(runs: Sequence[Run]) -> tuple[Numerics, ...]:
    """Return the facts of all runs, by dtype."""
    facts = [(each, label) for run, label in zip(runs, labels(runs), strict=True) for each in _measured(run)]
    several = len(runs) > 1
    found: dict[str, dict[str, dict[str, Fact]]] = {}
    for each, label in facts:
        column = f"{text.value(each['implementation'])}/{text.value(each['device'])}" + (
            f" ({label})" if several else ""
        )
        fact = Fact(finding=text.value(each["finding"]), evidence=text.value(each["evidence"]))
        found.setdefault(text.value(each["dtype"]), {}).setdefault(text.value(each["about"]), {})[column] = fact
    return tuple(_table(dtype, found[dtype]) for dtype in sorted(found, key=text.natural))


def _measured(run: Run) -> Iterable[Record]:
    """Return the facts of one run that have all that a fact has."""
    measured = (run.footer or {}).get("measured")
    needed = {"implementation", "device", "dtype", "about", "finding", "evidence"}
    return (
        [each for each in measured if isinstance(each, dict) and needed <= set(each)]
        if isinstance(measured, list)
        else []
    )


def _table(dtype: str, found: dict[str, dict[str, Fact]]) -> Numerics:
    columns = tuple(sorted({column for facts in found.values() for column in facts}, key=text.natural))
    rows = ((about, tuple(found[about].get(column) for column in columns)) for about in sorted(found))
    return Numerics(dtype=dtype, columns=columns, rows=tuple(rows))
