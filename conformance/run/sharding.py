"""
Which part of a run a cell belongs to: by content alone, balanced by the time that cells are expected to take.

The cells of one process lie side by side on a line, each as long as it is expected to take, the start of the process
before them; processes follow one another in the order of a hash of their name, cells in that of theirs. The line is cut
where a part is full, and the rest of a process that is cut is started anew in the next part. So the same cells give the
same parts on every machine that expects the same times, no part is longer than it has to be, and at most one process
fewer than there are parts runs in two of them.

A new row adds a cell to each process, and every cut moves by what was added before it, less its share: a few cells pass
each cut, and all others stay where they were, as the order of what is there does not change.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: Times are added up in whole units, so that no machine rounds in another way (a second has so many).
_UNITS: Final = 1000


@dataclass(frozen=True)
class _Process:
    """The cells of one process in their order, how long it takes to start, and to which time each cell ends (units)."""

    cells: tuple[str, ...]
    start: int
    ends: tuple[int, ...]


def parts(
    processes: Mapping[str, Sequence[str]], count: int, *, start: Callable[[str], float], cell: Callable[[str], float]
) -> dict[str, int]:
    """
    Return to which of `count` parts, counted from 0, each cell belongs.

    `processes` maps the name of a process to the ids of its cells; `start` and `cell` return what a process, by its
    name, and a cell, by its id, are expected to take (seconds).
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
    assert cut is not None, "all of it fits into a part as long as all of it"
    return cut


def _cut(line: Sequence[_Process], count: int, most: int) -> dict[str, int] | None:
    """Return the parts where none is longer than `most`, None where there would have to be more of them."""
    found: dict[str, int] = {}
    part, used = 0, 0
    for process in line:
        at = 0
        while at < len(process.cells):
            before = process.ends[at - 1] if at else 0
            # As many cells as fit beside what the part holds, the process being started for them.
            fitting = bisect_right(process.ends, before + most - used - process.start, lo=at)
            if fitting == at:
                if not used:
                    return None
                part, used = part + 1, 0
                if part == count:
                    return None
                continue
            found.update(dict.fromkeys(process.cells[at:fitting], part))
            used += process.start + process.ends[fitting - 1] - before
            at = fitting
    return found


def _place(name: str) -> bytes:
    """Return where on the line something stands: anywhere, and always there."""
    return hashlib.sha256(name.encode()).digest()


def _units(seconds: float) -> int:
    return max(1, round(seconds * _UNITS))
