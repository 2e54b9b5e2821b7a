"""
The results of a run: the results file, from its header to its footer, and the tally of outcomes.

The leading process has the recorder. It receives results of workers in the reports of their tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import pytest
from msgspec.structs import replace

from conformance.results.codec import record_of
from conformance.results.locked_file import OutputError, ResultsFile
from conformance.results.measurements import Measurements
from conformance.results.record import CellName, CellRecord, HeaderRecord, ImplementationRecord
from conformance.run.progress import Progress
from conformance.run.tally import Tally


class Recorder:
    """Records the results of one run; without a `writer` it only counts them."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.writer: ResultsFile | None = None
        self.progress: Progress | None = None
        #: Returns the name of the other machine of a report, None for this one.
        self.place: Callable[[pytest.TestReport], str | None] = lambda _: None
        #: Whether the tests of the run are known.
        self.is_expecting = False
        #: Whether the run has a test of a cell, or the test of a table without cells.
        self.has_cells = False
        #: The error that prevents writing, if any.
        self.failure: str | None = None
        #: Implementation -> distribution -> version, as the processes report them.
        self.versions: dict[str, dict[str, str]] = {}
        self._cells: Mapping[str, CellName] = {}
        self._measured = Measurements()
        self._hellos: set[tuple[str, str | None]] = set()
        self._started = datetime.now(UTC)

    def expect(self, cells: Mapping[str, CellName], header: HeaderRecord) -> None:
        """Record the cells of the run, by the ids of their tests, and write the header."""
        self.is_expecting = True
        self.has_cells = bool(cells)
        self._cells = cells
        self.tally.expect(cells.values())
        if self.writer is not None:
            started = self._started.isoformat(timespec="seconds").replace("+00:00", "Z")
            with self._writing():
                self.writer.header(replace(header, started=started, cells=self.tally.expected))

    def name_cell(self, report: pytest.TestReport) -> None:
        """Add the name of the cell to the report of its test; the report of a lost worker has only the test."""
        cell = self._cells.get(report.nodeid)
        if cell is not None:
            report.__dict__["conformance_cell"] = tuple(cell)
        self.has_cells = self.has_cells or hasattr(report, "conformance_cell")

    def take(self, report: pytest.TestReport) -> None:
        """Write the content of a test's report."""
        with self._writing():
            hello = getattr(report, "conformance_hello", None)
            if hello is not None:
                line = record_of(hello.encode())
                assert isinstance(line, ImplementationRecord)
                self._greet(line)
            cell = getattr(report, "conformance_cell", None)
            if cell is not None:
                self._take_cell(CellName(*cell), report)

    def _greet(self, record: ImplementationRecord) -> None:
        versions = {name: str(version) for name, version in (record.versions or {}).items()}
        self.versions.setdefault(record.implementation, {}).update(versions)
        if (record.implementation, record.host) not in self._hellos:
            self._hellos.add((record.implementation, record.host))
            if self.writer is not None:
                self.writer.implementation(record)

    def _take_cell(self, cell: CellName, report: pytest.TestReport) -> None:
        text = report.__dict__.pop("conformance", None)  # removed, because pytest may keep the report to the end
        if self.tally.has(cell):
            return
        record = None if text is None else record_of(text.encode())
        if record is None and report.failed:
            reason = f"the test itself failed: {report.longreprtext[-2000:]}"
            record = _unrun(cell, "crashed", reason, self.place(report))
        if isinstance(record, CellRecord):
            self.tally.take(record)
            self._measured.add(record)
            if self.writer is not None:
                self.writer.cell(record)
            if self.progress is not None:
                self.progress.take(record.outcome)

    def finish(self) -> None:
        """
        Write a line for every cell that did not run, and the footer.

        A run that ends before its cells are known writes nothing, and the earlier file stays.

        Raises:
            OutputError: the file cannot be written.
        """
        missing = self.tally.missing
        for cell in missing:
            record = _unrun(cell, "not_run", "the run was stopped before this cell")
            self.tally.take(record)
            if self.writer is not None:
                self.writer.cell(record)
        if self.writer is None:
            return
        if self.writer.has_header:
            seconds = (datetime.now(UTC) - self._started).total_seconds()
            self.writer.footer(
                complete=not missing,
                seconds=round(seconds, 3),
                behaviours=self.tally.behaviours.facts(),
                measured=self._measured.facts(),
            )
        self.writer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """End the run if results cannot be written: further results would be lost."""
        try:
            yield
        except OutputError as error:
            pytest.exit(self.give_up(error), returncode=pytest.ExitCode.USAGE_ERROR)

    def give_up(self, error: OutputError) -> str:
        """Stop writing, and return the error as a line."""
        if self.writer is not None:
            self.writer.close()
        self.writer, self.failure = None, str(error)
        return self.failure


def _unrun(cell: CellName, outcome: Literal["crashed", "not_run"], reason: str, place: str | None = None) -> CellRecord:
    """Return the record of a cell without a result; `place` is the name of its other machine, if any."""
    return CellRecord(
        case=cell.case,
        implementation=cell.implementation,
        device=cell.device,
        outcome=outcome,
        checks=[],
        reason=reason if place is None else f"{reason} (on {place})",
        host=place,
    )
