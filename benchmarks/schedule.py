"""
How well pytest-xdist's own scheduler spreads a run, by a replay of expected times, and the shards of the same cells.

    python -m benchmarks.schedule [RESULTS]

The replay needs no framework: workers do what xdist's do, a test takes as long as in the RESULTS file (or, without one,
as is expected of it, give or take a third), and a process that is not the worker's takes its start. The lower bound is
that of no schedule at all: each process started once, and the work spread evenly. Beside it a run of three
implementations with two workers says what is left of that when cells run for real. Shards are those of the suite, and
beside them pieces of the list with equally many cells.
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
#: How far what a test takes is from what was expected of it, where it is made up (of the logarithm).
SPREAD: Final = 0.3


def measure(results: Path | None = None) -> dict[str, Any]:
    """Return for each number of workers the time over the lower bound and the starts, for shards theirs, and a run."""
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
    """Return for each number of shards the longest over the mean, the processes, and what a row less moves (shares)."""
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
    """Return how long the longest part takes over the mean, and how many processes all parts start."""
    loads, started = [0.0] * count, {(part, each.implementation) for each, part in dealt.items()}
    for each, part in dealt.items():
        loads[part] += times.cell(each.implementation, each.case)
    for part, name in started:
        loads[part] += times.start(name)
    return max(loads) * count / sum(loads), len(started)


def _made_up() -> dict[CellName, float]:
    """Return for each cell of the nightly tier what is expected of it, give or take."""
    selection = Selection(tier="nightly")
    chosen = [each for each in selection.chosen() if each.name in packaged_times().implementations]
    generator = random.Random(1)
    return {
        name_of(cell): packaged_times().cell(cell.implementation.name, cell.case.id)
        * math.exp(generator.gauss(0.0, SPREAD))
        for cell in selection.cells(selection.table(), chosen, selection.devices(chosen))
    }


def _taken(results: Path) -> dict[CellName, float]:
    """Return what each cell of a results file took, its process being up."""
    times = times_of_results(results)
    found = {}
    for each in read(results).cells:
        took = each.seconds - (each.start or 0.0)
        # The first cell of a file that does not say so waited for its process.
        usual = times.cell(each.implementation, each.case)
        took = usual if took > times.start(each.implementation) + usual else took
        found[each.cell] = took
    return found


def _real() -> dict[str, float]:
    """Return of a run with two workers its wall time, its CPU time, the starts, and the share of both cores used."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        chosen = [f"--implementation={name}" for name in REAL]
        given = ["tests/test_dense.py", "-q", "-p", "no:cacheprovider", "-n", "2", f"--results={results}"]
        spent = python("-m", "pytest", *given, *chosen, ends=(0, 1))
        starts = sum(each.start is not None for each in read(results).cells)
    return {"wall": spent.wall, "cpu": spent.cpu, "starts": starts, "used": spent.cpu / 2 / spent.wall}


def lines(found: dict[str, Any]) -> list[str]:
    """Return what was measured, as Markdown."""
    rows = [
        f"{found['cells']} cells of {found['processes']} implementations, replayed through xdist's work stealing; time",
        "over that of no schedule at all, and processes started:",
        "",
        "| workers | time / least | starts |",
        "|---:|---:|---:|",
    ]
    rows += [
        f"| {each['workers']} | {each['seconds'] / each['least']:.3f} | {each['starts']} |" for each in found["rounds"]
    ]
    rows += [
        "",
        "Shards of the same cells: the longest over the mean, balanced by expected time and in pieces of equally many",
        "cells; the share of the cells that the loss of a row moves to another shard, the most of ten rows:",
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
