"""
(e) The cost of collecting the suite compared with as many empty tests: CPU time of `pytest --collect-only -q`.

    python -m benchmarks.collection [ROWS...]

The rows are those of `benchmarks/sizes.py`, on every implementation of the default run. The empty tests are
parametrized as the suite's are, with the same ids, pytest and options, without the suite's plugin. Both print every id.
The cost of the start is measured too, since it is the same for any number of tests.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu_time import python
from tools.large_tables import singles

#: Rows, each on the seven implementations of the default tier: about 2,000 and 20,000 tests.
SIZES: Final = (286, 2858)
TIMES: Final = 5
TARGET: Final = 1.3
_COLLECT: Final = ("-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-n", "0")
_EMPTY: Final = '''\
"""Tests that do nothing."""

from pathlib import Path

import pytest

IDS = (Path(__file__).parent / "ids.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("cell", range(len(IDS)), ids=IDS)
def test_dense(cell: int, request: pytest.FixtureRequest) -> None:
    """Do nothing."""
'''


def measure(*sizes: int) -> dict[str, Any]:
    """Return for each number of tests the CPU seconds of both, and their ratio; medians over runs in turn."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "test_nothing.py").write_text(_EMPTY, encoding="utf-8")
        (folder / "ids.txt").write_text("one\n", encoding="utf-8")
        rows = folder / "rows"
        singles(rows, 1)
        started = {each: statistics.median(run(folder) for _ in range(TIMES)) for each, run in _BOTH.items()}
        for size in sizes or SIZES:
            singles(rows, size)
            printed = python(*_COLLECT, "tests/test_dense.py", f"--cases={rows}").output
            ids = [line.partition("[")[2][:-1] for line in printed.splitlines() if "test_dense[" in line]
            (folder / "ids.txt").write_text("\n".join(ids), encoding="utf-8")
            spent: dict[str, list[float]] = {each: [] for each in _BOTH}
            for _ in range(TIMES):
                for each, run in _BOTH.items():
                    spent[each].append(run(folder))
            ours, empty = (statistics.median(spent[each]) for each in ("suite", "empty"))
            beyond = (ours - started["suite"]) / (empty - started["empty"])
            found[str(len(ids))] = {"suite": ours, "empty": empty, "ratio": ours / empty, "beyond_start": beyond}
    return {"tests": found, "started": started, "target": TARGET}


def _suite(folder: Path) -> float:
    return python(*_COLLECT, "tests/test_dense.py", f"--cases={folder / 'rows'}").cpu


def _nothing(folder: Path) -> float:
    return python(*_COLLECT, "-c", str(folder / "pytest.ini"), str(folder)).cpu


_BOTH: Final = {"suite": _suite, "empty": _nothing}


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [
        "| tests | suite, CPU seconds | empty tests | ratio | without the start |",
        "|---:|---:|---:|---:|---:|",
    ]
    for count, each in found["tests"].items():
        numbers = f"{each['suite']:.2f} | {each['empty']:.2f} | {each['ratio']:.2f} | {each['beyond_start']:.2f}"
        rows.append(f"| {int(count):,} | {numbers} |")
    started = found["started"]
    return [
        *rows,
        "",
        (
            f"A single row, which measures the start, takes {started['suite']:.2f} s and {started['empty']:.2f} s. "
            f"Target {found['target']:g}."
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
