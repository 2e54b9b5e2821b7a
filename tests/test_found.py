"""What the README says was found was seen in a run, and is in the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.found import seen, summary_of, table, told, written
from conformance.ledger import Behaviour
from conformance.results import Run, read
from conformance.selection import Selection

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def run_of(tmp_path: Path, *cells: dict[str, Any]) -> Run:
    """Return a run of cells, as it would be read."""
    path = tmp_path / "results.jsonl"
    lines = [{"type": "header", "schema": 1, "cells": len(cells)}, *({"type": "cell", **each} for each in cells)]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return read(path)


def cell(entry: Behaviour, implementation: str, checks: int = 2) -> dict[str, Any]:
    divergence = {"where": "cases/divergences.yaml:1", "kind": entry.kind, "why": entry.why}
    check = {"check": "output", "outcome": "diverges", "divergence": divergence}
    named = {"case": "a", "implementation": implementation, "device": "cpu"}
    return {**named, "outcome": "diverges", "checks": [check] * checks}


def test_what_was_seen_has_a_line_and_nothing_else_has(tmp_path: Path) -> None:
    entries = Selection().ledger()
    bug = next(each for each in entries if each.kind == "bug" and each.link)
    design = next(each for each in entries if each.kind == "by_design" and not each.link)
    run = run_of(
        tmp_path, cell(design, "b"), cell(bug, "a"), cell(bug, "b", checks=1), {**cell(bug, "c"), "checks": []}
    )
    found = seen([run])
    assert {words: dict(each) for words, each in found.items()} == {
        (design.kind, design.why): {"b": 1},
        (bug.kind, bug.why): {"a": 1, "b": 1},
    }
    lines = table(told(entries, found), found).split("\n")[2:]
    assert [line.split(" | ")[1:] for line in lines] == [
        ["a, b", "2", "bug", f"[report]({bug.link}) |"],
        ["b", "1", "by design", "seen here |"],
    ]
    assert summary_of([run]).startswith("Of 4 cells of 3 implementations: 4 diverges.")


def test_a_run_of_another_ledger_is_refused(tmp_path: Path) -> None:
    known = Selection().ledger()[0]
    run = run_of(tmp_path, {**cell(known, "a"), "divergence": {"kind": "bug", "why": "Nobody knows this."}})
    with pytest.raises(ValueError, match="no entry that says: Nobody knows this"):
        told(Selection().ledger(), seen([run]))


def test_the_table_stands_between_its_marks_alone() -> None:
    again = written(README, "another | table")
    assert "another | table" in again
    assert written(again, "x") == written(README, "x")
    assert README.split("<!-- found -->")[0] == again.split("<!-- found -->")[0]


def test_every_line_of_the_readme_says_what_the_ledger_says() -> None:
    lines = README.split("<!-- found -->")[1].split("<!-- /found -->")[0].split("\n")
    whys = {each.why.replace("|", "\\|").replace("*", "\\*") for each in Selection().ledger()}
    told_of = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")][1:]
    assert len(told_of) > 10
    assert set(told_of) <= whys
