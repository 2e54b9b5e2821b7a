"""
The shard of a cell: it follows from the names of cells and their expected times.

The cells lie on a line, each as long as its expected time. The cells of one process are neighbours, with the start of
the process before them. Processes and cells are ordered by a hash of their names. The line is cut where a part is full;
a process that is cut starts again in the next part. So the same cells and times give the same parts on every machine,
no part is longer than necessary, and fewer processes than there are parts run in two of them.

A new row adds a cell to each process and moves every cut a little. A few cells change their part; the order of the
others does not change.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: Units in 1 s. Times are summed in whole units, so that every machine gets the same sums.
_UNITS: Final = 1000


@dataclass(frozen=True)
class _Process:
    """The cells of one process in order, the time of its start, and the end of each cell (units)."""

    cells: tuple[str, ...]
    start: int
    ends: tuple[int, ...]


def parts(
    processes: Mapping[str, Sequence[str]], count: int, *, start: Callable[[str], float], cell: Callable[[str], float]
) -> dict[str, int]:
    """
    Return the part of each cell, counted from 0.

    Args:
        processes: the ids of cells by the name of their process.
        count: the number of parts.
        start: returns the expected time of a process's start, by its name (seconds).
        cell: returns the expected time of a cell, by its id (seconds).
    """
    line = [
        _Process(
            cells=(ordered := tuple(sorted(processes[name], key=_place))),
            start=_units(start(name)),
            ends=tuple(itertools.accumulate(_units(cell(each)) for each in ordered)),
        )
        for name in sorted(processes, key=_place)
        if processes[name]
    ]
    whole = sum(each.start + each.ends[-1] for each in line)
    low, high = 0, whole
    while low < high:
        middle = (low + high) // 2
        if _cut(line, count, middle) is None:
            low = middle + 1
        else:
            high = middle
    cut = _cut(line, count, low)
    assert cut is not None, "all cells fit into one part of their total time"
    return cut


def _cut(line: Sequence[_Process], count: int, most: int) -> dict[str, int] | None:
    """Return the part of each cell if no part is longer than `most`; None if that needs more parts."""
    part_by_cell: dict[str, int] = {}
    part, used = 0, 0
    for process in line:
        at = 0
        while at < len(process.cells):
            before = process.ends[at - 1] if at else 0
            # As many cells as fit into the part, after the start of the process.
            fitting = bisect_right(process.ends, before + most - used - process.start, lo=at)
            if fitting == at:
                if not used:
                    return None
                part, used = part + 1, 0
                if part == count:
                    return None
                continue
            part_by_cell.update(dict.fromkeys(process.cells[at:fitting], part))
            used += process.start + process.ends[fitting - 1] - before
            at = fitting
    return part_by_cell


def _place(name: str) -> bytes:
    """Return the sort key of a name: a hash, the same on every machine."""
    return hashlib.sha256(name.encode()).digest()


def _units(seconds: float) -> int:
    return max(1, round(seconds * _UNITS))
