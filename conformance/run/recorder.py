"""
What a run writes and counts: the results file, from its header to its footer, and the tally of outcomes.

Lives in the process that leads the run; results of workers come to it in the reports of their tests.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from conformance.results.locked_file import OutputError, ResultsFile
from conformance.results.measurements import Measured
from conformance.results.record import decoded
from conformance.run.progress import Progress
from conformance.run.tally import Tally

_CELL: Final = re.compile(r"test_dense\[([^/]+/[^/]+/.+)\]$")


class Recorder:
    """What records the results of one run; without a `writer` it counts them alone."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.writer: ResultsFile | None = None
        self.progress: Progress | None = None
        #: Returns the other machine that a report comes from, None for this one.
        self.place: Callable[[pytest.TestReport], str | None] = lambda _: None
        #: Whether some cell is among the tests.
        self.asked = False
        #: Why the results can be written no more.
        self.failure: str | None = None
        #: Implementation -> distribution -> version, as the processes report them.
        self.versions: dict[str, dict[str, str]] = {}
        self._measured = Measured()
        self._hellos: set[tuple[str, str | None]] = set()
        self._started = datetime.now(UTC)

    def expect(self, test_ids: Sequence[str], header: Callable[[], Mapping[str, Any]]) -> None:
        """Take note of the tests to come, once, and write what `header` returns."""
        if self.asked:
            return
        self.asked = any("test_dense[" in each for each in test_ids)
        self.tally.expect(_cell_id(each) for each in test_ids if _is_cell(each))
        if self.writer is not None:
            started = self._started.isoformat(timespec="seconds").replace("+00:00", "Z")
            with self._writing():
                self.writer.header(started=started, **header(), cells=self.tally.expected)

    def take(self, report: pytest.TestReport) -> None:
        """Write what a test's report carries."""
        with self._writing():
            for hello in getattr(report, "conformance_hellos", ()):
                self._greet(hello)
            if _is_cell(report.nodeid):
                self._take_cell(_cell_id(report.nodeid), report)

    def _greet(self, hello: Mapping[str, Any]) -> None:
        self.versions.setdefault(hello["implementation"], {}).update(hello["versions"])
        said = (hello["implementation"], hello.get("host"))
        if said not in self._hellos:
            self._hellos.add(said)
            if self.writer is not None:
                self.writer.implementation(**hello)

    def _take_cell(self, cell: str, report: pytest.TestReport) -> None:
        text = report.__dict__.pop("conformance", None)  # once: pytest may keep the report to the end
        if self.tally.has(cell):
            return
        record = None if text is None else decoded(text.encode())
        if record is None and report.failed:
            reason = f"the test itself failed: {report.longreprtext[-2000:]}"
            record = _unrun(cell, "crashed", reason, self.place(report))
        if record is not None:
            self.tally.take(record)
            self._measured.add(record)
            if self.writer is not None:
                self.writer.cell(record)
            if self.progress is not None:
                self.progress.take(record["outcome"])

    def finish(self) -> None:
        """
        Write a line for every cell that was not reached, and the footer.

        A run that ends before its cells are known has neither: there is no header, and the earlier file stays.

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
        """Where results can be written no more, end the run: going on would waste it."""
        try:
            yield
        except OutputError as error:
            pytest.exit(self.give_up(error), returncode=pytest.ExitCode.USAGE_ERROR)

    def give_up(self, error: OutputError) -> str:
        """Write nothing more, and return why in a line."""
        if self.writer is not None:
            self.writer.close()
        self.writer, self.failure = None, str(error)
        return self.failure


def _is_cell(test_id: str) -> bool:
    return _CELL.search(test_id) is not None


def _cell_id(test_id: str) -> str:
    """Return `DEVICE/IMPLEMENTATION/CASE` of the test of a cell."""
    found = _CELL.search(test_id)
    assert found is not None, test_id
    return found.group(1)


def _unrun(cell: str, outcome: str, reason: str, place: str | None = None) -> dict[str, Any]:
    """Return the record of a cell that has no result of its own; `place` is the other machine it was at."""
    device, implementation, case = cell.split("/", 2)
    named = {"case": case, "implementation": implementation, "device": device}
    where, reason = ({}, reason) if place is None else ({"host": place}, f"{reason} (on {place})")
    return {**named, "outcome": outcome, "checks": [], "reason": reason, "seconds": 0.0, **where}
