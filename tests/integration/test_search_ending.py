"""A search that is interrupted, has little time, runs in CI or cannot write loses no find."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import settings
from msgspec import structs

from conformance.commands.cli import main
from conformance.commands.search import loop as of_search
from conformance.commands.search.loop import Search, SearchResult
from conformance.commands.search.oracle import Answers, Oracle
from conformance.commands.search.output import document, lines, write
from conformance.commands.search.strategies import Row
from conformance.results import CellRecord
from conformance.table.case import Case
from conformance.table.loader import load, read_rows
from tests.support.records import cell_record

WRONG = {"check": "output", "outcome": "violates", "margin": 7.0, "message": "output[0, 0] is off"}


class Answering:
    """Answers rows without a process. Rows for which `is_red` is true fail on the implementations `one` and `other`."""

    def __init__(self, is_red: Callable[[Row], bool], *, breaks_off_after: int = 10**9) -> None:
        self.asked: list[Row] = []
        self.outcome_alone = "violates"
        self._is_red = is_red
        self._breaks_off_after = breaks_off_after

    def answers(self, row: Row) -> Answers:
        if len(self.asked) == self._breaks_off_after:
            raise KeyboardInterrupt
        self.asked.append(row)
        case = read_rows([{"why": ".", **row}], "search").cases[0]
        near = {
            "check": "output",
            "outcome": "conforms",
            "facts": {"margins": {"output": row["input_shape"][-1] / 2e3}},
        }
        red = self._is_red(row)
        found = {"outcome": "violates" if red else "conforms", "checks": [WRONG if red else near]}
        records = {name: cell_record({"implementation": name, **found}) for name in ("one", "other")}
        return Answers(case=case, records=records, disagreement=0.0)

    def run_isolated(self, case: Case, name: str) -> CellRecord:
        return cell_record({"implementation": name, "outcome": self.outcome_alone})

    def preceding_rows(self, name: str) -> tuple[Row, ...]:
        return tuple({json.dumps(row): row for row in self.asked}.values())


def searched(
    answering: Answering, folder: Path | None, *, seconds: float = 60.0, seed: int | None = None
) -> SearchResult:
    run = Search(cast(Oracle, answering), seconds=seconds, folder=folder, report_progress=None)
    return run.run(seed, None)


def never(row: Row) -> bool:
    return False


def always(row: Row) -> bool:
    return True


@pytest.fixture
def where_ci_is_set() -> Iterator[None]:
    """Configure Hypothesis as in CI, where it draws the same rows each time."""
    before = settings.default
    settings.register_profile("as in CI", derandomize=True, database=None)
    settings.load_profile("as in CI")
    yield
    settings.register_profile("before", before)
    settings.load_profile("before")


@pytest.mark.usefixtures("where_ci_is_set")
def test_passes_run_different_rows_where_ci_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_search, "ROWS_OF_A_PASS", 20)
    answering = Answering(never, breaks_off_after=60)
    assert searched(answering, None).passes >= 3
    distinct = {json.dumps(row, sort_keys=True) for row in answering.asked}
    # The plainest row begins each pass, and what was asked before is remembered.
    assert len(distinct) == len(answering.asked) == 60


def test_the_next_search_begins_with_the_rows_nearest_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_search, "ROWS_OF_A_PASS", 60)
    first = searched(Answering(never, breaks_off_after=50), tmp_path, seed=1)
    again = searched(Answering(never, breaks_off_after=1), tmp_path, seed=2)
    assert first.best["one", "output"][0] > 0.1
    assert again.best == first.best


def test_ctrl_c_while_a_row_is_made_smaller_loses_no_find(tmp_path: Path) -> None:
    answering = Answering(lambda row: row["input_shape"][-1] > 4, breaks_off_after=40)
    found = searched(answering, tmp_path)
    assert found.interrupted
    assert found.finds
    assert all(each.row["input_shape"][-1] > 4 for each in found.finds)
    assert "interrupted" in list(lines(found))[-1]
    assert all(each.row in _stored(tmp_path) for each in found.finds)


def test_saved_finds_that_did_not_run_again_stay_saved(tmp_path: Path) -> None:
    rows: list[Row] = [{"input_shape": [each], "units": 1, "values": "uniform"} for each in (3, 5, 7)]
    (tmp_path / "finds.json").write_text(json.dumps(rows), encoding="utf-8")
    searched(Answering(lambda row: row["input_shape"] != [3], breaks_off_after=2), tmp_path)
    assert _stored(tmp_path) == rows[1:]  # the first is right by now, the third was not asked
    searched(Answering(always), tmp_path, seconds=0.0)
    assert _stored(tmp_path) == rows[1:]


def _stored(folder: Path) -> list[Row]:
    return cast(list[Row], json.loads((folder / "finds.json").read_text(encoding="utf-8")))


def test_a_full_disk_loses_no_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Search) -> None:
        if self._result.row_count:
            raise OSError(28, "No space left on device", "finds.json")

    monkeypatch.setattr(Search, "_save", full)
    found = searched(Answering(always, breaks_off_after=30), tmp_path)
    assert found.finds
    assert "the finds are not saved for the next search: finds.json: No space left on device" in lines(found)


def test_a_database_that_cannot_be_written_is_an_error_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = [
        "search",
        "-i",
        "tests.support.faulty_adapters:Exact",
        "--budget",
        "1h",
        "--database",
        str(tmp_path / "file" / "db"),
    ]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert len(done.output.strip().splitlines()) == 1


def test_two_implementations_that_are_wrong_on_one_row_are_one_row_of_the_file(tmp_path: Path) -> None:
    answering = Answering(always, breaks_off_after=1)
    finds = searched(answering, None, seconds=60.0).finds
    other = _of_the_other(finds[0])
    (row,) = yaml.safe_load(document([finds[0], other]))["rows"]
    assert row["implementations"] == ["one", "other"]
    file = tmp_path / "search.yaml"
    file.write_text(document([finds[0], other]).replace("why: ''", "why: Both are off."), encoding="utf-8")
    done = CliRunner().invoke(main, ["lint", str(file)])
    assert "asks the same question" not in done.output


def test_files_of_an_earlier_search_stay(tmp_path: Path) -> None:
    found = searched(Answering(always, breaks_off_after=1), None, seconds=60.0)
    names = [[path.name for path in write(found, tmp_path)] for _ in range(3)]
    assert [each[0] for each in names] == ["search.yaml", "search-2.yaml", "search-3.yaml"]
    assert len({name for each in names for name in each}) == len(list(tmp_path.iterdir()))


def test_a_find_that_depends_on_preceding_rows_comes_with_them(tmp_path: Path) -> None:
    answering = Answering(lambda row: row["units"] != 3, breaks_off_after=40)
    assert not any("play a part" in each for each in lines(searched(answering, None)))
    answering = Answering(lambda row: row["units"] != 3, breaks_off_after=40)
    answering.outcome_alone = "conforms"
    found = searched(answering, None)
    assert any("in a new process: conforms; the rows that ran before it play a part" in each for each in lines(found))
    write(found, tmp_path)
    cases = load([tmp_path / "search-01-before.yaml"]).cases
    assert cases[-1].id == found.finds[0].case.id
    assert len(cases) == len(found.finds[0].preceding_rows) > 1


def _of_the_other(find: of_search.Find) -> of_search.Find:
    return of_search.Find(
        row=find.row, case=find.case, record=structs.replace(find.record, implementation="other"), sign=find.sign
    )


def test_a_search_without_hypothesis_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["search", "-i", "numpy"])
    assert done.exit_code == 2
    assert done.output == "error: a search needs Hypothesis: pip install 'dense-conformance[search]'\n"


class Unable(Answering):
    """Runs no row."""

    def answers(self, row: Row) -> Answers:
        answers = super().answers(row)
        records = {name: structs.replace(record, outcome="not_run") for name, record in answers.records.items()}
        return Answers(case=answers.case, records=records, disagreement=0.0)


def test_a_search_in_which_no_row_ran_is_not_green(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_search, "ROWS_OF_A_PASS", 5)
    found = searched(Unable(never), None, seconds=0.5)
    assert (found.row_count, found.interrupted) == (0, False)
    monkeypatch.setattr("conformance.commands.search.loop.search", lambda *_, **__: found)
    done = CliRunner().invoke(main, ["search", "-i", "numpy"])
    assert done.exit_code == 2
    assert re.fullmatch(r"error: no row ran on numpy within \d+ s: give a longer --budget\n", done.output)


def test_a_find_is_saved_at_the_end_of_its_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_search, "ROWS_OF_A_PASS", 20)
    kept: list[int] = []

    def red(row: Row) -> bool:
        kept.append(len(_stored(tmp_path)))
        return row["input_shape"][-1] > 4

    searched(Answering(red, breaks_off_after=150), tmp_path)
    assert kept[0] == 0
    assert kept[-1] > 0


def test_a_search_prints_its_progress_before_the_first_answer(tmp_path: Path) -> None:
    given = [
        "search",
        "-i",
        "tests.support.faulty_adapters:Exact",
        "--budget",
        "1s",
        "--database",
        str(tmp_path / "db"),
    ]
    done = CliRunner().invoke(main, [*given, "-o", str(tmp_path / "out")])
    assert done.output.startswith("0 rows, 0 new, 0 declared, 1 s left\n"), done.output
