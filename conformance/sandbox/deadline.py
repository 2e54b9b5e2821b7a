"""
The time limit of a child process for one exchange, and the time that the process has used.

Wall time is not enough: on a busy machine a healthy process takes many times as long. An exchange ends in two cases:

- The process and its descendants have used more CPU time than allowed (user and system time).
- The process hangs: it gains less than 1 s of CPU time in 60 s of wall time. Wall time does not count while the process
  or a descendant runs, waits for a CPU or waits for a disk.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Final

import psutil

#: CPU time that a process which does not hang gains (seconds in 1 s of wall time): 1 s in 60 s.
LEAST_GAIN: Final = 1 / 60
#: Wall time between two readings (seconds). A reading takes milliseconds: it searches all processes of the machine for
#: descendants.
INTERVAL: Final = 0.5
#: States of a process that works: it runs, waits for a CPU or waits for a disk.
_AT_WORK: Final = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeLimit:
    """The limits of one exchange, and the texts for the message if one is passed."""

    #: CPU time that each thread may take (seconds).
    cpu: float
    #: Number of threads.
    threads: int = 1
    #: Wall time in which a process that does not hang gains CPU time (seconds).
    hang: float
    #: The missing result when the CPU time is spent, such as "no answer".
    missing: str
    #: The option that allows more CPU time.
    option: str

    @property
    def total(self) -> float:
        """CPU time of all threads together (seconds)."""
        return self.cpu * self.threads

    def spent(self) -> str:
        """Return the reason to end a process that has used all its CPU time."""
        share = f" ({self.cpu:g} s for each of {self.threads} threads)" if self.threads > 1 else ""
        more = f"allow more with {self.option} {2 * self.cpu:g}"
        return f"{self.missing} within {self.total:g} s of CPU time{share}; {more}"

    def hung(self, gained: float) -> str:
        """Return the reason to end a process that gained only some seconds of CPU time within the limit of a hang."""
        more = f"allow more with --hang {2 * self.hang:g}"
        return f"hangs: gained {gained:.2f} s of CPU time in {self.hang:g} s; {more}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrun:
    """A limit that was passed."""

    #: What happened, with numbers, and the option that allows more.
    reason: str
    #: Whether the process hung; else it used all its CPU time.
    hung: bool


class Allowance:
    """
    The used part of the limit of one exchange.

    - `process`: the child; its descendants are found at each reading.
    - `limit`: the limit of the exchange.
    - `fresh`: the exchange began with the process, so that all its CPU time counts. Else CPU time counts from the first
      reading, so that a short question needs no reading.
    """

    def __init__(self, process: psutil.Process, limit: TimeLimit, *, fresh: bool) -> None:
        self._process = process
        self._limit = limit
        self._last_cpu: float | None = 0.0 if fresh else None
        self._last_reading = time.monotonic()
        self._gained = 0.0
        self._gained_at_progress = 0.0
        self._idle = 0.0

    def overrun(self) -> Overrun | None:
        """Read the clocks, at most once in `INTERVAL`, and return the limit that is passed, if any."""
        now = time.monotonic()
        elapsed = now - self._last_reading
        if self._last_cpu is not None and elapsed < INTERVAL:
            return None
        self._last_reading = now
        cpu, at_work = _reading(self._process)
        if self._last_cpu is not None:
            # A descendant that lost its parent is not found, and its CPU time is missing from the sum.
            self._gained += max(0.0, cpu - self._last_cpu)
            # If this process itself did not run for a long time, the state of the child in that time is unknown.
            self._idle += 0.0 if at_work else min(elapsed, 2 * INTERVAL)
        self._last_cpu = cpu
        if self._gained >= self._limit.total:
            return Overrun(reason=self._limit.spent(), hung=False)
        gained = self._gained - self._gained_at_progress
        if gained >= self._limit.hang * LEAST_GAIN:
            self._gained_at_progress, self._idle = self._gained, 0.0
        elif self._idle >= self._limit.hang:
            return Overrun(reason=self._limit.hung(gained), hung=True)
        return None


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and its descendants, in seconds; 0 if it has ended."""
    return _reading(process)[0]


def _reading(process: psutil.Process) -> tuple[float, bool]:
    """Return the CPU time of a process and its descendants in seconds, and whether one of them is at work."""
    family = [process]
    with contextlib.suppress(psutil.Error):
        family += process.children(recursive=True)
    total, at_work = 0.0, False
    for each in family:
        try:
            with each.oneshot():
                times, status = each.cpu_times(), each.status()
        except psutil.Error:
            continue
        # Descendants that ended are in the times of the parent that waited for them.
        total += times.user + times.system + times.children_user + times.children_system
        at_work = at_work or status in _AT_WORK
    return total, at_work
