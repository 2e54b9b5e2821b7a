"""A row that an implementation cannot take is a cell with its reason, and a name of which nothing ran is red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.adapters.registry import Implementation, select
from conformance.checks.cell import Cell, is_named
from conformance.commands.badge import badges
from conformance.commands.cli import main
from conformance.results import CellRecord, Run, read
from conformance.results.diff.comparison import diff
from conformance.run.cell_runner import Runner
from conformance.run.expected_times import times_of_records
from conformance.run.selection import Selection
from conformance.run.summary import summarise
from conformance.run.tally import Tally
from conformance.table.case import Case, Layer
from tests.support.records import cell_record, run_of
from tests.support.runs import EXACT, cells, conformance, table

CASE = Case(input_shape=(3,), layers=(Layer(units=2, activation="gelu"),))
DENSE = "def dense(x, kernel, bias):\n    y = x @ kernel\n    return y if bias is None else y + bias\n"
LINEAR = {"input_shape": [4], "units": 3, "values": "exact"}
GELU = {"input_shape": [5], "units": 3, "activation": "gelu", "values": "uniform"}


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ({"activations": frozenset({"linear"})}, "it has no activation gelu"),
        ({"ranks": (2, 3)}, "it takes an input_shape of rank 2 or 3 alone"),
        ({"shapes_only": True}, "it infers shapes and computes no values: it takes rows with `values: shapes` alone"),
    ],
)
def test_a_missing_feature_is_an_unsupported_cell_and_starts_no_process(lacking: dict[str, Any], reason: str) -> None:
    unknown = Implementation(name="x", adapter="no.such.module:Adapter", packages=(), **lacking)
    assert is_named(CASE, unknown)
    (cell,) = Selection().cells([CASE], [unknown], {"x": ("cpu",)})
    runner = Runner()
    record = runner.run(cell)
    assert (record.outcome, record.reason, runner.hellos) == ("unsupported", reason, {})
    assert Selection().cells([replace(CASE, implementations=("torch",))], [unknown], {"x": ("cpu",)}) == ()


def summary(*records: CellRecord, **more: Any) -> list[str]:
    return [line for line, _ in summarise(Tally(records), results=None, **more)]


def record(outcome: str, name: str = "torch", case: str = "c", **more: Any) -> CellRecord:
    checks = [] if outcome == "unsupported" else [{"check": "output", "outcome": outcome}]
    named = {"case": case, "implementation": name, "device": "cpu", "outcome": outcome, "checks": checks}
    return cell_record({**named, "seconds": 0.5, "row": "r.yaml:2", "question": {}, **more})


def test_the_summary_counts_unsupported_cells_of_an_implementation_in_one_line() -> None:
    gelu = [record("unsupported", "mine", f"g{each}", reason="it has no activation gelu") for each in range(3)]
    text = summary(record("conforms"), *gelu, record("unsupported", "mine", "s", reason="it has no activation silu"))
    assert "unsupported: 4 cells of mine: it has no activation gelu; and 1 other reason" in text
    assert [line.split() for line in text if line.startswith("cpu/mine")] == [["cpu/mine", ".", "4", "4"]]


def test_the_summary_has_the_reason_why_no_cell_ran() -> None:
    nothing = summary(record("unsupported", reason="it has no activation gelu"))
    assert "no cell ran: unsupported: 1 cell of torch: it has no activation gelu" in nothing
    assert "no cell ran: mine: why" in summary(idle={"mine": "why"})
    assert "no cell ran of mine: why" in summary(record("conforms"), idle={"mine": "why"})
    assert not any(line.startswith("no cell ran") for line in summary(record("conforms")))


def whole_run(*records: CellRecord) -> Run:
    return run_of(records, {"cells": len(records)}, {"complete": True})


def changes(old: Sequence[CellRecord], new: Sequence[CellRecord]) -> dict[str, int]:
    found = diff(whole_run(record("conforms", "numpy"), *old), whole_run(record("conforms", "numpy"), *new))
    lists = {name: len(found.section(name)) for name in ("worse", "lost", "appeared", "vanished", "other")}
    return {name: count for name, count in lists.items() if count} | {"is_worse": found.is_worse}


def test_an_unsupported_cell_that_was_absent_is_no_change_and_one_that_conformed_is_worse() -> None:
    unsupported = [record("unsupported")]
    assert changes([], unsupported) == changes(unsupported, []) == {"is_worse": False}
    assert changes([record("conforms")], unsupported) == {"worse": 1, "is_worse": True}
    assert changes([record("conforms")], []) == {"lost": 1, "is_worse": True}
    assert changes(unsupported, [record("conforms")]) == {"other": 1, "is_worse": False}


def test_unsupported_cells_have_no_time_and_leave_a_badge_green() -> None:
    slow = [record("conforms", case=f"c{each}", start=0.0) for each in range(3)]
    unasked = [record("unsupported", case=f"u{each}", seconds=0.0) for each in range(9)]
    assert times_of_records([*slow, *unasked]) == times_of_records(slow)
    (badge,) = badges(whole_run(*slow, *unasked)).values()
    assert (badge["message"], badge["color"]) == ("3 conform, 9 unsupported", "brightgreen")


def test_shards_have_each_unsupported_cell_once_at_no_cost() -> None:
    linear = [replace(CASE, input_shape=(each,), layers=(Layer(units=2),), lane="exact") for each in range(2, 8)]
    gelu = [replace(CASE, input_shape=(each,)) for each in range(2, 40)]
    (exact,) = select([EXACT])
    lacking = replace(exact, activations=frozenset({"linear"}))
    devices = {EXACT: ("cpu",)}
    found = [Selection(shard=(each, 2)).cells([*linear, *gelu], [lacking], devices) for each in (1, 2)]
    assert sorted(cell.id for part in found for cell in part) == sorted(
        cell.id for cell in Selection().cells([*linear, *gelu], [lacking], devices)
    )
    assert [sum(cell.unsupported is None for cell in part) for part in found] == [3, 3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fn.py").write_text(DENSE, encoding="utf-8")
    (tmp_path / "both.yaml").write_text(table(LINEAR, GELU), encoding="utf-8")
    (tmp_path / "gelu.yaml").write_text(table(GELU), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_writes_counts_and_shows_them(folder: Path, workers: str) -> None:
    done = conformance("run", "both.yaml", "-i", "fn:dense", "-n", workers, "-o", "out", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["case"]: (each["outcome"], each.get("reason")) for each in cells(folder / "out" / "results.jsonl")}
    assert found["5-3-gelu-uniform"] == ("unsupported", "it has no activation gelu")
    counts = read(folder / "out" / "results.jsonl").counts
    assert counts["unsupported"] == 1
    assert counts["conforms"] == len(found) - 1 > 0
    assert "unsupported: 1 cell of fn:dense: it has no activation gelu" in done.stdout
    assert "it has no activation gelu" in (folder / "out" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("gelu.yaml", "-i", "fn:dense"), 3, "no cell ran: fn:dense: it has no activation gelu"),
        (("gelu.yaml", "-i", "fn:dense", "-i", EXACT), 1, "no cell ran of fn:dense: it has no"),
        (("gelu.yaml", "-i", "fn:dens*", "-i", EXACT), 2, "fn:dens*"),
        (("gelu.yaml", "-i", "keras-tensorflow:decorated"), 3, "it runs only rows that name it"),
        (("other.yaml", "-i", EXACT, "-i", "numpy"), 1, "no cell ran of numpy: no selected row applies to it"),
        (("other.yaml", "-i", "numpy"), 3, "no cell ran: numpy: no selected row applies to it"),
        (("misspelt.yaml", "-i", EXACT), 3, "misspelt.yaml:1: no implementation is named 'keras-tensorlow'; did you"),
    ],
)
def test_a_name_of_which_nothing_ran_is_red(folder: Path, options: tuple[str, ...], code: int, text: str) -> None:
    (folder / "other.yaml").write_text(table(LINEAR | {"implementations": [EXACT]}), encoding="utf-8")
    (folder / "misspelt.yaml").write_text(table(LINEAR | {"implementations": ["keras-tensorlow"]}), encoding="utf-8")
    done = conformance("run", *options, "-n", "0", "-o", "out", cwd=folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_shard_without_cells_of_a_name_is_green(folder: Path) -> None:
    codes, asked = [], set()
    for part in ("1/2", "2/2"):
        options = ("-i", EXACT, "-i", "numpy", "--shard", part, "-n", "0", "-o", part[0])
        done = conformance("run", "both.yaml", *options, cwd=folder)
        codes.append(done.returncode)
        asked.add(frozenset(each["implementation"] for each in cells(folder / part[0] / "results.jsonl")))
    assert codes == [0, 0]
    assert frozenset({EXACT, "numpy"}) not in asked, "each shard has cells of one of them alone"


def test_an_estimate_counts_unsupported_cells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, ["run", "both.yaml", "--collect-only", "-i", "numpy", "-i", "torch:meta"])
    assert done.exit_code == 0, done.output
    lines = {line.split()[0]: line for line in done.output.splitlines()}
    assert lines["cpu/numpy"].endswith(", 1 unsupported")
    assert lines["cpu/torch:meta"].endswith("  unsupported")


def test_a_cell_has_the_reason_why_it_is_unsupported() -> None:
    (numpy,) = select(["numpy"])
    assert Cell(case=CASE, implementation=numpy, device="cpu").unsupported == "it has no activation gelu"
