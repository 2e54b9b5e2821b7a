"""
The progress of a run and its remaining time: a bar on a terminal, else a line for every tenth of the cells.

It replaces pytest's dots, so that the log of a large run stays short.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import IO, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

from conformance.results import FAILING, UNJUDGED

#: Category, letter and word of a report, as pytest's terminal reporter has them.
_Status = tuple[str, str, str | tuple[str, Mapping[str, bool]]]
#: How many lines of progress a run prints without a terminal.
PARTS = 10


class Progress:
    """
    Counts cells as their records come.

    Args:
        file: the file to which pytest writes; tests have another stdout.
        total: returns the number of cells, which is known after tests are collected.
        live: whether to draw a bar.
    """

    def __init__(self, file: IO[str], total: Callable[[], int], *, live: bool) -> None:
        self._file = file
        self._total = total
        self._live = live
        self._done = 0
        self._red = 0
        self._has_run = False
        self._reported_parts = 0
        self._started = time.monotonic()
        self._bar: tuple[Bar, TaskID] | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, _Status, _Status]:
        """Remove the letter of a cell's test, and keep its category."""
        status = yield
        return (status[0], "", "") if hasattr(report, "conformance_cell") else status

    def take(self, outcome: str) -> None:
        """Count a cell."""
        self._done += 1
        self._red += outcome in FAILING
        self._has_run |= outcome not in UNJUDGED
        total = max(self._total(), self._done)
        if self._live:
            self._draw(total)
            return
        part = self._done * PARTS // total
        if part > self._reported_parts:
            self._reported_parts = part
            red = "none ran" if self._done == total and not self._has_run else f"{self._red} red"
            self._file.write(f"{self._done} of {total} cells, {red}{self._remaining_time(total)}\n")
            self._file.flush()

    def _remaining_time(self, total: int) -> str:
        """Return the estimated remaining time, or at the end the total time."""
        if self._done == total:
            return f", {duration(time.monotonic() - self._started)}"
        seconds = (time.monotonic() - self._started) * (total - self._done) / self._done
        return f", about {duration(seconds)} left"

    def _draw(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        if self._bar is None:
            bar = Bar(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[red]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(file=self._file, force_terminal=True),
                transient=True,
            )
            self._bar = bar, bar.add_task("cells", total=total, red="", left="")
            bar.start()
        red = f"[red]{self._red} red[/red]" if self._red else "none red"
        bar, task = self._bar
        bar.update(task, completed=self._done, total=total, red=red, left=self._remaining_time(total).lstrip(", "))

    def end(self) -> None:
        """Remove the bar before the summary."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


def duration(seconds: float) -> str:
    """Return a time as text in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
