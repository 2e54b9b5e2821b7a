"""What changed between two runs: every way in which a cell can, and what counts as worse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.cli import main
from conformance.diff import SECTIONS, Diff, as_json, as_markdown, as_text, diff
from conformance.results import Run, Writer, read


def cell(case: str, outcome: str = "conforms", implementation: str = "torch", **check: Any) -> dict[str, Any]:
    checks = [{"check": "output", "outcome": outcome, **check}]
    return {"case": case, "implementation": implementation, "device": "cpu", "outcome": outcome, "checks": checks}


def written(path: Path, *cells: dict[str, Any], version: str = "2.13.0", complete: bool = True) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        writer = Writer(stream)
        writer.header(cells=len(cells))
        writer.implementation(implementation="torch", versions={"torch": version})
        for each in cells:
            writer.cell(each)
        if complete:
            writer.footer(complete=True, seconds=1.0)
    return path


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
    return {name: [each.case for each in getattr(found, name)] for name in SECTIONS}


def test_every_cell_is_where_it_belongs(old: Run, new: Run) -> None:
    found = diff(old, new)
    assert cases(found) == {
        "worse": ["broken", "dying", "shy"],
        "lost": ["lost"],
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


def test_a_run_beside_itself_has_changed_in_nothing(old: Run) -> None:
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
def test_a_margin_drifts_beyond_a_factor_and_where_it_is_noticed(
    tmp_path: Path, before: float, after: float, drifts: bool
) -> None:
    runs = [read(written(tmp_path / f"{margin}.jsonl", cell("a", margin=margin))) for margin in (before, after)]
    assert bool(diff(*runs).drifted) is drifts


@pytest.mark.parametrize("outcome", ["violates", "crashed", "timed_out"])
def test_a_cell_that_appears_red_is_worse(tmp_path: Path, outcome: str) -> None:
    runs = read(written(tmp_path / "a.jsonl")), read(written(tmp_path / "b.jsonl", cell("a", outcome)))
    assert diff(*runs).is_worse
    assert not diff(runs[1], runs[0]).is_worse


def test_a_run_that_was_broken_off_is_worse_and_says_so(tmp_path: Path, old: Run) -> None:
    broken = read(written(tmp_path / "cut.jsonl", *map(dict, old.cells), complete=False))
    assert diff(old, broken).is_worse
    assert "broken off" in as_text(diff(old, broken))


def test_text_and_markdown_name_the_cell_and_the_reason(old: Run, new: Run) -> None:
    found = diff(old, new)
    assert "  cpu/torch/broken: conforms -> violates: output[0] = `1`, expected 2" in as_text(found)
    assert "- `cpu/torch/broken`: conforms -> violates: `output[0] = '1', expected 2`" in as_markdown(found)
    assert "torch: torch 2.13.0 -> 2.14.0" in as_text(found)
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
