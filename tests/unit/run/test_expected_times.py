"""What is expected of cells: told by a run, kept with few changes, and the same for everybody who has the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conformance.adapters.registry import registered
from conformance.results import CellRecord
from conformance.run.cell_runner import Runner
from conformance.run.expected_times import (
    FILE,
    USUAL_CELL,
    USUAL_START,
    Expected,
    Times,
    as_text,
    packaged_times,
    times_of_records,
    with_new_times,
)
from conformance.run.selection import Selection, SelectionError
from tests.support.records import cell_record, written
from tests.support.runs import EXACT, table


def cell(case: str, seconds: float, **more: Any) -> CellRecord:
    return cell_record(
        {"case": case, "checks": [{"check": "output", "outcome": "conforms"}], "seconds": seconds, **more}
    )


USUAL = [cell(f"case{number}", 0.05 + number / 10_000) for number in range(20)]


def test_the_times_of_a_run_are_starts_usual_cells_and_unusual_cells() -> None:
    found = times_of_records([cell("first", 3.05, start=3.0), *USUAL, cell("large", 2.5), cell("hardly", 0.09)])
    assert found.start("torch") == 3.0
    assert found.cell("torch", "case3") == found.cell("torch", "unheard of") == pytest.approx(0.05, rel=0.1)
    assert found.implementations["torch"].cells == {"large": 2.5}
    assert (found.start("another"), found.cell("another", "case3")) == (USUAL_START, USUAL_CELL)


def test_in_a_file_without_starts_the_first_cell_started_the_process() -> None:
    found = times_of_records([cell("first", 4.05), *USUAL])
    assert found.start("torch") == 4.0
    assert found.implementations["torch"].cells == {}


def test_the_start_of_a_rows_own_process_counts_as_time_of_its_cell() -> None:
    alone = cell("alone", 5.0, start=4.9, question={"environment": {"SWITCH": "1"}})
    found = times_of_records([cell("first", 2.05, start=2.0), *USUAL, alone])
    assert (found.start("torch"), found.cell("torch", "alone")) == (2.0, 5.0)


def test_a_cell_that_did_not_run_has_no_time() -> None:
    assert times_of_records([cell("case", 0.0, outcome="not_run")]).implementations == {}


def test_a_time_changes_only_where_it_is_clearly_another() -> None:
    old = Times({"torch": Expected(start=3.0, cell=0.05, cells={"large": 2.5, "gone": 1.0}), "mine": Expected()})
    new = Times({"torch": Expected(start=3.9, cell=0.2, cells={"large": 2.0, "slow": 1.0})})
    kept = with_new_times(old, new)
    assert kept.implementations["torch"] == Expected(start=3.0, cell=0.2, cells={"large": 2.5, "slow": 1.0})
    assert kept.implementations["mine"] == Expected()


def test_the_package_has_times_of_the_default_implementations() -> None:
    asked = {name for name, each in registered().items() if each.participation.tier == "full"}
    assert asked <= set(packaged_times().implementations)
    assert FILE.read_text(encoding="utf-8") == as_text(packaged_times())
    assert json.loads(as_text(packaged_times()))["implementations"]["torch"]["start"] > 0.1


def test_times_of_another_run_are_taken_and_a_file_that_is_none_is_a_fault(tmp_path: Path) -> None:
    path = written(tmp_path / "r.jsonl", USUAL)
    times = Selection(times=str(path)).expected_times()
    assert times.cell("torch", "any") == pytest.approx(0.051, abs=0.001)
    path.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(SelectionError, match=r"^--times .*r\.jsonl:1: "):
        Selection(times=str(path)).expected_times()


def test_a_record_has_the_time_of_the_start_of_its_process(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(table({"input_shape": [4], "units": 3}), encoding="utf-8")
    selection = Selection(cases=(str(tmp_path / "rows.yaml"),), implementations=(EXACT,))
    chosen = selection.chosen()
    runner = Runner()
    try:
        first, second = (
            runner.run(each) for each in selection.cells(selection.table(), chosen, selection.devices(chosen))
        )
    finally:
        runner.close()
    assert first.start is not None
    assert 0.0 < first.start <= first.seconds
    assert second.start is None
