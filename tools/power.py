"""
Measures the power of the default table: which row catches which planted fault.

`make power` puts every question of the table to every fault of `tests.power.faults`. `docs/power.md` lists the rows
that catch each fault. A fault with a size gets smaller until no row catches it. `tests/power/killers.json` has the
cheapest cells that catch each fault, so that a test checks all faults in seconds.

Faults run in this process. `make power` takes minutes on two cores.
"""

from __future__ import annotations

import json
import math
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.table.case import Case
from conformance.table.loader import default_cases, load
from tests.power.faults import EVERY, Fault
from tests.support.fault_matrix import CaseQuestion, first_killer, questions_of, red_checks
from tests.support.faulty_adapters import Exact

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = ROOT / "docs" / "power.md"
KILLERS: Final = ROOT / "tests" / "power" / "killers.json"
#: How many of the cheapest cells that catch a fault go into `killers.json`.
KILLERS_PER_FAULT: Final = 3
PROCESSES: Final = 2
#: A sum over this many features or more is long.
LONG: Final = 512


def _float32(case: Case, lane: str) -> bool:
    return case.dtype == "float32" and case.lane == lane and not case.expect.error


#: The groups of cells in which the sizes of faults are measured.
LANES: Final[Mapping[str, Callable[[Case], bool]]] = {
    "exact": lambda case: _float32(case, "exact"),
    "uniform": lambda case: _float32(case, "uniform"),
    f"uniform, K ≥ {LONG}": lambda case: _float32(case, "uniform") and (case.input_shape[-1] or 0) >= LONG,
}


#: The cells of the matrix. They are set before the pool forks, so that each question is computed once.
_cells: dict[str, CaseQuestion] = {}


def _row_of_matrix(name: str) -> tuple[str, dict[str, frozenset[str]]]:
    """Return the cells that catch a fault: case id -> violated checks."""
    kills = {identity: red_checks(EVERY[name].make(), item) for identity, item in _cells.items()}
    return name, {identity: checks for identity, checks in kills.items() if checks}


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The smallest size of a fault that some cell of a lane catches, and the largest that none does."""

    caught: float | None
    missed: float | None


def _reach(name: str) -> tuple[str, dict[str, Reach]]:
    """Return for each group of float32 cells how small a fault may be that is still caught."""
    kind = EVERY[name].sized
    assert kind is not None
    reaches = {}
    for lane, belongs in LANES.items():
        cells = {identity: item for identity, item in _cells.items() if belongs(item.case)}
        likely: list[str] = []
        outcomes: list[tuple[float, bool]] = []
        for size in kind.sizes:
            killer = first_killer(lambda size=size: kind(size), cells, likely)  # type: ignore[misc]
            likely = likely if killer is None else [killer, *(each for each in likely if each != killer)]
            outcomes.append((size, killer is not None))
        caught = [size for size, killed in outcomes if killed]
        missed = [size for size, killed in outcomes if not killed]
        # Sizes start with the grossest, so the last one caught is the finest and the first one missed the grossest.
        reaches[lane] = Reach(caught=caught[-1] if caught else None, missed=missed[0] if missed else None)
    return name, reaches


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The measurement: `kills` maps a fault to the cells that catch it and their violated checks."""

    cells: Mapping[str, CaseQuestion]
    unusable: Sequence[str]
    kills: Mapping[str, Mapping[str, frozenset[str]]]
    reaches: Mapping[str, Mapping[str, Reach]]


def measure() -> Matrix:
    """Return the whole matrix of the default table."""
    cells = questions_of(load([default_cases()]).cases)
    unusable = [identity for identity, item in cells.items() if red_checks(Exact(), item)]
    _cells.clear()
    _cells.update({identity: item for identity, item in cells.items() if identity not in unusable})
    sized = [name for name, fault in EVERY.items() if fault.sized is not None]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        kills = dict(pool.imap(_row_of_matrix, EVERY, chunksize=4))
        reaches = dict(pool.imap(_reach, sized))
    return Matrix(cells=dict(_cells), unusable=unusable, kills=kills, reaches=reaches)


def killers(matrix: Matrix) -> dict[str, list[str]]:
    """Return for each fault the cheapest cells that catch it; the cells are in that order."""
    return {name: list(matrix.kills[name])[:KILLERS_PER_FAULT] for name in sorted(EVERY)}


def document(matrix: Matrix) -> str:
    """Return the text of `docs/power.md`."""
    parts = [_head(matrix), _families(matrix), _open(matrix), _sizes(matrix), _checks(matrix), _rows(matrix)]
    return "\n\n".join([*parts, _faults(matrix)]) + "\n"


def _closed() -> list[Fault]:
    return [fault for fault in EVERY.values() if fault.open is None]


def _head(matrix: Matrix) -> str:
    closed = _closed()
    survivors = [fault.name for fault in closed if not matrix.kills[fault.name]]
    verdict = (
        f"All {len(closed)} are caught."
        if not survivors
        else f"{len(closed) - len(survivors)} of {len(closed)} are caught; **not caught: {', '.join(survivors)}**."
    )
    text = (
        "# What the table catches\n\n"
        "Written by `make power`, not by hand. A fault is the exact NumPy adapter with one thing wrong "
        "(`tests/support/faulty_adapters.py`, `tests/power/faults/`). It answers every question of the default "
        "table. A cell catches it if it violates some check. No cell catches the adapter without a fault.\n\n"
        f"{len(EVERY)} faults, {len(matrix.cells)} cells. {verdict} "
        f"{len(EVERY) - len(closed)} more are open: no cell can catch them yet."
    )
    if matrix.unusable:
        names = ", ".join(f"`{each}`" for each in sorted(matrix.unusable))
        text += f"\n\nThese cells are left out because the adapter without a fault does not conform: {names}."
    return text


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _families(matrix: Matrix) -> str:
    rows = []
    families = sorted({fault.family for fault in EVERY.values()})
    for family in families:
        members = [fault for fault in _closed() if fault.family == family]
        caught = sum(bool(matrix.kills[fault.name]) for fault in members)
        open_ones = sum(fault.family == family and fault.open is not None for fault in EVERY.values())
        rows.append((family, len(members), caught, len(members) - caught, open_ones))
    return "## Families\n\n" + _table(("family", "faults", "caught", "survive", "open"), rows)


def _open(matrix: Matrix) -> str:
    rows = [
        (f"`{fault.name}`", fault.words, fault.open, "**now caught**" if matrix.kills[fault.name] else "no")
        for fault in EVERY.values()
        if fault.open is not None
    ]
    text = "## Open\n\nNo cell can catch these faults yet. A test fails once a cell catches one.\n\n"
    return text + _table(("fault", "what is wrong", "why", "caught"), rows)


def _size(value: float | None, meaning: str) -> str:
    if value is None:
        return "–"
    if meaning == "bits":
        return f"{value:.0f}"
    return f"2^{math.log2(value):.0f}"


def _sizes(matrix: Matrix) -> str:
    rows = []
    for name, reaches in matrix.reaches.items():
        kind = EVERY[name].sized
        assert kind is not None
        cells = [_size(getattr(reaches[lane], which), kind.meaning) for lane in LANES for which in ("caught", "missed")]
        rows.append((f"`{name}`", EVERY[name].words, kind.meaning, *cells))
    text = (
        "## How small a fault may be\n\n"
        "For each fault with a size, the table has the finest size that some float32 cell catches and the grossest "
        f"size that no float32 cell catches. It has them for the exact lane, the uniform lane, and the uniform rows of "
        f"{LONG} features and more, whose bounds are the largest. A finer size is more bits or a smaller number; for "
        "SaturatesAbove it is a larger number. – means that no size is missed, or that no size is caught. Biases of "
        "the exact lane are small integers, so only the uniform lane shows their precision.\n\n"
    )
    header = ("fault", "what is wrong", "size", *(f"{lane}: {end}" for lane in LANES for end in ("caught", "missed")))
    return text + _table(header, rows)


def _checks(matrix: Matrix) -> str:
    total: Counter[str] = Counter()
    alone: dict[str, list[str]] = defaultdict(list)
    for fault in _closed():
        checks = frozenset[str]().union(*matrix.kills[fault.name].values())
        total.update(checks)
        if len(checks) == 1:
            alone[next(iter(checks))].append(fault.name)
    rows = [(check, total[check], len(alone[check])) for check in sorted(total)]
    text = "## Checks\n\nThe number of faults that violate each check, and of those that violate no other check.\n\n"
    return text + _table(("check", "faults", "only this one"), rows)


def _rows(matrix: Matrix) -> str:
    """Return the section on rows. A row's name is its file and the id of its first case."""
    by_row: dict[str, list[str]] = defaultdict(list)
    for identity, item in sorted(matrix.cells.items()):
        by_row[item.case.row].append(identity)
    label = {row: f"{row.partition(':')[0].rpartition('/')[2]} {ids[0]}" for row, ids in by_row.items()}
    row_of = {identity: row for row, ids in by_row.items() for identity in ids}
    killed: dict[str, set[str]] = {row: set() for row in by_row}
    for fault in _closed():
        for identity in matrix.kills[fault.name]:
            killed[row_of[identity]].add(fault.name)
    rows_of = {fault.name: {row_of[identity] for identity in matrix.kills[fault.name]} for fault in _closed()}
    alone = {row: sorted(name for name in names if rows_of[name] == {row}) for row, names in killed.items()}
    cover = _cover(killed)
    ordered = sorted(by_row, key=lambda row: label[row])
    needed = [(f"`{label[row]}`", len(killed[row]), ", ".join(alone[row])) for row in ordered if alone[row]]
    rest = [(f"`{label[row]}`", len(killed[row])) for row in ordered if not alone[row]]
    return (
        "## Rows\n\n"
        f"{len(by_row)} rows. A greedy search finds {len(cover)} rows that together catch all that the table catches: "
        + ", ".join(f"`{label[row]}`" for row in sorted(cover, key=lambda row: label[row]))
        + ".\n\n### Rows that catch a fault that no other row catches\n\n"
        + _table(("row", "faults", "only this row"), needed)
        + "\n\n### Rows whose faults other rows catch too\n\n"
        + "These rows check a shape, a count or a refusal that a framework may get wrong in a way that no planted "
        + "fault has.\n\n"
        + _table(("row", "faults"), rest)
    )


def _cover(killed: Mapping[str, set[str]]) -> list[str]:
    """Return few rows that together catch everything: repeatedly the row that adds most, the first of equals."""
    left, chosen = set().union(*killed.values()), []
    while left:
        best = max(sorted(killed), key=lambda row: len(killed[row] & left))
        chosen.append(best)
        left -= killed[best]
    return chosen


def _faults(matrix: Matrix) -> str:
    rows = []
    for name, fault in sorted(EVERY.items(), key=lambda item: (item[1].family, item[0])):
        checks = frozenset[str]().union(*matrix.kills[name].values())
        rows.append((f"`{name}`", fault.family, fault.words, len(matrix.kills[name]), ", ".join(sorted(checks)) or "–"))
    text = "## Faults\n\nEvery fault, the number of cells that catch it, and the checks that it violates.\n\n"
    return text + _table(("fault", "family", "what is wrong", "cells", "checks"), rows)


def main() -> None:
    """Measure, and write the document and `killers.json`."""
    matrix = measure()
    DOCUMENT.write_text(document(matrix), encoding="utf-8")
    KILLERS.write_text(json.dumps(killers(matrix), indent=1) + "\n", encoding="utf-8")
    survivors = [fault.name for fault in _closed() if not matrix.kills[fault.name]]
    still_open = [fault.name for fault in EVERY.values() if fault.open is not None]
    print(f"{len(EVERY)} faults, {len(matrix.cells)} cells")
    print(f"must be caught: {len(_closed())}; not caught: {', '.join(survivors) or 'none'}")
    print(f"open, not caught yet: {', '.join(still_open) or 'none'}")


if __name__ == "__main__":
    main()
