"""
Memory of pytest's terminal reporter: reports of cells are replaced by marks, so that memory does not grow with cells.

The reporter keeps reports to count them and to print the requested ones. A mark in the place of a report is still
counted. With options that print reports (`-rA`, `--durations`, tracebacks) the reports stay. The result of a cell is in
its record, which is already written.
"""

from __future__ import annotations

from typing import Final

import pytest

#: Category of the reporter -> the letters of `-r` that print its reports.
_PRINTED: Final = {"passed": "pP", "xfailed": "x", "skipped": "s"}


class _Mark:
    """Takes the place of a report that was counted."""


_MARK: Final = _Mark()


class LightReports:
    """
    Replaces each report after all hooks have read it.

    The reporter of a worker of pytest-xdist prints nothing (`prints`).
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter, *, prints: bool) -> None:
        self._stats: dict[str, list[object]] = reporter.stats
        if not prints:
            self._counted = {"", "failed", *_PRINTED}
            return
        option = config.option
        printed = reporter.reportchars
        self._counted = {name for name, letters in _PRINTED.items() if not set(letters) & set(printed)}
        if option.tbstyle == "no" and "f" not in printed:
            self._counted.add("failed")
        if option.xfail_tb:
            self._counted.discard("xfailed")
        # Set-up and tear-down that passed have no category, and are printed only with their durations.
        self._counted.add("")
        if option.durations is not None or "times" in config.getini("console_output_style"):
            self._counted.clear()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Replace the report of a cell's test, which the reporter has just put last in its category, by a mark."""
        if not hasattr(report, "conformance_cell"):
            return
        for category in self._counted:
            reports = self._stats.get(category)
            if reports and reports[-1] is report:
                reports.pop()
                if category:
                    reports.append(_MARK)
