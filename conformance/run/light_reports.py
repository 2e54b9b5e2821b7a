"""
Keeps pytest's terminal reporter from holding every report to the end of the run: memory that no cell adds to.

The reporter holds reports to count them, and to print those that somebody asked to see. The tests of cells are still
counted, one by one, by a mark in the place of each; who asks for reports (`-rA`, `--durations`, tracebacks) still gets
them. What a cell came to is in its record, which is written when it comes.
"""

from __future__ import annotations

from typing import Final

import pytest

#: Category of the reporter -> the letters of `-r` that print its reports.
_PRINTED: Final = {"passed": "pP", "xfailed": "x", "skipped": "s"}


class _Mark:
    """Stands for a report that was counted."""


_MARK: Final = _Mark()


class LightReports:
    """
    Replaces reports as soon as all that look at one have seen it.

    A worker of pytest-xdist has a reporter too, which never `prints` anything.
    """

    def __init__(self, config: pytest.Config, reporter: pytest.TerminalReporter, *, prints: bool) -> None:
        self._stats: dict[str, list[object]] = reporter.stats
        if not prints:
            self._counted = {"", "failed", *_PRINTED}
            return
        option = config.option
        wanted = reporter.reportchars
        self._counted = {name for name, letters in _PRINTED.items() if not set(letters) & set(wanted)}
        if option.tbstyle == "no" and "f" not in wanted:
            self._counted.add("failed")
        if option.xfail_tb:
            self._counted.discard("xfailed")
        # Set-up and tear-down that went well are of no category, and asked for by their durations alone.
        self._counted.add("")
        if option.durations is not None or "times" in config.getini("console_output_style"):
            self._counted.clear()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave a mark for the report of a cell's test, which the reporter has just put last in its category."""
        if not hasattr(report, "conformance_cell"):
            return
        for category in self._counted:
            kept = self._stats.get(category)
            if kept and kept[-1] is report:
                kept.pop()
                if category:
                    kept.append(_MARK)
