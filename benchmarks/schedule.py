"""
Measures how evenly pytest-xdist's scheduler spreads a run, and how even the shards of the same cells are.

    python -m benchmarks.schedule [RESULTS]

A replay of expected times needs no framework. Its workers behave as xdist's do. A test takes as long as in the RESULTS
file; without one, it takes its expected time, up to about a third more or less. A process that a worker does not have
takes its start time. The lower bound starts each process once and spreads the work evenly. A real run of three
implementations with two workers shows how much of both cores is used. The suite's shards are compared with parts of
the list that have equally many cells.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu_time import python
from conformance.results import read
from conformance.results.record import CellName
from conformance.run.cell_name import name_of
from conformance.run.expected_times import Times, packaged_times, times_of_results
from conformance.run.selection import Selection
from conformance.run.sharding import parts
from tools.replay import replay

WORKERS: Final = (2, 4, 8, 16)
SHARDS: Final = (2, 4, 8)
REAL: Final = ("numpy", "torch", "keras-torch")
#: Standard deviation of the logarithm of a made-up time around the expected time.
SPREAD: Final = 0.3


def measure(results: Path | None = None) -> dict[str, Any]:
    """Return the figures for each number of workers and of shards, and those of a real run."""
    actual = _made_up() if results is None else _taken(results)
    start = (packaged_times() if results is None else times_of_results(results)).start
    groups = {each.implementation for each in actual}
    work = sum(actual.values()) + sum(map(start, groups))
    rounds = [
        {"workers": workers, "least": max(work / workers, *actual.values()), **replay(workers, actual, start)}
        for workers in WORKERS
    ]
    found = {"cells": len(actual), "processes": len(groups), "rounds": rounds, "shards": _shards(list(actual))}
    return found | {"real": _real(), "real_target": 0.9}


def _shards(cells: list[CellName]) -> list[dict[str, float]]:
    """
    Return figures for each number of shards.

    They are the longest shard over the mean, the number of processes, and the share of cells that move if a row goes.
    """
    times = packaged_times()
    cases = sorted({each.case for each in cells})
    return [_dealt(cells, cases[:: len(cases) // 10], count, times) for count in SHARDS]


def _dealt(cells: list[CellName], rows: list[str], count: int, times: Times) -> dict[str, float]:
    def deal(left: list[CellName]) -> dict[CellName, int]:
        names = {str(each): each for each in left}
        processes: dict[str, list[str]] = {}
        for name, each in names.items():
            processes.setdefault(each.implementation, []).append(name)

        def seconds(name: str) -> float:
            return times.cell(names[name].implementation, names[name].case)

        dealt = parts(processes, count, start=times.start, cell=seconds)
        return {names[name]: part for name, part in dealt.items()}

    whole = deal(cells)
    pieces = {each: number * count // len(cells) for number, each in enumerate(cells)}
    moved = []
    for row in rows:
        left = deal([each for each in cells if each.case != row])
        moved.append(sum(whole[each] != part for each, part in left.items()) / len(left))
    longest, processes = _balance(whole, count, times)
    by_count, _ = _balance(pieces, count, times)
    return {"count": count, "longest": longest, "by_count": by_count, "processes": processes, "moved": max(moved)}


def _balance(dealt: Mapping[CellName, int], count: int, times: Times) -> tuple[float, int]:
    """Return the time of the longest part over the mean, and the number of processes that all parts start."""
    loads, started = [0.0] * count, {(part, each.implementation) for each, part in dealt.items()}
    for each, part in dealt.items():
        loads[part] += times.cell(each.implementation, each.case)
    for part, name in started:
        loads[part] += times.start(name)
    return max(loads) * count / sum(loads), len(started)


def _made_up() -> dict[CellName, float]:
    """Return for each cell of the nightly tier its expected time with a random error."""
    selection = Selection(tier="nightly")
    chosen = [each for each in selection.chosen() if each.name in packaged_times().implementations]
    generator = random.Random(1)
    return {
        name_of(cell): packaged_times().cell(cell.implementation.name, cell.case.id)
        * math.exp(generator.gauss(0.0, SPREAD))
        for cell in selection.cells(selection.table(), chosen, selection.devices(chosen))
    }


def _taken(results: Path) -> dict[CellName, float]:
    """Return the time of each cell of a results file, without the start of its process."""
    times = times_of_results(results)
    found = {}
    for each in read(results).cells:
        took = each.seconds - (each.start or 0.0)
        # Without recorded starts, the time of an implementation's first cell includes the start of its process.
        usual = times.cell(each.implementation, each.case)
        took = usual if took > times.start(each.implementation) + usual else took
        found[each.cell] = took
    return found


def _real() -> dict[str, float]:
    """Return wall time, CPU time, starts and the share of both cores in use, of a run with two workers."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        chosen = [f"--implementation={name}" for name in REAL]
        given = ["tests/test_dense.py", "-q", "-p", "no:cacheprovider", "-n", "2", f"--results={results}"]
        spent = python("-m", "pytest", *given, *chosen, ends=(0, 1))
        starts = sum(each.start is not None for each in read(results).cells)
    return {"wall": spent.wall, "cpu": spent.cpu, "starts": starts, "used": spent.cpu / 2 / spent.wall}


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [
        f"{found['cells']} cells of {found['processes']} implementations, replayed through xdist's work stealing: run",
        "time relative to the lower bound, and processes started:",
        "",
        "| workers | time / lower bound | starts |",
        "|---:|---:|---:|",
    ]
    rows += [
        f"| {each['workers']} | {each['seconds'] / each['least']:.3f} | {each['starts']} |" for each in found["rounds"]
    ]
    rows += [
        "",
        "Shards of the same cells: the longest shard relative to the mean, balanced by expected time or by number of",
        "cells, and the largest share of cells that move to another shard if one of ten rows is removed:",
        "",
        "| shards | by time | by count | processes | cells moved by a row |",
        "|---:|---:|---:|---:|---:|",
    ]
    for each in found["shards"]:
        balance = f"{each['longest']:.4f} | {each['by_count']:.2f}"
        rows.append(f"| {each['count']} | {balance} | {each['processes']} | {100 * each['moved']:.2f} % |")
    real = found["real"]
    rows += [
        "",
        f"A run of {', '.join(REAL)} with two workers takes {real['wall']:.0f} s and {real['cpu']:.0f} s of CPU time:",
        f"two cores were in use for {100 * real['used']:.0f} % of it (target {100 * found['real_target']:.0f} %), and",
        f"{real['starts']} processes were started.",
    ]
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None), indent=2))
