"""
The cells of one or more results files as a table of columns and rows.

Every cell has exactly one place, whatever its record lacks. Everything is sorted by content, so that the same files
always make the same page. Outcomes are those of the files.
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
    """
    An outcome as the page shows it.

    `name` is that of the results file, `glyph` a sign, `words` the verb for several such cells.
    """

    name: str
    glyph: str
    words: str
    meaning: str

    def of(self, count: int) -> str:
        """Return the verb for `count` such cells."""
        return self.name if count == 1 and self.name in ("conforms", "violates") else self.words

    @property
    def fails(self) -> bool:
        """Whether a cell of this kind fails a run. An unknown outcome does."""
        return self.name in FAILING or self is UNKNOWN


# The signs are from the oldest character sets: every font has them, and none draws them as a picture.
_SIGNS: Final = {
    "crashed": ("†", "crashed", "the process ended or was lost"),
    "timed_out": ("∞", "timed out", "no answer within its CPU time, or the process hangs"),
    "violates": ("×", "violate", "an answer the rule forbids"),
    "diverges": ("≠", "diverge as known", "differs exactly as the ledger of known divergences declares"),
    "conforms": ("✓", "conform", "every check the implementation can answer holds"),
    "unsupported": ("○", "unsupported", "the implementation is declared unable to answer any check of the case"),
    "not_run": ("–", "not run", "the cell did not run, so nothing is known"),
}
KINDS: Final = {name: Kind(name, *_SIGNS.get(name, ("?", name, ""))) for name in OUTCOMES}
UNKNOWN: Final = Kind("unknown", "?", "unknown", "an outcome this version of the report does not know")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSummary:
    """A summary of the checks of one cell."""

    #: The largest margin.
    margin: float | None
    #: The name and the outcome of each check.
    marks: tuple[tuple[str, Kind], ...]
    #: The entry of the ledger that explains each check, up to the last check that has one.
    entries: tuple[EntryRecord | None, ...]
    #: Whether any check fails.
    fails: bool
    #: The digest of the output's bits, if the file has one.
    digest: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One line of the results file with index `run`; `copy` numbers the lines of one cell from 0."""

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
    def check_summary(self) -> CheckSummary:
        """The summary of the checks."""
        return summarize_checks(self.checks)

    @property
    def margin(self) -> float | None:
        """The largest margin of any check."""
        return self.check_summary.margin

    @property
    def unsupported_checks(self) -> tuple[CheckRecord, ...]:
        """The checks that the implementation cannot answer."""
        return tuple(check for check in self.checks if check.outcome == "unsupported")

    @property
    def divergences(self) -> tuple[EntryRecord, ...]:
        """The entries of the ledger that explain how the process ended, or a check."""
        entries = (self.record.divergence, *self.check_summary.entries)
        return tuple(each for each in entries if each is not None)

    @cached_property
    def contradicts(self) -> bool:
        """Whether the outcome is better than one of its checks'."""
        return not self.kind.fails and self.check_summary.fails

    @cached_property
    def detailed(self) -> bool:
        """Whether the cell needs details beyond its place in the table."""
        return self.kind.fails or self.kind.name == "diverges" or self.contradicts or self.record.crash is not None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case; `places` has for each column its cells: one, none, or several lines of one cell."""

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


def summarize_checks(checks: Iterable[CheckRecord]) -> CheckSummary:
    """Return the summary of checks, in one pass."""
    largest: float | None = None
    marks: list[tuple[str, Kind]] = []
    entries: list[EntryRecord | None] = []
    digest = None
    for check in checks:
        margin = None if check.margin is None else float(check.margin)
        # NaN is the worst margin. It is the only number that differs from itself.
        if margin is not None and (largest is None or margin > largest or margin != margin):
            largest = margin if largest is None or largest == largest else largest
        marks.append(_mark(check.check, kind(check)))
        if check.divergence is not None:
            entries += [None] * (len(marks) - 1 - len(entries))
            entries.append(check.divergence)
        if digest is None and check.check == "output" and check.facts is not None:
            digest = check.facts.bits
    fails = any(each.fails for each in {outcome for _, outcome in marks})
    return CheckSummary(margin=largest, marks=tuple(marks), entries=tuple(entries), fails=fails, digest=digest)


@lru_cache(maxsize=1000)
def _mark(check: str, outcome: Kind) -> tuple[str, Kind]:
    """Return the name and the outcome of a check. Equal marks are one object, which saves memory."""
    return name(check, "check"), outcome


def kind(record: CellRecord | CheckRecord) -> Kind:
    """Return the outcome of a cell or check."""
    # `read` moves an unknown outcome into `rest`.
    return UNKNOWN if "outcome" in record.rest else KINDS[record.outcome]


def tally(kinds: Iterable[Kind], missing: int = 0) -> dict[Kind, int]:
    """
    Return the number of cells of each kind, worst first.

    - `kinds`: the kinds of all cells.
    - `missing`: the number of cells without a line, which count as `not_run`.
    """
    counted = Counter(kinds)
    counted[KINDS["not_run"]] += missing
    order = [*KINDS.values(), UNKNOWN] if counted[UNKNOWN] else list(KINDS.values())
    return {each: counted[each] for each in order}


def missing(run: Run) -> int:
    """Return how many cells of a run have no line."""
    return max(0, run.header.cells - len(run.cells))


def seconds_in_cells(run: Run) -> float:
    """Return the seconds spent in the cells of a run."""
    return sum(cell.seconds for cell in run.cells)


def table(runs: Sequence[Run]) -> Table:
    """Return every cell of `runs` in its place."""
    columns_of = columns(runs)
    ordered = tuple(sorted(set(columns_of.values()), key=Column.order))
    places: dict[str, dict[Column, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for index, run in enumerate(runs):
        for record in run.cells:
            process = name(record.implementation, "implementation"), name(record.device, "device")
            column = columns_of[index, *process]
            place = places[name(record.case, "case")][column]
            place.append(Cell(record=record, column=column, run=index, copy=len(place)))
    files: dict[str, list[Row]] = defaultdict(list)
    for case, cells_of in places.items():
        file, line = _origin(cells_of)
        files[file].append(
            Row(case=case, line=line, places=tuple(tuple(cells_of.get(column, ())) for column in ordered))
        )
    return Table(
        columns=ordered,
        files=tuple(
            File(name=file, rows=tuple(sorted(rows, key=lambda row: (row.line, text.natural(row.case), row.case))))
            for file, rows in sorted(files.items(), key=lambda item: (item[0] == "", text.natural(item[0]), item[0]))
        ),
    )


def _origin(cells_of: Mapping[Column, Sequence[Cell]]) -> tuple[str, int]:
    """Return file and line of the row of a case; the first in order if several runs name different rows."""
    # A set, since nearly all rows are equal and the sort key is slow.
    rows = {cell.record.row for cells in cells_of.values() for cell in cells if cell.record.row}
    origin = min(rows, key=lambda row: (text.natural(row), row), default="")
    file, _, line = origin.rpartition(":")
    return (file, int(line)) if file and line.isascii() and line.isdigit() and len(line) < 10 else (origin, 0)
