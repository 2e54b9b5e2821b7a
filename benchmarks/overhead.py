"""
(a) The cost of the suite beyond the frameworks' own work: its CPU time over that of a bare loop of the same calls.

    python -m benchmarks.overhead [ROUNDS]

A round is three runs: the suite over the default table with two workers; a bare loop for each implementation, two at a
time (`benchmarks.bare_loop`); and as many empty tests as there are cells, with two workers of pytest-xdist. CPU time is
that of all processes of a run. All runs share the cache of JAX's compiled programs.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.bare_loop import bare, cells_of
from benchmarks.cpu_time import Spent, python

WORKERS: Final = "2"
#: The number of rounds; the figures are medians.
ROUNDS: Final = 3
_TESTS: Final = """\
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_nothing(number):
    pass
"""


def measure(rounds: int = ROUNDS, names: Sequence[str] = (), *, alone: bool = True) -> dict[str, Any]:
    """
    Return the ratio of the suite's CPU time to the bare loop's, and what a cell costs beyond an empty test (seconds).

    With `alone` there is, for each implementation, the ratio of a run with it alone, one worker and nothing shared.
    """
    names = names or tuple(dict.fromkeys(cell.implementation.name for cell in cells_of(())))
    count = len(cells_of(names))
    found = [_round(names, count) for _ in range(rounds)]
    by_itself = {}
    for name in names if alone else ():
        calls = bare(name)
        ratio = suite([name], "1").cpu / calls["cpu"]
        by_itself[name] = {"cells": calls["cells"], "bare": calls["cpu"] / max(calls["cells"], 1), "ratio": ratio}
    return {
        "cells": count,
        "rounds": found,
        "ratio": statistics.median(each["suite"] / each["bare"] for each in found),
        "ratio_target": 1.15,
        "empty": statistics.median(each["empty"] / count for each in found),
        "beyond": statistics.median((each["suite"] - each["bare"] - each["empty"]) / count for each in found),
        "beyond_target": 0.0015,
        "alone": by_itself,
    }


def _round(names: Sequence[str], count: int) -> dict[str, float]:
    return {
        "suite": suite(names, WORKERS).cpu,
        "bare": sum(each["cpu"] for each in _two_at_a_time(names)),
        "empty": empty(count, WORKERS).cpu,
    }


def _two_at_a_time(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the cost of the bare loops, two at a time, as the suite has two workers."""
    with ThreadPoolExecutor(int(WORKERS)) as pool:
        return list(pool.map(bare, names))


def suite(names: Sequence[str], workers: str, *options: str) -> Spent:
    """Return the cost of the suite on some implementations, with `workers` workers and 1 thread for each process."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = [f"--implementation={name}" for name in names]
        results = f"--results={folder}/results.jsonl"
        given = ["tests/test_dense.py", "-q", "-p", "no:cacheprovider", "-n", workers, "--threads=1"]
        return python("-m", "pytest", *given, results, *chosen, *options)


def empty(count: int, workers: str) -> Spent:
    """Return the cost of `count` empty tests, parametrized like those of the suite, without its plugin."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (Path(folder) / "test_nothing.py").write_text(_TESTS.format(count=count), encoding="utf-8")
        given = ["-c", f"{folder}/pytest.ini", folder, "-q", "-p", "no:cacheprovider", "-n", workers]
        return python("-m", "pytest", *given)


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    beyond, empty_test = 1000 * found["beyond"], 1000 * found["empty"]
    rows = [
        (
            f"CPU time over a bare loop of the same calls, {found['cells']} cells: **{found['ratio']:.2f}** "
            f"(target {found['ratio_target']}). A cell costs {beyond:.1f} ms of CPU beyond the calls and an empty test "
            f"({empty_test:.1f} ms); target {1000 * found['beyond_target']:g} ms."
        ),
        "",
        "| implementation, alone | cells | bare loop, ms a cell | suite / bare loop |",
        "|---|---:|---:|---:|",
    ]
    for name, each in found["alone"].items():
        rows.append(f"| {name} | {each['cells']} | {1000 * each['bare']:.1f} | {each['ratio']:.2f} |")
    return rows if found["alone"] else rows[:1]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS), indent=2))
