"""
How far a run has come, and how long it will take: a bar on a terminal, a line for every tenth of the cells elsewhere.

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
#: How often a run that is no terminal's says how far it has come.
PARTS = 10


class Progress:
    """
    Counts cells as their records come; `total` is asked each time, since it is known only once tests are collected.

    `file` is where pytest itself writes, which is not what tests have as stdout.
    """

    def __init__(self, file: IO[str], total: Callable[[], int], *, live: bool) -> None:
        self._file = file
        self._total = total
        self._live = live
        self._done = 0
        self._red = 0
        self._has_run = False
        self._said = 0
        self._started = time.monotonic()
        self._bar: tuple[Bar, TaskID] | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, _Status, _Status]:
        """Leave the letter of a cell's test out, and keep what it is counted as."""
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
        if part > self._said:
            self._said = part
            said = "none ran" if self._done == total and not self._has_run else f"{self._red} red"
            self._file.write(f"{self._done} of {total} cells, {said}{self._left(total)}\n")
            self._file.flush()

    def _left(self, total: int) -> str:
        """Return about how long the rest will take, if it goes on as it went."""
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
        bar.update(task, completed=self._done, total=total, red=red, left=self._left(total).lstrip(", "))

    def end(self) -> None:
        """Take the bar away: what follows is the summary."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


def duration(seconds: float) -> str:
    """Return a time in words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
