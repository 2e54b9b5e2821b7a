"""
How long processes take to start and cells to run, as far as an earlier run tells.

Shards and the number of workers go by it.

What is known comes with the package, in `times.json`, so that every machine of the same version expects the same and
need not ask another; `python -m conformance.run.expected_times RESULTS` writes it anew. It holds a start and a usual
cell for each implementation, and by name the cells far from usual. A time that is wrong
makes a run slower and never changes what it finds.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from conformance.results import CellRecord, ResultsError, read

FILE: Final = Path(__file__).parent / "times.json"

#: Times of an implementation without a record (seconds).
USUAL_START: Final = 3.0
USUAL_CELL: Final = 0.05
#: A cell is named where it takes this many times as long as the usual one, and so much longer (seconds).
FAR: Final = 4.0
FAR_SECONDS: Final = 0.2
#: A second process for the same cells pays where it runs for so many times as long as it takes to start.
WORTH_A_START: Final = 2.0
#: A new time replaces the one that is kept where it is off by more than this factor: machines differ, and days do.
CLEARLY: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one implementation takes (seconds): until its process is up, for a usual cell, and for those far from it."""

    start: float = USUAL_START
    cell: float = USUAL_CELL
    cells: Mapping[str, float] = field(default_factory=dict)


_UNKNOWN: Final = Expected()


@dataclass(frozen=True)
class Times:
    """What is expected of each implementation, by name."""

    implementations: Mapping[str, Expected]

    def start(self, implementation: str) -> float:
        """Return how long its process takes until it is up (seconds)."""
        return self._of(implementation).start

    def cell(self, implementation: str, case: str) -> float:
        """Return how long a cell takes, its process being up (seconds)."""
        found = self._of(implementation)
        return found.cells.get(case, found.cell)

    def kept_busy(self, cells: Iterable[tuple[str, str, str]]) -> int:
        """
        Return how many workers cells keep busy, given as (process, implementation, case).

        A worker is worth its start where it runs cells for `WORTH_A_START` times as long.
        """
        left: dict[str, float] = defaultdict(float)
        starts: dict[str, float] = {}
        for process, implementation, case in cells:
            left[process] += self.cell(implementation, case)
            starts[process] = self.start(implementation)
        return sum(max(1, int(took / (WORTH_A_START * max(starts[name], 0.1)))) for name, took in left.items())

    def _of(self, implementation: str) -> Expected:
        return self.implementations.get(implementation, _UNKNOWN)


@functools.cache
def packaged_times() -> Times:
    """Return what is known by the package."""
    return _loaded(json.loads(FILE.read_text(encoding="utf-8")))


def times_of_results(path: Path) -> Times:
    """
    Return what a results file tells.

    Raises:
        ResultsError: it cannot be read.
    """
    return times_of_records(read(path).cells)


def times_of_records(cells: Iterable[CellRecord]) -> Times:
    """
    Return what the cells of a run tell, in the order in which they ended.

    A cell that waited for its process says how long. In a file that does not, the first cell of an implementation is
    taken for the one that waited.
    """
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    starts: dict[str, list[float]] = defaultdict(list)
    first: dict[str, str] = {}
    for each in cells:
        # What the registry declares unsupported was not asked, and has no check.
        if each.outcome == "not_run" or (each.outcome == "unsupported" and not each.checks):
            continue
        name, took = each.implementation, each.seconds
        first.setdefault(name, each.case)
        # A row with its own environment starts a process of its own, which belongs to what it takes.
        alone = each.question is not None and each.question.environment
        if each.start is not None and not alone:
            starts[name].append(each.start)
            took -= each.start
        seconds[name][each.case] = max(took, 0.0)
    return Times({name: _summed(found, starts[name], first[name]) for name, found in sorted(seconds.items())})


def _summed(seconds: dict[str, float], starts: list[float], first: str) -> Expected:
    usual = statistics.median(seconds.values())
    if not starts and len(seconds) > 1:
        starts = [max(0.0, seconds.pop(first) - usual)]
    far = {case: took for case, took in seconds.items() if took > FAR * usual and took > usual + FAR_SECONDS}
    return Expected(
        start=_rounded(statistics.median(starts)) if starts else USUAL_START,
        cell=_rounded(usual),
        cells={case: _rounded(took) for case, took in sorted(far.items())},
    )


def _rounded(value: float) -> float:
    """Return a time with two digits, milliseconds at the least."""
    return max(0.001, float(f"{value:.2g}"))


def with_new_times(old: Times, new: Times) -> Times:
    """Return what is to be kept: what is new, with the old time wherever the new one is not clearly another."""
    found = dict(old.implementations)
    for name, each in new.implementations.items():
        before = found.get(name)
        found[name] = (
            each
            if before is None
            else Expected(
                start=_kept(before.start, each.start),
                cell=_kept(before.cell, each.cell),
                cells={case: _kept(before.cells.get(case), took) for case, took in each.cells.items()},
            )
        )
    return Times(dict(sorted(found.items())))


def _kept(old: float | None, new: float) -> float:
    return new if old is None or not 1 / CLEARLY <= new / old <= CLEARLY else old


def _loaded(content: Mapping[str, Any]) -> Times:
    return Times({name: Expected(**each) for name, each in content["implementations"].items()})


def as_text(times: Times) -> str:
    """Return the content of `times.json`."""
    content = {
        name: {"start": each.start, "cell": each.cell, "cells": dict(each.cells)}
        for name, each in times.implementations.items()
    }
    about = "How long a run took, in seconds; written by `make times`, see conformance/run/expected_times.py."
    return json.dumps({"about": about, "implementations": content}, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Write `times.json` from results files."""
    old = packaged_times() if FILE.exists() else Times({})
    try:
        for each in arguments:
            old = with_new_times(old, times_of_results(Path(each)))
    except ResultsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    FILE.write_text(as_text(old), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
