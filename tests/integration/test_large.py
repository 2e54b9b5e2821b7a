"""Large tables, files and runs: time for each case stays the same, and memory stays within bounds for each cell."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from conformance.results import read
from conformance.results.diff.comparison import diff
from conformance.run.summary import summarise
from conformance.run.tally import Tally
from conformance.table.loader import load
from tests.support.command_process import run_module
from tests.support.paths import ROOT
from tests.support.records import cell_record
from tests.support.runs import environment
from tools.large_tables import products, singles

PROCESSES = ("torch", "flax-nnx", "keras-jax", "numpy")
CHECKS = ("output_shape", "parameters", "output_dtype", "output", "gradients", "repeatable", "weights_live")


def record(number: int, outcome: str = "conforms") -> dict[str, Any]:
    """Return a cell with as much to say as a real one."""
    checks = [
        {"check": each, "outcome": "conforms", "margin": number % 97 / 100, "facts": {"bits": f"{number:064}"}}
        for each in CHECKS
    ]
    if outcome not in ("conforms", "not_run"):
        checks[-1] |= {"outcome": outcome, "message": f"output[{number}] = 3.0, expected 1.0"}
    return {
        "case": f"case-{number // len(PROCESSES)}-with-a-name-as-long-as-they-are",
        "implementation": PROCESSES[number % len(PROCESSES)],
        "device": "cpu",
        "outcome": outcome,
        "checks": checks if outcome != "not_run" else [],
        "seconds": 0.001,
        "row": f"cases/a.yaml:{number // 8}",
        "question": {
            "dtype": "float32",
            "input_shape": [number, 4],
            "batch": 2,
            "lane": "uniform",
            "units": [3],
            "activation": ["linear"],
            "use_bias": [True],
        },
        "steps": {f"step {each}": number / 7 for each in range(15)},
    }


def file_of(path: Path, count: int, red_every: int = 500) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({"type": "header", "schema": 1, "cells": count}) + "\n")
        counts = {"conforms": 0, "violates": 0}
        for number in range(count):
            outcome = "conforms" if number % red_every else "violates"
            counts[outcome] += 1
            stream.write(json.dumps({"type": "cell", **record(number, outcome)}) + "\n")
        stream.write(json.dumps({"type": "footer", "counts": counts, "complete": True, "seconds": 1.0}) + "\n")
    return path


def peak(call: Any) -> int:
    """Return the most that a call has Python hold, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("made", [singles, products])
def test_a_row_takes_as_long_to_read_in_a_large_table_as_in_a_small_one(tmp_path: Path, made: Any) -> None:
    seconds = {}
    for cases in (1000, 5000):
        folder = made(tmp_path / str(cases), cases)
        rounds = []
        for _ in range(2):
            started = time.process_time()
            assert len(load([folder]).cases) == cases
            rounds.append(time.process_time() - started)
        seconds[cases] = min(rounds) / cases
    assert seconds[5000] < 2 * seconds[1000]


def test_records_in_memory_take_a_few_times_their_file_and_a_comparison_little_more(tmp_path: Path) -> None:
    """`docs/scale.md` says how much memory commands take; it rests on these."""
    paths = [file_of(tmp_path / f"{index}.jsonl", 4000, red_every) for index, red_every in enumerate((500, 400))]
    assert peak(lambda: read(paths[0])) < 6 * paths[0].stat().st_size
    runs = [read(each) for each in paths]
    assert peak(lambda: diff(*runs)) / 8000 < 800
    found = diff(*runs)
    assert len(found.section("worse")) == 8
    assert len(found.section("fixed")) == 6


def test_a_tally_stores_no_cells_and_has_the_same_counts() -> None:
    tally = Tally()
    tally.expect([cell_record(record(number)).cell for number in range(5000)])

    def take(numbers: range) -> None:
        for number in numbers:
            tally.take(cell_record(record(number, ("violates", "not_run", "conforms", "crashed")[number % 7 % 4])))

    take(range(1000))  # and those that are kept of each implementation
    assert peak(lambda: take(range(1000, 5000))) < 4000 * 10
    assert tally.missing == []
    assert sum(tally.total.values()) == tally.expected == 5000
    first = [each for each in map(str, (line for line, _ in summarise(tally, results=None))) if "more red" in each]
    red = tally.total["violates"] + tally.total["crashed"]
    assert first == [f"and {red - 13} more red cells"]


def run(tmp_path: Path, *options: str) -> dict[str, tuple[int, int]]:
    """Return the reports and records of cells that lived at the end of a run of twelve, by process."""
    rows = tmp_path / "rows.yaml"
    rows.write_text("rows:\n" + "".join(f"  - {{input_shape: [{n}], units: 3}}\n" for n in range(2, 5)), "utf-8")
    told = tmp_path / f"told-{len(list(tmp_path.iterdir()))}"
    chosen = [
        "--implementation=tests.support.faulty_adapters:Exact",
        "--implementation=tests.support.faulty_adapters:DropsBias",
        f"--cases={rows}",
    ]
    command = ["tests/test_dense.py", "-p", "tests.support.survivors", "-p", "no:cacheprovider", "-q", "--tb=no", "-rN"]
    done = run_module("pytest", *command, *chosen, *options, cwd=ROOT, environment=environment(SURVIVORS=str(told)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "6 failed, 6 passed" in done.stdout, "the last line still counts them"
    lines = (line.split() for line in told.read_text(encoding="utf-8").splitlines())
    return {name: (int(reports), int(records)) for name, reports, records in lines}


def test_no_process_stores_reports_or_records_of_ended_cells(tmp_path: Path) -> None:
    alone = run(tmp_path, "-n", "0")
    spread = run(tmp_path, "-n", "1")
    assert spread.keys() == {"controller", "gw0"}
    # Of red cells the first ones of each implementation are kept: all six here. The last cell's record is there too,
    # and as the text that became a record again.
    assert max(records for _, records in (*alone.values(), *spread.values())) <= 8
    assert max(reports for reports, _ in (*alone.values(), *spread.values())) <= 2


def test_options_that_print_reports_still_work(tmp_path: Path) -> None:
    ((reports, _),) = run(tmp_path, "-n", "0", "-rA").values()
    assert reports >= 12
