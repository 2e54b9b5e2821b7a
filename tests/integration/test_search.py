"""A search finds planted faults, makes them small, prints them as rows, and saves them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from conformance.adapters.registry import select
from conformance.commands.cli import main
from conformance.commands.search.command import seconds_of
from conformance.commands.search.loop import SearchResult, search
from conformance.commands.search.strategies import MOST_ELEMENTS, Row, rows
from conformance.table.loader import read_rows
from conformance.table.yaml_document import read
from tests.support.runs import conformance

#: Wall time in which each planted fault must be found (seconds); on two idle cores it takes a few.
BUDGET = 60.0


def searched(name: str, database: Path | None = None, seed: int | None = 1) -> SearchResult:
    return search(
        select([f"tests.support.data_dependent_adapters:{name}"]), seconds=BUDGET, most=1, seed=seed, database=database
    )


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("OddFeatures", lambda row: row["input_shape"] == [3]),
        ("OnePosition", lambda row: _positions(row) in (7, 8)),  # 7 samples, or 2 of 4 positions
        ("Past512", lambda row: row["input_shape"][-1] == 513),
    ],
)
def test_planted_faults_are_found_and_made_small(name: str, smallest: Any) -> None:
    found = searched(name)
    assert len(found.finds) == 1, f"nothing was found in {found.row_count} rows"
    find = found.finds[0]
    assert smallest(find.row), find.row
    assert find.record.outcome == "violates"
    assert find.case.dtype == "float32"
    assert {layer.activation for layer in find.case.layers} == {"linear"}


def _positions(row: Row) -> int:
    shape = read_rows([{**row, "why": "."}], "search").cases[0].call_shape
    positions = 1
    for axis in shape[:-1]:
        positions *= axis
    return positions


def test_a_crash_is_found_and_does_not_end_the_search(tmp_path: Path) -> None:
    found = searched("AbortsOnFiveUnits", tmp_path)
    (find,) = found.finds
    assert find.record.outcome == "crashed"
    assert 5 in (layer.units for layer in find.case.layers)
    # The next search of the same implementation begins with it.
    again = searched("AbortsOnFiveUnits", tmp_path, seed=2)
    assert (again.row_count, again.passes) == (1, 0)
    assert [each.row for each in again.finds] == [find.row]


def test_a_right_implementation_has_no_finds() -> None:
    found = search(select(["tests.support.faulty_adapters:Exact"]), seconds=3, seed=3)
    assert found.finds == []
    assert found.row_count > 2  # on a busy machine; on two idle cores hundreds
    assert found.best


def test_a_find_is_a_row_and_a_script_that_reproduce_it(tmp_path: Path) -> None:
    given = [
        "-i",
        "tests.support.data_dependent_adapters:OddFeatures",
        "--budget",
        f"{BUDGET}s",
        "--most",
        "1",
        "--seed",
        "1",
    ]
    done = CliRunner().invoke(main, ["search", *given, "--database", str(tmp_path / "db"), "-o", str(tmp_path)])
    assert done.exit_code == 1, done.output
    assert "1 new" in done.output
    file = tmp_path / "search.yaml"
    # A blank why is refused, so that no row is taken without a reason.
    blank = CliRunner().invoke(main, ["lint", str(file)])
    assert blank.exit_code == 2
    assert "blank" in blank.output
    content: Any = read(file).data
    assert content["rows"][0]["input_shape"] == [3]
    file.write_text(file.read_text(encoding="utf-8").replace("why: ''", "why: One feature is left out."), "utf-8")
    assert CliRunner().invoke(main, ["lint", str(file)]).exit_code == 0
    done_run = conformance("run", file, "-i", given[1], "-n", "0", "-o", tmp_path / "o", cwd=tmp_path)
    assert done_run.returncode == 1, done_run.stdout
    # An implementation without a template of its own is shown by the command, which must be on the path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, str(next(tmp_path.glob("search-01-*.py")))]
    script = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path, "PYTHONPATH": "."}
    )
    assert "Traceback" not in script.stderr
    assert "violates" in script.stdout


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(rows())
def test_every_drawn_row_is_valid_and_small(row: Row) -> None:
    cases = read_rows([{**row, "why": "."}], "search").cases
    assert len(cases) == 1
    positions = 1
    for axis in cases[0].call_shape[:-1]:
        positions *= axis
    assert positions * cases[0].call_shape[-1] <= MOST_ELEMENTS


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("90", 90), ("10min", 600), ("1.5h", 5400), ("2m", 120)])
def test_a_budget_is_parsed(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("options", [["--budget", "soon"], ["--budget", "0s"], ["-i", "no-such-thing"]])
def test_an_invalid_option_is_one_line_of_error(options: list[str]) -> None:
    done = CliRunner().invoke(main, ["search", *options])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert "Traceback" not in done.output
