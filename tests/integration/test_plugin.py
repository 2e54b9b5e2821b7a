"""The suite behaves as a user of pytest expects, and its results file tells what ran; all of it in real runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command_process import run_module
from tests.support.paths import ROOT
from tests.support.runs import environment

ROW = """\
rows:
  - {input_shape: [4], units: 3}
  - {input_shape: [2, 3], units: 5}
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.yaml"
    path.write_text(ROW, encoding="utf-8")
    return path


def run(*options: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run pytest on the suite alone, in a process of its own and free of this run's xdist."""
    words = ("tests/test_dense.py", "-p", "no:cacheprovider", *map(str, options))
    return run_module("pytest", *words, cwd=cwd, environment=environment())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


EXACT = "--implementation=tests.support.faulty_adapters:Exact"


def test_a_results_file_has_header_implementation_cells_and_footer(tmp_path: Path, rows: Path) -> None:
    done = run(EXACT, f"--cases={rows}", f"--results={tmp_path / 'r.jsonl'}")
    assert done.returncode == 0, done.stdout
    header, implementation, *cells, footer = lines(tmp_path / "r.jsonl")
    assert header["cells"] == len(cells) == 4
    assert implementation["versions"]["numpy"]
    assert footer["complete"] is True
    assert sum(footer["counts"].values()) == 4
    assert {cell["case"] for cell in cells} == {"4-3-exact", "4-3-uniform", "2x3-5-exact", "2x3-5-uniform"}
    assert all(cell["checks"] for cell in cells)
    assert cells[0]["row"] == f"{rows}:2"


def test_two_workers_write_the_same_cells_as_none(tmp_path: Path, rows: Path) -> None:
    found = []
    for name, options in (("one", ()), ("two", ("-n", "2"))):
        run(EXACT, f"--cases={rows}", f"--results={tmp_path / name}", *options)
        cells = [each for each in lines(tmp_path / name) if each["type"] == "cell"]
        found.append(sorted((c["case"], c["outcome"], str([k.get("margin") for k in c["checks"]])) for c in cells))
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_k_selects_by_implementation_and_case(rows: Path) -> None:
    done = run(
        EXACT,
        "--implementation=tests.support.faulty_adapters:DropsBias",
        f"--cases={rows}",
        "-k",
        "/tests.support.faulty_adapters:Exact/ and 2x3",
        "-q",
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed, 6 deselected" in done.stdout


def test_collect_only_names_the_cells(rows: Path) -> None:
    done = run(EXACT, f"--cases={rows}", "--collect-only", "-q")
    assert (
        "tests/test_dense.py::test_dense[cpu/tests.support.faulty_adapters:Exact/4-3-exact]" in done.stdout.splitlines()
    )


def test_with_x_the_run_stops_and_the_file_has_the_cells_that_did_not_run(tmp_path: Path, rows: Path) -> None:
    done = run(
        "--implementation=tests.support.faulty_adapters:DropsBias",
        f"--cases={rows}",
        "-x",
        f"--results={tmp_path / 'r.jsonl'}",
    )
    assert done.returncode == 1
    *_, footer = lines(tmp_path / "r.jsonl")
    assert footer["complete"] is False
    assert footer["counts"]["violates"] == 1
    assert footer["counts"]["not_run"] == 3


def test_a_failure_has_values_place_and_next_command(rows: Path) -> None:
    done = run("--implementation=tests.support.faulty_adapters:DropsBias", f"--cases={rows}", "-k", "4-3-exact")
    assert "output violates: output[0, " in done.stdout
    assert "expected" in done.stdout
    assert "Traceback" not in done.stdout
    (alone,) = re.findall("; run it alone: (pytest .*)", done.stdout)
    words = [*shlex.split(alone), "-p", "no:cacheprovider", "-q"]
    again = run_module(*words, cwd=ROOT, environment=environment())
    assert "\n1 failed" in again.stdout, again.stdout


def test_last_failed_runs_the_failed_cells(tmp_path: Path, rows: Path) -> None:
    options = [
        "--implementation=tests.support.faulty_adapters:WrongCount",
        EXACT,
        f"--cases={rows}",
        "-p",
        "cacheprovider",
    ]
    words = ["tests/test_dense.py", *options, "-o", f"cache_dir={tmp_path / 'cache'}", "--lf"]
    for expected in ("4 failed, 4 passed", "4 failed, 4 deselected"):
        done = run_module("pytest", *words, cwd=ROOT, environment=environment())
        assert expected in done.stdout, done.stdout


def test_a_run_in_which_everything_was_skipped_fails(tmp_path: Path, rows: Path) -> None:
    """A framework that is not installed is not run, and never green."""
    table = tmp_path / "absent.yaml"
    table.write_text(ROW, encoding="utf-8")
    code = (
        "import sys, importlib.util as u, pytest; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "sys.exit(pytest.main(['tests/test_dense.py', '-p', 'no:cacheprovider', '--implementation=torc*',"
        f" '--cases={table}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stdout
    assert "not run: 4 cells of torch: not installed: torch" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--implementation=torhc",), "did you mean 'torch'"),
        (("--implementation=no_such_module:Class",), "not installed: no_such_module"),
        ((EXACT, "--device=gpu"), "no GPU is visible to tests.support.faulty_adapters:Exact"),
        ((EXACT, "--shard=3/2"), "within 1 to N"),
        ((EXACT, "--shard=1"), "expected I/N"),
        ((EXACT, "--draws=0"), "at least 1"),
        ((EXACT, "--threads=0"), "at least 1"),
        ((EXACT, "-n", "2", "--times=/dev/null"), "--times /dev/null:1: not a results file"),
        ((EXACT, "--cases=no/such/file.yaml"), "no/such/file.yaml"),
        ((EXACT, "--results=/dev/null/x/r.jsonl"), "/dev/null/x/r.jsonl"),
        (("--in-process",), "runs one implementation"),
        ((EXACT, "--in-process", "-n", "2"), "exclude one another"),
    ],
)
def test_a_command_at_fault_is_one_plain_error(options: tuple[str, ...], message: str) -> None:
    done = run(*options)
    assert done.returncode == 4, done.stdout + done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_in_process_gives_the_same_verdicts(rows: Path) -> None:
    assert run(EXACT, f"--cases={rows}", "--in-process").returncode == 0
    assert (
        run("--implementation=tests.support.faulty_adapters:DropsBias", f"--cases={rows}", "--in-process").returncode
        == 1
    )


KNOWN = """\
rows:
  - {input_shape: [16], units: 8, batch: 4, input_dtype: bool, implementations: [torch]}
"""


def test_without_the_ledger_known_divergences_are_red(tmp_path: Path) -> None:
    """A row of the table on a real framework: a dtype that is refused."""
    table = tmp_path / "known.yaml"
    table.write_text(KNOWN, encoding="utf-8")
    path = tmp_path / "results.jsonl"
    assert run("--implementation=torch", f"--cases={table}", f"--results={path}", "--no-ledger").returncode == 1
    found = [(each["case"], each["outcome"]) for each in lines(path) if each["type"] == "cell"]
    assert found == [("16-8-frombool-batch4-exact", "violates")]


LEDGER = """\
divergences:
  - id: loses
    implementations: ["tests.support.faulty_adapters:*"]
    instead: {loses_bias: true}
    kind: bug
    why: The bias is lost.
    evidence: A test.
    seen_with: {numpy: "0.1"}
"""


def with_ledger(folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the suite with the ledger in a folder in place of its own."""
    code = (
        "import sys, pathlib, pytest, conformance.run.selection as selection\n"
        f"selection.default_cases = lambda: pathlib.Path({str(folder / 'known')!r})\n"
        "sys.exit(pytest.main(['tests/test_dense.py', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
    )
    (folder / "known").mkdir(exist_ok=True)
    (folder / "known" / "ledger.yaml").write_text(LEDGER, encoding="utf-8")
    command = [sys.executable, "-c", code, *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_gone_behaviour_is_reported_and_fails_only_a_strict_run(tmp_path: Path, rows: Path) -> None:
    results = tmp_path / "r.jsonl"
    gone = (
        f"gone: 1 known behaviour is gone with numpy {np.__version__}: loses ({tmp_path / 'known' / 'ledger.yaml'}:2)"
    )
    for options, code in (((), 0), (("--strict-ledger",), 1), (("--strict-ledger", "-n", "2"), 1)):
        done = with_ledger(tmp_path, EXACT, f"--cases={rows}", f"--results={results}", *options)
        assert done.returncode == code, done.stdout
        assert gone in done.stdout
        *_, footer = lines(results)
        assert footer["behaviours"] == {"loses": {"cells": 4, "seen": 0, "gone": 4}}
        assert footer["counts"]["conforms"] == 4


def test_declared_divergences_pass_a_strict_run(tmp_path: Path, rows: Path) -> None:
    drops = "--implementation=tests.support.faulty_adapters:DropsBias"
    results = tmp_path / "r.jsonl"
    done = with_ledger(tmp_path, drops, f"--cases={rows}", f"--results={results}", "--strict-ledger")
    assert done.returncode == 0, done.stdout
    assert "4 xfailed" in done.stdout
    assert not any(each.startswith(("gone: ", "new: ")) for each in done.stdout.splitlines())
    *_, footer = lines(results)
    assert footer["behaviours"] == {"loses": {"cells": 4, "seen": 4, "gone": 0}}
    # What is red is red, whether or not anything is gone.
    both = with_ledger(tmp_path, "--implementation=tests.support.faulty_adapters:AddsBiasTwice", f"--cases={rows}")
    assert both.returncode == 1
    assert "declared for this cell, but not what was seen: loses" in both.stdout


def test_shards_are_disjoint_and_complete(rows: Path) -> None:
    found = [run(EXACT, f"--shard={part}/3", "--collect-only", "-q").stdout.split() for part in (1, 2, 3)]
    cells = [[each for each in part if "test_dense[" in each] for part in found]
    whole = [each for each in run(EXACT, "--collect-only", "-q").stdout.split() if "test_dense[" in each]
    assert sorted(each for part in cells for each in part) == sorted(whole)
    assert all(len(part) > len(whole) / 6 for part in cells)


def test_more_draws_repeat_questions_with_other_values(tmp_path: Path, rows: Path) -> None:
    assert run(EXACT, f"--cases={rows}", "--draws=3").returncode == 0


def test_ctrl_c_ends_the_run_and_its_children_and_the_results_stay(tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    command = [sys.executable, "-m", "pytest", "tests/test_dense.py", "-p", "no:cacheprovider", f"--results={results}"]
    process = subprocess.Popen(
        [*command, "--implementation=tests.support.faulty_adapters:Hangs"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not (results.exists() and results.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2, output
    *_, footer = lines(results)
    assert (footer["type"], footer["complete"]) == ("footer", False)


def test_a_table_at_fault_stops_no_test_that_is_not_generated_from_it(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text("rows: [{inputs: [3]}]\n", encoding="utf-8")
    words = ["-q", "-p", "no:cacheprovider", "-n0", f"--cases={tmp_path / 'rows.yaml'}"]
    for file, code in (("tests/unit/table/test_rule.py", 0), ("tests/test_dense.py", 4)):
        done = run_module("pytest", *words, file, cwd=ROOT, environment=environment())
        assert done.returncode == code, done.stdout + done.stderr
        assert ("rows.yaml:1:9: unknown field" in done.stderr) == (code == 4), done.stderr


def test_a_file_that_hides_that_it_has_the_test_of_a_cell_is_an_error_and_not_green(tmp_path: Path) -> None:
    hidden = "import conformance.run.runner\ntest_dense = conformance.run.runner.test_dense\n"
    (tmp_path / "test_hidden.py").write_text(hidden, encoding="utf-8")
    words = ["-q", "-p", "conformance.run.plugin", "-n0", str(tmp_path / "test_hidden.py")]
    done = run_module("pytest", *words, cwd=ROOT, environment=environment())
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no file of the pytest command reads the table" in done.stdout
