"""
Which cells of very many a page shows one by one: those that fail, then those that diverge, then the rest by need.

A page of a million cells could not be opened. Beyond `WHOLE` cells a page shows the ones that a reader needs, says how
many it shows of each kind, and counts all the others: in the headline, the table of implementations and the spread of
margins. Nothing is taken for well that was not judged, and no cell is left out of a count.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from conformance.report import text
from conformance.report.columns import Column, name
from conformance.report.condensed_counts import Beside, CondensedRun, Process, beside
from conformance.report.matrix import KINDS, UNKNOWN, Cell
from conformance.report.trimmed_records import held
from conformance.results import Record, Run

#: Cells up to which a page shows every one, and how many of more it shows.
WHOLE: Final = 200_000
SHOWN: Final = 100_000
#: Kinds in the order in which there is room for them; cells of the last ones with the largest margins first.
_ORDER: Final = (UNKNOWN.name, "crashed", "timed_out", "violates", "diverges", "not_run", "unsupported", "conforms")
_WORDS: Final = {
    **{kind: f"are {kind.replace('_', ' ')}" for kind in _ORDER},
    "crashed": "crashed",
    "timed_out": "timed out",
    "violates": "violate",
    "diverges": "diverge",
    "not_run": "were not run",
    "conforms": "conform",
}
assert {*_ORDER} == {UNKNOWN.name, *KINDS}
_NOWHERE: Final = Column(implementation="", device="")

Group = tuple[int, Process, str]
"""Number of the run, implementation and device, kind."""


@dataclass
class _Members:
    """The cells of a group: their numbers within the run, and margins, in the order of the file."""

    numbers: array[int] = field(default_factory=lambda: array("Q"))
    margins: array[float] = field(default_factory=lambda: array("d"))

    def first(self, count: int) -> list[int]:
        """Return the numbers of so many cells, those with the largest margins, the earliest of equal ones."""
        if count >= len(self.numbers):
            return list(self.numbers)
        order = heapq.nsmallest(count, range(len(self.numbers)), key=lambda index: (-self.margins[index], index))
        return [self.numbers[index] for index in order]


def condensed(runs: Sequence[Run]) -> list[Run]:
    """
    Return the runs with the cells that a page shows, in memory; the others are counted `beside` them.

    Up to `WHOLE` cells, all are shown; of more, `SHOWN` or a few more, since each implementation keeps one at least.
    """
    if sum(len(run.cells) for run in runs) <= WHOLE:
        return [_with_cells(run, tuple(held(run))) for run in runs]
    groups: dict[Group, _Members] = defaultdict(_Members)
    found: list[Beside] = []
    for index, run in enumerate(runs):
        found.append(Beside())
        shared: dict[str, str] = {}
        for number, record in enumerate(held(run)):
            cell = Cell(record=record, column=_NOWHERE, run=index)
            process = _process(record)
            case = shared.setdefault(cell.case, cell.case)
            found[index].cases[process].add(case)
            members = groups[index, process, _kind(cell)]
            members.numbers.append(number)
            margin = cell.margin
            members.margins.append(-1.0 if margin is None or margin != margin else margin)
    kept = _chosen(groups, SHOWN)
    return [_condensed(run, kept[index], found[index], index) for index, run in enumerate(runs)]


def _with_cells(run: Run, cells: tuple[Record, ...]) -> Run:
    return Run(path=run.path, header=run.header, implementations=run.implementations, cells=cells, footer=run.footer)


def _process(record: Record) -> Process:
    return name(record, "implementation"), name(record, "device")


def _kind(cell: Cell) -> str:
    """Return the kind for which a cell is shown; one that contradicts itself is not taken for what it says."""
    return UNKNOWN.name if cell.contradicts else cell.kind.name


def _chosen(groups: Mapping[Group, _Members], room: int) -> dict[int, set[int]]:
    """Return the numbers of the cells of each run that are shown."""
    kept: dict[int, set[int]] = defaultdict(set)
    for kind in _ORDER:
        alike = [(group, members) for group, members in groups.items() if group[2] == kind]
        # The smallest groups first: what they leave of their share is the others'.
        alike.sort(key=lambda each: len(each[1].numbers))
        for left, (group, members) in zip(range(len(alike), 0, -1), alike, strict=True):
            mine = members.first(max(room, 0) // left)
            kept[group[0]].update(mine)
            room -= len(mine)
    for (index, _, _), members in _first_of_each_process(groups):
        kept[index].add(members.numbers[0])
    return kept


def _first_of_each_process(groups: Mapping[Group, _Members]) -> Iterator[tuple[Group, _Members]]:
    """Yield one group of each implementation: one without any cell on the page would have no place in its tables."""
    seen: dict[tuple[int, Process], tuple[Group, _Members]] = {}
    for group, members in groups.items():
        seen.setdefault(group[:2], (group, members))
    return iter(seen.values())


def _condensed(run: Run, kept: set[int], found: Beside, index: int) -> Run:
    cells = []
    for number, record in enumerate(held(run)):
        if number in kept:
            cells.append(record)
            continue
        process, cell = _process(record), Cell(record=record, column=_NOWHERE, run=index)
        found.kinds[process][cell.kind.name] += 1
        found.seconds[process] += text.number(record.get("seconds")) or 0.0
        question = record.get("question")
        dtype = question.get("dtype") if isinstance(question, Mapping) else None
        if cell.kind.name == "conforms" and cell.margin is not None and isinstance(dtype, str):
            found.margins[process, text.head(dtype, 40)].append(cell.margin)
    whole = _with_cells(run, tuple(cells))
    return CondensedRun(**vars(whole), beside=found)


def told(runs: Sequence[Run]) -> str:
    """Return how many cells of each kind a page of these runs shows one by one; nothing where it shows all."""
    left_out: Counter[str] = sum((beside(run).total for run in runs), Counter())
    if not left_out:
        return ""
    here = Counter(Cell(record=each, column=_NOWHERE, run=0).kind.name for run in runs for each in run.cells)
    parts = [
        (f"{here[kind]:,} of {here[kind] + left_out[kind]:,}" if left_out[kind] else f"all {here[kind]:,}")
        + f" that {_WORDS[kind]}"
        for kind in _ORDER
        if here[kind] + left_out[kind]
    ]
    total = here.total() + left_out.total()
    return (
        f"There are too many cells for one page: of {total:,} it shows {here.total():,} one by one, those with the"
        f" largest margins first: {', '.join(parts)}. The others are in every count above and in the spread of margins,"
        " and are missing from the matrix, the lists and the plots. The results files have all."
    )
