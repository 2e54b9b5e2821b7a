"""
The cells of one or more results files as a table: which columns there are, which rows, and what stands where.

Every cell stands in exactly one place, whatever its record lacks, and everything is sorted by content, so that the page
follows from the files alone. This module judges nothing: an outcome is shown as the file has it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from conformance.report import text
from conformance.report.columns import Column, columns, name
from conformance.results import FAILING, OUTCOMES, CellRecord, CheckRecord, Run
from conformance.results.record import EntryRecord


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """An outcome as the page shows it: its name in the file, a sign, what a number of such cells do, what it means."""

    name: str
    glyph: str
    words: str
    meaning: str

    def of(self, count: int) -> str:
        """Return what so many cells do."""
        return self.name if count == 1 and self.name in ("conforms", "violates") else self.words

    @property
    def fails(self) -> bool:
        """Whether a cell of this kind fails a run; what cannot be understood does."""
        return self.name in FAILING or self is UNKNOWN


# Signs from the oldest character sets, so that no font lacks them and none draws them as a picture.
_SHOWN: Final = {
    "crashed": ("†", "crashed", "the process ended or was lost"),
    "timed_out": ("∞", "timed out", "no answer within its CPU time, or the process hangs"),
    "violates": ("×", "violate", "an answer the rule forbids"),
    "diverges": ("≠", "diverge as known", "differs exactly as the ledger of known divergences says"),
    "conforms": ("✓", "conform", "every check the implementation can answer holds"),
    "unsupported": ("○", "unsupported", "the implementation is declared unable to answer any check of the case"),
    "not_run": ("–", "not run", "nothing was asked, so nothing is known"),
}
KINDS: Final = {name: Kind(name, *_SHOWN.get(name, ("?", name, ""))) for name in OUTCOMES}
UNKNOWN: Final = Kind("unknown", "?", "unknown", "an outcome this version of the report does not know")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """
    What a cell's checks have in brief.

    `margin` is the largest, `marks` holds of each check its name and its outcome, and `entries` the entry of the ledger
    that knows of it or None, up to the last that has one. `fails` says whether any does, `digest` is that of the
    output's bits where the file has it.
    """

    margin: float | None
    marks: tuple[tuple[str, Kind], ...]
    entries: tuple[EntryRecord | None, ...]
    fails: bool
    digest: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One line of the results file numbered `run`, and its column; `copy` numbers lines for the same cell."""

    record: CellRecord
    column: Column
    run: int
    copy: int = 0

    @cached_property
    def case(self) -> str:
        """The case's id."""
        return name(self.record.case, "case")

    @cached_property
    def kind(self) -> Kind:
        """The outcome."""
        return kind(self.record)

    @property
    def checks(self) -> Sequence[CheckRecord]:
        """The cell's checks."""
        return self.record.checks

    @cached_property
    def seen(self) -> Seen:
        """What there is to know of the checks without reading any in full, in one pass."""
        return seen_of(self.checks)

    @property
    def margin(self) -> float | None:
        """The largest margin of any check: the largest error found over the largest allowed."""
        return self.seen.margin

    @property
    def unanswered(self) -> tuple[CheckRecord, ...]:
        """The checks that the implementation cannot answer."""
        return tuple(check for check in self.checks if check.outcome == "unsupported")

    @property
    def divergences(self) -> tuple[EntryRecord, ...]:
        """The entries of the ledger that know of this cell: of how its process ended, or of one of its checks."""
        found = (self.record.divergence, *self.seen.entries)
        return tuple(each for each in found if each is not None)

    @cached_property
    def contradicts(self) -> bool:
        """Whether the outcome is better than one of its checks'."""
        return not self.kind.fails and self.seen.fails

    @cached_property
    def detailed(self) -> bool:
        """Whether the page says more of this cell than its place in the table."""
        return self.kind.fails or self.kind.name == "diverges" or self.contradicts or self.record.crash is not None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case; `places` holds, for each column, the cells that stand there: one, none, or several lines for one."""

    case: str
    line: int
    places: tuple[tuple[Cell, ...], ...]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells of the case, in the order of the columns."""
        return tuple(cell for place in self.places for cell in place)


@dataclass(frozen=True, kw_only=True)
class File:
    """The cases that come from one file of the case table."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """All cells, each in its place."""

    columns: tuple[Column, ...]
    files: tuple[File, ...]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """All rows, from top to bottom."""
        return tuple(row for file in self.files for row in file.rows)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, row by row."""
        return tuple(cell for row in self.rows for cell in row.cells)

    @cached_property
    def sizes(self) -> Mapping[Column, int]:
        """How many cells each column has."""
        return Counter(cell.column for cell in self.cells)


def seen_of(checks: Iterable[CheckRecord]) -> Seen:
    """Return what there is to know of checks."""
    largest: float | None = None
    marks: list[tuple[str, Kind]] = []
    entries: list[EntryRecord | None] = []
    digest = None
    for check in checks:
        found = None if check.margin is None else float(check.margin)
        # NaN, which equals nothing, is the worst there is.
        if found is not None and (largest is None or found > largest or found != found):
            largest = found if largest is None or largest == largest else largest
        marks.append(_mark(check.check, kind(check)))
        if check.divergence is not None:
            entries += [None] * (len(marks) - 1 - len(entries))
            entries.append(check.divergence)
        if digest is None and check.check == "output" and check.facts is not None:
            digest = check.facts.bits
    fails = any(judged.fails for judged in {judged for _, judged in marks})
    return Seen(margin=largest, marks=tuple(marks), entries=tuple(entries), fails=fails, digest=digest)


@lru_cache(maxsize=1000)
def _mark(check: str, judged: Kind) -> tuple[str, Kind]:
    """Return what a check is called and how it came out: few of all checks are not alike, and those share one."""
    return name(check, "check"), judged


def kind(record: CellRecord | CheckRecord) -> Kind:
    """Return the outcome of a cell or check."""
    # What is no outcome was put aside when the file was read.
    return UNKNOWN if "outcome" in record.rest else KINDS[record.outcome]


def tally(kinds: Iterable[Kind], missing: int = 0) -> dict[Kind, int]:
    """
    Return how many cells there are of each kind, worst first, of the kinds of all cells.

    `missing` cells never got a line and were not run.
    """
    counted = Counter(kinds)
    counted[KINDS["not_run"]] += missing
    shown = [*KINDS.values(), UNKNOWN] if counted[UNKNOWN] else list(KINDS.values())
    return {each: counted[each] for each in shown}


def missing(run: Run) -> int:
    """Return how many cells of a run never got a line."""
    return max(0, run.header.cells - len(run.cells))


def spent(run: Run) -> float:
    """Return the seconds spent in the cells of a run."""
    return sum(cell.seconds for cell in run.cells)


def table(runs: Sequence[Run]) -> Table:
    """Return every cell of `runs` in its place."""
    assigned = columns(runs)
    ordered = tuple(sorted(set(assigned.values()), key=Column.order))
    places: dict[str, dict[Column, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for index, run in enumerate(runs):
        for record in run.cells:
            process = name(record.implementation, "implementation"), name(record.device, "device")
            column = assigned[index, *process]
            place = places[name(record.case, "case")][column]
            place.append(Cell(record=record, column=column, run=index, copy=len(place)))
    files: dict[str, list[Row]] = defaultdict(list)
    for case, found in places.items():
        file, line = _origin(found)
        files[file].append(Row(case=case, line=line, places=tuple(tuple(found.get(column, ())) for column in ordered)))
    return Table(
        columns=ordered,
        files=tuple(
            File(name=file, rows=tuple(sorted(rows, key=lambda row: (row.line, text.natural(row.case), row.case))))
            for file, rows in sorted(files.items(), key=lambda item: (item[0] == "", text.natural(item[0]), item[0]))
        ),
    )


def _origin(found: Mapping[Column, Sequence[Cell]]) -> tuple[str, int]:
    """Return file and line of the row a case comes from; the first in order where files of several runs differ."""
    # Nearly always one and the same: a key is made of each that differs alone.
    rows = {cell.record.row for cells in found.values() for cell in cells if cell.record.row}
    origin = min(rows, key=lambda row: (text.natural(row), row), default="")
    file, _, line = origin.rpartition(":")
    return (file, int(line)) if file and line.isascii() and line.isdigit() and len(line) < 10 else (origin, 0)
