"""The hooks of the process that leads a run: it records results and prints the summary."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

import conformance
from conformance.results import UNJUDGED
from conformance.results.locked_file import OutputError
from conformance.results.record import CellName
from conformance.run import resources
from conformance.run.cell_name import cells_of_tests
from conformance.run.options import Options
from conformance.run.plan import Plan
from conformance.run.recorder import Recorder
from conformance.run.results_header import header_of
from conformance.run.summary import summarise
from conformance.run.tally import Tally
from conformance.text import is_coloured, show_lines

_NO_ROW: Final = "no selected row applies to it"
_BY_NAME: Final = "it runs only rows that name it, and no selected row does"


class Leader:
    """
    The hooks of the process that writes the results. Workers do not have them.

    `allocation` is the number of workers that the run chose, None if the command gives it.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        plan: Plan,
        recorder: Recorder,
        allocation: resources.Allocation | None,
    ) -> None:
        self._config = config
        self._options = options
        self._plan = plan
        self._recorder = recorder
        self._allocation = allocation

    def expect(self, test_ids: Sequence[str]) -> None:
        """Record the ids of the tests of the run, once, and write the header of the results file."""
        if not self._recorder.is_expecting:
            cells = cells_of_tests(self._plan.cells, test_ids)
            self._recorder.expect(cells, header_of(self._options, self._plan, self._allocation))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Record the tests that this process collected itself."""
        if not session.config.option.collectonly:
            self.expect([item.nodeid for item in session.items])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write each result, of this process or of a worker."""
        self._recorder.name_cell(report)
        if report.when == "call" or report.failed:
            self._recorder.take(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        """End the results file. A run fails if no cell was judged, or none of a named implementation."""
        if session.config.option.collectonly:
            return
        recorder = self._recorder
        if recorder.progress is not None:
            recorder.progress.end()
        try:
            recorder.finish()
        except OutputError as error:
            recorder.give_up(error)
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        if exitstatus != pytest.ExitCode.OK or not recorder.has_cells:
            return
        is_gone = self._options.strict_ledger and bool(recorder.tally.behaviours.gone_behaviours)
        if not recorder.tally.has_run:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        elif is_gone or idle_implementations(self._options, self._plan, recorder.tally):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Close the results file of a session that did not start."""
        if self._recorder.writer is not None:
            self._recorder.writer.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print counts per implementation, the slowest cells, and where the results are."""
        recorder = self._recorder
        if recorder.failure is not None:
            # A summary of results that are not in the file would be misleading.
            terminalreporter.write_line(f"error: the results cannot be written: {recorder.failure}", red=True)
            return
        if not recorder.has_cells or self._config.option.collectonly:
            return
        terminalreporter.section("conformance")
        lines = summarise(
            recorder.tally,
            results=None if self._options.results is None else str(self._options.given["results"]),
            versions=recorder.versions,
            strict=self._options.strict_ledger,
            idle=idle_implementations(self._options, self._plan, recorder.tally),
            notes=self._plan.unknown_globs,
            single_cell_command=self._command_of_cell,
        )
        writer = self._config.get_terminal_writer()
        if is_coloured(writer._file) and writer.hasmarkup:
            show_lines(lines, writer._file)
            return
        for line, _ in lines:
            terminalreporter.write_line(line)

    def _command_of_cell(self, cell: CellName) -> str | None:
        """Return the command that runs a cell alone; None outside of a checkout."""
        tests = Path("tests", "test_dense.py")
        if not (tests.is_file() and Path("conformance").resolve() == Path(conformance.__file__).parent.resolve()):
            return None
        words = self._options.arguments_for_cell(cell.device, cell.implementation)
        return shlex.join(["pytest", f"{tests}::test_dense[{cell}]", *words])


def idle_implementations(options: Options, plan: Plan, tally: Tally) -> dict[str, str]:
    """
    Return the implementations that were named and of which no cell ran, each with the reason.

    An implementation whose cells are in other shards, or were not collected here, is not among them.
    """
    idle: dict[str, str] = {}
    is_shard = options.selection.shard[1] > 1
    for each in plan.implementations:
        if each.name not in options.selection.implementations:
            continue
        outcomes = tally.outcomes_of(each.name)
        has_run = not outcomes <= set(UNJUDGED)
        is_elsewhere = each.name in plan.supported and (not outcomes or ("not_run" not in outcomes and is_shard))
        if not has_run and not is_elsewhere:
            idle[each.name] = tally.reason_of(each.name) or (_BY_NAME if each.participation.by_name else _NO_ROW)
    return idle
