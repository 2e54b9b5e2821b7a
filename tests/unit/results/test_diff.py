"""Two runs compared: every change of a cell, and which of them make a run worse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.results import Run, plain, read
from conformance.results.diff.comparison import SECTIONS, Diff, diff
from conformance.results.diff.text import as_json, as_markdown, as_text
from conformance.results.record import HeaderRecord
from tests.support import records


def cell(case: str, outcome: str = "conforms", implementation: str = "torch", **check: Any) -> dict[str, Any]:
    checks = [{"check": "output", "outcome": outcome, **check}]
    return {"case": case, "implementation": implementation, "device": "cpu", "outcome": outcome, "checks": checks}


def written(path: Path, *cells: dict[str, Any], version: str = "2.13.0", complete: bool = True) -> Path:
    said = {"implementation": "torch", "versions": {"torch": version}}
    return records.written(path, cells, implementations=[said], complete=True if complete else None)


@pytest.fixture
def old(tmp_path: Path) -> Run:
    return read(
        written(
            tmp_path / "old.jsonl",
            cell("same", margin=0.5),
            cell("broken"),
            cell("mended", "violates"),
            cell("learnt", "violates"),
            cell("known"),
            cell("forgotten", "diverges"),
            cell("drifting", margin=0.2),
            cell("shy"),
            cell("gone"),
            cell("lost"),
            cell("lost", implementation="jax"),
            cell("dying", "violates"),
        )
    )


@pytest.fixture
def new(tmp_path: Path) -> Run:
    return read(
        written(
            tmp_path / "new.jsonl",
            cell("same", margin=0.5),
            cell("broken", "violates", message="output[0] = `1`, expected 2\nmore"),
            cell("mended"),
            cell("learnt", "diverges"),
            cell("known", "diverges"),
            cell("forgotten"),
            cell("drifting", margin=0.4),
            cell("shy", "not_run"),
            cell("come"),
            cell("lost", implementation="jax"),
            cell("dying", "crashed"),
            version="2.14.0",
        )
    )


def cases(found: Diff) -> dict[str, list[str]]:
    return {name: [each.case for each in found.section(name)] for name in SECTIONS}


def test_every_cell_is_in_its_section(old: Run, new: Run) -> None:
    found = diff(old, new)
    assert cases(found) == {
        "worse": ["broken", "dying", "shy"],
        "lost": ["lost"],
        "unchecked": [],
        "fixed": ["learnt", "mended"],
        "newly_diverging": ["known"],
        "no_longer_diverging": ["forgotten"],
        "drifted": ["drifting"],
        "other": [],
        "appeared": ["come"],
        "vanished": ["gone"],
    }
    assert found.versions == (("torch", "torch", "2.13.0", "2.14.0"),)
    assert found.is_worse


def test_a_run_compared_with_itself_has_no_changes(old: Run) -> None:
    found = diff(old, old)
    assert found == Diff()
    assert not found.is_worse
    assert as_text(found) == "Nothing changed."


@pytest.mark.parametrize(
    ("before", "after", "drifts"),
    [
        (0.2, 0.31, True),
        (0.31, 0.2, True),
        (0.2, 0.29, False),
        (0.01, 0.09, False),
        (0.0, 0.2, True),
        (0.9, 1.0, False),
    ],
)
def test_a_margin_drifts_beyond_a_factor_and_a_least_margin(
    tmp_path: Path, before: float, after: float, drifts: bool
) -> None:
    runs = [read(written(tmp_path / f"{margin}.jsonl", cell("a", margin=margin))) for margin in (before, after)]
    assert bool(diff(*runs).section("drifted")) is drifts


@pytest.mark.parametrize("outcome", ["violates", "crashed", "timed_out"])
def test_a_cell_that_appears_red_is_worse(tmp_path: Path, outcome: str) -> None:
    runs = read(written(tmp_path / "a.jsonl")), read(written(tmp_path / "b.jsonl", cell("a", outcome)))
    assert diff(*runs).is_worse
    assert not diff(runs[1], runs[0]).is_worse


def test_a_run_that_was_broken_off_is_worse(tmp_path: Path, old: Run) -> None:
    broken = read(written(tmp_path / "cut.jsonl", *map(plain, old.cells), complete=False))
    assert diff(old, broken).is_worse
    assert "broken off" in as_text(diff(old, broken))


def test_text_and_markdown_name_the_cell_and_the_reason(old: Run, new: Run) -> None:
    found = diff(old, new)
    assert "  cpu/torch/broken: conforms -> violates: output[0] = `1`, expected 2" in as_text(found)
    assert "- `cpu/torch/broken`: conforms -> violates: `output[0] = '1', expected 2`" in as_markdown(found)
    assert "  torch 2.13.0 -> 2.14.0: torch\n" in as_text(found)
    assert "- `torch 2.13.0 -> 2.14.0`: `torch`\n" in as_markdown(found)
    assert "margin 0.2 -> 0.4" in as_text(found)


def test_json_has_every_list(old: Run, new: Run) -> None:
    content = json.loads(as_json(diff(old, new)))
    assert set(SECTIONS) <= set(content)
    assert content["worse"][0]["cell"] == "cpu/torch/broken"
    assert content["worse_overall"] is True


def test_the_command_exits_1_where_something_got_worse(tmp_path: Path, old: Run, new: Run) -> None:
    worse = CliRunner().invoke(main, ["diff", old.path, new.path])
    same = CliRunner().invoke(main, ["diff", old.path, old.path, "--format", "json"])
    assert (worse.exit_code, same.exit_code) == (1, 0)
    nothing = CliRunner().invoke(main, ["diff", old.path, str(tmp_path / "absent.jsonl")])
    assert nothing.exit_code == 2
    assert len(nothing.output.splitlines()) == 1


def runs(folder: Path, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> tuple[Run, Run]:
    return read(written(folder / "a.jsonl", *old)), read(written(folder / "b.jsonl", *new))


def test_cells_of_an_implementation_that_no_longer_runs_are_lost(tmp_path: Path) -> None:
    both = runs(tmp_path, [cell("a"), cell("a", implementation="jax")], [cell("a")])
    assert cases(diff(*both))["lost"] == ["a"]
    assert diff(*both).is_worse
    assert cases(diff(*both, partial=True))["vanished"] == ["a"]
    assert not diff(*both, partial=True).is_worse


def test_a_missing_case_of_a_present_row_is_lost(tmp_path: Path) -> None:
    """The row of line 4 has one case fewer. The row of line 9 was removed, and line 9 has another row now."""
    old = [{**cell("kept"), "row": "r.yaml:4"}, {**cell("dropped"), "row": "r.yaml:4"}]
    old += [{**cell("retired"), "row": "r.yaml:9"}]
    new = [{**cell("kept"), "row": "r.yaml:5"}, {**cell("other"), "row": "r.yaml:9"}]
    found = cases(diff(*runs(tmp_path, old, new)))
    assert (found["lost"], found["vanished"], found["appeared"]) == (["dropped"], ["retired"], ["other"])


@pytest.mark.parametrize("before", ["conforms", "diverges"])
@pytest.mark.parametrize("after", ["unsupported", "not_run"])
def test_a_cell_that_lost_its_evidence_is_worse(tmp_path: Path, before: str, after: str) -> None:
    assert cases(diff(*runs(tmp_path, [cell("a", before)], [cell("a", after)])))["worse"] == ["a"]


def test_a_green_cell_that_lost_a_check_is_worse(tmp_path: Path) -> None:
    fewer = {**cell("a"), "checks": [{"check": "gradients", "outcome": "conforms"}, *cell("a")["checks"]]}
    found = diff(*runs(tmp_path, [fewer], [cell("a")]))
    assert found.is_worse
    assert "cpu/torch/a: conforms -> conforms: no longer checked: gradients" in as_text(found)
    assert diff(*runs(tmp_path, [cell("a")], [fewer])) == Diff()


def test_a_red_cell_that_fails_another_check_is_worse(tmp_path: Path) -> None:
    more = {**cell("a", "violates"), "checks": [{"check": "gradients", "outcome": "violates"}]}
    assert cases(diff(*runs(tmp_path, [cell("a", "violates")], [more])))["worse"] == ["a"]
    assert diff(*runs(tmp_path, [more], [more])) == Diff()


def test_of_two_lines_for_one_cell_the_worse_counts(tmp_path: Path) -> None:
    assert cases(diff(*runs(tmp_path, [cell("a")], [cell("a", "violates"), cell("a")])))["worse"] == ["a"]


@pytest.mark.parametrize(
    ("factors", "shifted"),
    [
        ([1.2] * 60, True),
        ([0.8] * 60, True),
        ([1.2, 1 / 1.2] * 30, False),
        ([1.02] * 60, False),
        ([1.2] * 10, False),
        ([1.2] * 75 + [0.8] * 5, True),
    ],
    ids=["all up", "all down", "jitter", "too small to matter", "too few to be sure", "most up"],
)
def test_a_small_drift_of_many_cells_is_distinguished_from_jitter(
    tmp_path: Path, factors: list[float], shifted: bool
) -> None:
    old = [cell(f"c{index}", margin=0.3) for index in range(len(factors))]
    new = [cell(f"c{index}", margin=0.3 * factor) for index, factor in enumerate(factors)]
    found = diff(*runs(tmp_path, old, new))
    assert (found.section("drifted"), bool(found.shifts)) == ((), shifted)
    assert not found.is_worse
    if shifted:
        assert "Margins that moved together (1)\n  cpu/torch output: margins times" in as_text(found)
        assert json.loads(as_json(found))["margins_moved_together"][0]["cell"] == "cpu/torch output"


def test_versions_of_platform_and_run_and_new_versions_are_listed(tmp_path: Path) -> None:
    first = read(written(tmp_path / "a.jsonl", cell("a")))
    second = read(written(tmp_path / "b.jsonl", cell("a"), version="2.14.0"))
    whole = HeaderRecord(distributions={"numpy": "2.4"}, platform={"python": "3.11.7", "cpus": 2})
    later = HeaderRecord(distributions={"numpy": "2.5", "hypothesis": "6"}, platform={"python": "3.11.7", "cpus": 4})
    found = diff(replace(first, header=whole), replace(second, header=later))
    assert found.versions == (
        ("all", "cpus", "2", "4"),
        ("all", "hypothesis", None, "6"),
        ("all", "numpy", "2.4", "2.5"),
        ("torch", "torch", "2.13.0", "2.14.0"),
    )
    assert not found.is_worse
    assert "hypothesis none -> 6: all" in as_text(found)


def test_a_version_that_changed_for_many_is_listed_once(tmp_path: Path) -> None:
    names = [f"i{number}" for number in range(9)]
    found = Diff(versions=tuple((name, "numpy", "2.4", "2.5") for name in names))
    assert as_text(found).count("numpy") == 1
    assert "i0, i1, i2, i3, i4, i5 and 3 more" in as_text(found)


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    nasty = "`@all` <script>\x1b[31m\u202ex\x00"
    found = diff(*runs(tmp_path, [cell(nasty)], [cell(nasty, "violates", message=nasty)]))
    for text in (as_text(found), as_markdown(found)):
        assert all(each.isprintable() or each == "\n" for each in text)
    assert "`'@all' <script>" in as_markdown(found)


def test_margins_that_are_not_finite_are_accepted(tmp_path: Path) -> None:
    both = runs(tmp_path, [cell("a", margin="inf"), cell("b", margin=0.2)], [cell("a"), cell("b", margin="nan")])
    assert json.loads(as_json(diff(*both)))["worse_overall"] is False


def test_partial_accepts_missing_cells(tmp_path: Path) -> None:
    both = [each.path for each in runs(tmp_path, [cell("a"), cell("a", implementation="jax")], [cell("a")])]
    codes = [CliRunner().invoke(main, ["diff", *both, *more]).exit_code for more in ([], ["--partial"])]
    assert codes == [1, 0]


KNOWN = {"id": "adds-in-float16", "where": "cases/divergences/jax.yaml:5", "why": "Sums are float16."}


def test_behaviours_that_are_gone_or_back_do_not_make_a_run_worse(tmp_path: Path) -> None:
    names = {"covered": [KNOWN["id"]]}
    with_it = [{**cell(f"c{number}", "diverges"), **names, "behaviours": [KNOWN["id"]]} for number in range(2)]
    without = [{**cell("c0"), **names, "gone": [KNOWN]}, {**cell("c1"), **names}]
    gone = diff(*runs(tmp_path, with_it, without))
    assert not gone.is_worse
    assert "1 known behaviour is gone" in as_text(gone).split("\n", 1)[0]
    line = "adds-in-float16 (cases/divergences/jax.yaml:5): seen in 2 cells -> gone from 1 cell: Sums are float16."
    assert f"Known behaviours that are gone: narrow or remove their entries (1)\n  {line}" in as_text(gone)
    (listed,) = json.loads(as_json(gone))["behaviours_gone"]
    assert listed["cell"] == "adds-in-float16 (cases/divergences/jax.yaml:5)"
    assert (listed["before"], listed["after"]) == ("seen in 2 cells", "gone from 1 cell")
    back = diff(*runs(tmp_path, without, with_it))
    assert [each.behaviour for each in back.back] == ["adds-in-float16"]
    assert "Known behaviours that are back (1)\n  adds-in-float16" in as_text(back)
    # Gone in both runs is no news, and what is asked no more is not back.
    assert not diff(*runs(tmp_path, without, without)).gone
    assert not diff(*runs(tmp_path, without, [cell("c1")]), partial=True).back
