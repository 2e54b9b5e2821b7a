"""
The expected times of starts and cells, from an earlier run.

Shards and the number of workers depend on them. They come with the package, in `times.json`, so that all machines with
the same version expect the same times. `python -m conformance.run.expected_times RESULTS` writes the file again. It has
the time of a start and of a usual cell for each implementation, and the times of unusual cells by name. A wrong time
makes a run slower and never changes its results.
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
from typing import Final

import msgspec

from conformance.results import CellRecord, ResultsError, read

FILE: Final = Path(__file__).parent / "times.json"

#: Times of an implementation without a record (seconds).
USUAL_START: Final = 3.0
USUAL_CELL: Final = 0.05
#: A cell is unusual if it takes this many times as long as the usual one, and this much longer (seconds).
FAR: Final = 4.0
FAR_SECONDS: Final = 0.2
#: The least time of cells per process, as a multiple of the time of its start.
CELLS_PER_START: Final = 2.0
#: A new time replaces the old one if the two differ by more than this factor, because times vary between runs.
CHANGE: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The times of one implementation (seconds): a start, a usual cell, and the unusual cells by case."""

    start: float = USUAL_START
    cell: float = USUAL_CELL
    cells: Mapping[str, float] = field(default_factory=dict)


_UNKNOWN: Final = Expected()


@dataclass(frozen=True)
class Times:
    """The expected times of implementations, by name."""

    implementations: Mapping[str, Expected]

    def start(self, implementation: str) -> float:
        """Return the time of a start of its process (seconds)."""
        return self._of(implementation).start

    def cell(self, implementation: str, case: str) -> float:
        """Return the time of a cell in a running process (seconds)."""
        found = self._of(implementation)
        return found.cells.get(case, found.cell)

    def useful_workers(self, cells: Iterable[tuple[str, str, str]]) -> int:
        """
        Return how many workers are useful for cells, given as (process, implementation, case).

        A worker is useful if it runs cells for `CELLS_PER_START` times as long as it starts.
        """
        totals: dict[str, float] = defaultdict(float)
        starts: dict[str, float] = {}
        for process, implementation, case in cells:
            totals[process] += self.cell(implementation, case)
            starts[process] = self.start(implementation)
        return sum(max(1, int(took / (CELLS_PER_START * max(starts[name], 0.1)))) for name, took in totals.items())

    def _of(self, implementation: str) -> Expected:
        return self.implementations.get(implementation, _UNKNOWN)


@functools.cache
def packaged_times() -> Times:
    """Return the times in `times.json`."""
    return Times(msgspec.json.decode(FILE.read_bytes(), type=_File).implementations)


def times_of_results(path: Path) -> Times:
    """
    Return the times in a results file.

    Raises:
        ResultsError: it cannot be read.
    """
    return times_of_records(read(path).cells)


def times_of_records(cells: Iterable[CellRecord]) -> Times:
    """
    Return the times of the cells of a run, given in the order in which they ended.

    The record of a cell that started its process has the time of the start. In a file without such times, the first
    cell of an implementation counts as the one that started its process.
    """
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    starts: dict[str, list[float]] = defaultdict(list)
    first: dict[str, str] = {}
    for each in cells:
        # A cell that the registry declares unsupported was not run, and has no check.
        if each.outcome == "not_run" or (each.outcome == "unsupported" and not each.checks):
            continue
        name, took = each.implementation, each.seconds
        first.setdefault(name, each.case)
        # A row with its own environment starts its own process, which counts as time of the cell.
        alone = each.question is not None and each.question.environment
        if each.start is not None and not alone:
            starts[name].append(each.start)
            took -= each.start
        seconds[name][each.case] = max(took, 0.0)
    return Times({name: _expected_times(found, starts[name], first[name]) for name, found in sorted(seconds.items())})


def _expected_times(seconds: dict[str, float], starts: list[float], first: str) -> Expected:
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
    """Return a time with two digits, at least 1 ms."""
    return max(0.001, float(f"{value:.2g}"))


def with_new_times(old: Times, new: Times) -> Times:
    """Return the new times, with the old time wherever the two differ little."""
    found = dict(old.implementations)
    for name, each in new.implementations.items():
        before = found.get(name)
        found[name] = (
            each
            if before is None
            else Expected(
                start=_updated_time(before.start, each.start),
                cell=_updated_time(before.cell, each.cell),
                cells={case: _updated_time(before.cells.get(case), took) for case, took in each.cells.items()},
            )
        )
    return Times(dict(sorted(found.items())))


def _updated_time(old: float | None, new: float) -> float:
    return new if old is None or not 1 / CHANGE <= new / old <= CHANGE else old


class _File(msgspec.Struct):
    """The content of `times.json`."""

    about: str
    implementations: dict[str, Expected]


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
