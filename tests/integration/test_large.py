"""Tables and files of any size: time for each case stays the same, and memory does not grow with cells."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.large import products
from benchmarks.sizes import singles
from conformance.report import render
from conformance.report.condensed import condensed
from conformance.report.condensed_counts import beside
from conformance.report.matrix import Left
from conformance.results import Record, Run, opened, read
from conformance.results.diff.compare import diff
from conformance.run.summary import summarise
from conformance.run.tally import Tally
from conformance.table.loader import load
from tests.support.paths import ROOT

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


def test_a_file_that_is_opened_takes_no_memory_for_its_cells(tmp_path: Path) -> None:
    small, large = (file_of(tmp_path / f"{count}.jsonl", count) for count in (1000, 4000))

    def look(path: Path) -> None:
        run = opened(path)
        assert sum(1 for _ in run.cells) == len(run.cells)

    assert peak(lambda: look(large)) < 1.5 * peak(lambda: look(small)) + 100_000
    assert peak(lambda: read(large)) > 20 * peak(lambda: look(large)), "what is measured would see them"


def test_a_comparison_takes_some_hundred_bytes_for_each_cell(tmp_path: Path) -> None:
    paths = [file_of(tmp_path / f"{index}.jsonl", 4000, red_every) for index, red_every in enumerate((500, 400))]
    assert peak(lambda: diff(*map(opened, paths))) / 8000 < 800
    found = diff(*map(opened, paths))
    assert found == diff(*map(read, paths))
    assert len(found.worse) == 8
    assert len(found.fixed) == 6


def test_a_file_that_is_opened_reads_as_one_that_is_read(tmp_path: Path) -> None:
    path = file_of(tmp_path / "r.jsonl", 100)
    whole, kept = read(path), opened(path)
    assert list(kept.cells) == list(whole.cells)
    assert kept.cells[7] == whole.cells[7]
    assert list(kept.cells[-2:]) == list(whole.cells[-2:])
    assert (kept.counts, kept.footer, kept.complete) == (whole.counts, whole.footer, True)
    cut = path.read_bytes()[:-150]
    path.write_bytes(cut)
    broken = opened(path)
    path.write_bytes(cut + b"\n" + json.dumps({"type": "cell", **record(7)}).encode() + b"\n")
    assert len(list(broken.cells)) == len(broken.cells), "what came later is of no concern"


def test_a_tally_holds_no_cell_and_says_what_all_of_them_would() -> None:
    names = [f"cpu/{each['implementation']}/{each['case']}" for each in map(record, range(5000))]
    tally = Tally()
    tally.expect(names)

    def take(numbers: range) -> None:
        for number in numbers:
            tally.take(record(number, ("violates", "not_run", "conforms", "crashed")[number % 7 % 4]))

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
        "--implementation=tests.support.faulty:Exact",
        "--implementation=tests.support.faulty:DropsBias",
        f"--cases={rows}",
    ]
    command = ["tests/test_dense.py", "-p", "tests.support.survivors", "-p", "no:cacheprovider", "-q", "--tb=no", "-rN"]
    environment = {name: each for name, each in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command, *chosen, *options],
        cwd=ROOT,
        env=environment | {"SURVIVORS": str(told)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "6 failed, 6 passed" in done.stdout, "the last line still counts them"
    lines = (line.split() for line in told.read_text(encoding="utf-8").splitlines())
    return {name: (int(reports), int(records)) for name, reports, records in lines}


def test_no_process_holds_reports_or_records_of_cells_that_ended(tmp_path: Path) -> None:
    alone = run(tmp_path, "-n", "0")
    spread = run(tmp_path, "-n", "1")
    assert spread.keys() == {"controller", "gw0"}
    # Of red cells the first ones of each implementation are kept: all six here. The last cell's record is there too,
    # and as the text that became a record again.
    assert max(records for _, records in (*alone.values(), *spread.values())) <= 8
    assert max(reports for reports, _ in (*alone.values(), *spread.values())) <= 2


def test_who_asks_for_reports_still_gets_them(tmp_path: Path) -> None:
    ((reports, _),) = run(tmp_path, "-n", "0", "-rA").values()
    assert reports >= 12


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two runs, of 500 cells that mostly conform and of 100 of another machine that were mostly not run."""
    cells: list[list[Record]] = [
        [record(number, "conforms" if number % 25 else "violates") for number in range(500)],
        [record(number, "not_run" if number % 50 else "diverges") for number in range(100)],
    ]
    made = []
    for number, each in enumerate(cells):
        header = {"cells": len(each), "platform": {"system": f"S{number}"}}
        made.append(Run(path=f"{number}.jsonl", header=header, implementations=(), cells=tuple(each), footer=None))
    return made


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.report.condensed.WHOLE", 599)
    monkeypatch.setattr("conformance.report.condensed.SHOWN", 80)


@pytest.mark.parametrize("shown", [600, 80])
def test_a_page_of_a_file_on_disk_is_that_of_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: int
) -> None:
    monkeypatch.setattr("conformance.report.condensed.WHOLE", shown)
    monkeypatch.setattr("conformance.report.condensed.SHOWN", shown)
    path = file_of(tmp_path / "r.jsonl", 300, red_every=20)
    odd = [record(400 + number) for number in range(len(ODD))]
    for each, change in zip(odd, ODD, strict=True):
        each.update(change(each))
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps({"type": "cell", **each}) + "\n" for each in odd)
    page = render([opened(path, strict=False)])
    assert page == render([read(path, strict=False)])
    assert "step 3" in page, "details are read from the file"
    light = condensed([opened(path, strict=False)])[0].cells
    assert sum(isinstance(each, Left) for each in light) >= shown / 4, "what is held is less than the file"


#: What a cell that says it conforms may hold beside what most do.
ODD: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    lambda cell: {"checks": [*cell["checks"], {"check": "refusal", "outcome": "violates", "message": "no"}]},
    lambda cell: {"checks": [*cell["checks"], {"check": "refusal", "outcome": "unsupported", "reason": "cannot"}]},
    lambda cell: {"checks": [*cell["checks"], {"check": "refusal", "outcome": "unsupported", "message": ["a", 1]}]},
    lambda cell: {"checks": [*cell["checks"], {"check": "x", "outcome": "conforms", "divergence": {"where": "a:1"}}]},
    lambda cell: {"checks": [*cell["checks"], {"check": ["x"], "outcome": 7, "margin": "nan"}]},
    lambda cell: {"checks": [*cell["checks"], {"check": "output", "outcome": "conforms", "margin": "inf"}]},
    lambda cell: {"checks": [*cell["checks"], {"check": "y" * 1000, "outcome": "conforms", "facts": [1]}]},
    lambda _: {"checks": "none"},
    lambda _: {"crash": {"reason": "SIGSEGV", "stderr": "x"}},
    lambda _: {"divergence": {"where": "a:2", "why": "because"}},
    lambda _: {"covered": ["a"], "gone": [{"id": "a", "where": "a:3", "why": "because"}, 7]},
    lambda _: {"covered": "a", "gone": {"id": "a"}, "behaviours": 3},
    lambda _: {"question": ["float32"]},
    lambda _: {"question": {"dtype": "float16"}, "case": "case-1-with-a-name-as-long-as-they-are"},
    lambda _: {"why": "\ud800", "host": "another", "seconds": "long"},
    lambda _: {"row": None, "implementation": "z" * 400},
)


@pytest.mark.usefixtures("small_pages")
def test_a_page_of_too_many_cells_shows_those_in_need_and_counts_all(runs: list[Run]) -> None:
    shown = condensed(runs)
    kinds = [Counter(cell["outcome"] for cell in run.cells) for run in shown]
    assert [each["violates"] for each in kinds] == [20, 0], "all that are red"
    assert [each["diverges"] for each in kinds] == [0, 2]
    assert 80 <= sum(each.total() for each in kinds) <= 80 + 2 * len(PROCESSES)
    assert kinds[1]["not_run"] >= 50, "what says nothing of a cell comes before what is well"
    for run, here, whole in zip(shown, kinds, runs, strict=True):
        assert here + beside(run).total == Counter(cell["outcome"] for cell in whole.cells)


def test_a_condensed_page_says_so_and_has_the_numbers_of_the_whole_one(
    runs: list[Run], request: pytest.FixtureRequest
) -> None:
    whole = render(runs)
    request.getfixturevalue("small_pages")
    page = render(runs)
    assert "There are too many cells for one page" not in whole
    assert "There are too many cells for one page: of 600 it shows" in page
    assert "all 20 that violate" in page

    def numbers(text: str) -> list[str]:
        summary = text[text.index('<section class="view" id="overview"') : text.index('id="matrix"')]
        return [part.partition("<")[0] for part in itertools.islice(summary.split("<td"), 1, None) if ">" in part]

    assert numbers(whole) == numbers(page)
