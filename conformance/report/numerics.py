"""
What the runs measured of each implementation's arithmetic, as tables: one for each dtype, an implementation a column.

Facts are shown as the results files have them, each with its evidence; nothing is inferred here. Beside them stand the
margins of conforming cells, so that a drift is seen before anything turns red.
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
    footers = [(run.footer, label) for run, label in zip(runs, labels(runs), strict=True)]
    facts = [(each, label) for footer, label in footers if footer is not None for each in footer.measured or ()]
    several = len(runs) > 1
    found: dict[str, dict[str, dict[str, Fact]]] = {}
    for each, label in facts:
        column = f"{text.value(each.implementation)}/{text.value(each.device)}" + (f" ({label})" if several else "")
        fact = Fact(finding=text.value(each.finding), evidence=text.value(each.evidence))
        found.setdefault(text.value(each.dtype), {}).setdefault(text.value(each.about), {})[column] = fact
    return tuple(_table(dtype, found[dtype]) for dtype in sorted(found, key=text.natural))


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
    """Return how the margins of conforming cells are spread, by column and dtype."""
    found = margins(table)
    order = {column.label: index for index, column in enumerate(table.columns)}
    return tuple(
        _spread(*key, found[key]) for key in sorted(found, key=lambda key: (order[key[0]], text.natural(key[1])))
    )


def _spread(implementation: str, dtype: str, found: list[float]) -> Spread:
    inexact = sorted((each for each in found if each != 0), key=lambda each: (math.isnan(each), each))
    return Spread(
        implementation=implementation,
        dtype=dtype,
        cells=len(found),
        exact=len(found) - len(inexact),
        median=_rank(inexact, 0.5),
        ninth=_rank(inexact, 0.9),
        largest=text.worst(found),
    )


def _rank(ordered: list[float], share: float) -> float | None:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _table(dtype: str, found: dict[str, dict[str, Fact]]) -> Numerics:
    columns = tuple(sorted({column for facts in found.values() for column in facts}, key=text.natural))
    rows = ((about, tuple(found[about].get(column) for column in columns)) for about in sorted(found))
    return Numerics(dtype=dtype, columns=columns, rows=tuple(rows))
