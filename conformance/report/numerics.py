"""
The measured facts about the arithmetic of each implementation, as one table for each dtype with a column for each
implementation, and the margins of conforming cells.

Facts are those of the results files, each with its evidence. The margins show a drift before a cell turns red.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.report import text
from conformance.report.columns import labels
from conformance.report.matrix import Table
from conformance.report.payload import margins
from conformance.results import Run


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A finding and its evidence."""

    finding: str
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The facts of one dtype; `rows` has for each topic one fact or None per column."""

    dtype: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Fact | None, ...]], ...]


def numerics(runs: Sequence[Run]) -> tuple[Numerics, ...]:
    """Return the facts of all runs, by dtype."""
    footers = [(run.footer, label) for run, label in zip(runs, labels(runs), strict=True)]
    facts = [(each, label) for footer, label in footers if footer is not None for each in footer.measured or ()]
    several = len(runs) > 1
    tables: dict[str, dict[str, dict[str, Fact]]] = {}
    for each, label in facts:
        column = f"{text.value(each.implementation)}/{text.value(each.device)}" + (f" ({label})" if several else "")
        fact = Fact(finding=text.value(each.finding), evidence=text.value(each.evidence))
        tables.setdefault(text.value(each.dtype), {}).setdefault(text.value(each.about), {})[column] = fact
    return tuple(_table(dtype, tables[dtype]) for dtype in sorted(tables, key=text.natural))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """
    The margins of one implementation's conforming cells in one dtype.

    `exact` cells have a margin of 0; the quantiles are margins of the others, by nearest rank.
    """

    implementation: str
    dtype: str
    cells: int
    exact: int
    median: float | None
    ninth: float | None
    largest: float | None


def spreads(table: Table) -> tuple[Spread, ...]:
    """Return the spread of the margins of conforming cells, by column and dtype."""
    margins_of = margins(table)
    order = {column.label: index for index, column in enumerate(table.columns)}
    return tuple(
        _spread(*key, margins_of[key])
        for key in sorted(margins_of, key=lambda key: (order[key[0]], text.natural(key[1])))
    )


def _spread(implementation: str, dtype: str, all_margins: list[float]) -> Spread:
    inexact = sorted((each for each in all_margins if each != 0), key=lambda each: (math.isnan(each), each))
    return Spread(
        implementation=implementation,
        dtype=dtype,
        cells=len(all_margins),
        exact=len(all_margins) - len(inexact),
        median=_rank(inexact, 0.5),
        ninth=_rank(inexact, 0.9),
        largest=text.worst(all_margins),
    )


def _rank(ordered: list[float], share: float) -> float | None:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _table(dtype: str, facts_of: dict[str, dict[str, Fact]]) -> Numerics:
    columns = tuple(sorted({column for facts in facts_of.values() for column in facts}, key=text.natural))
    rows = ((about, tuple(facts_of[about].get(column) for column in columns)) for about in sorted(facts_of))
    return Numerics(dtype=dtype, columns=columns, rows=tuple(rows))
