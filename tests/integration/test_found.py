"""What the README says was found was seen in a run, and is in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.ledger import Behaviour
from conformance.results import Run, read
from conformance.run.selection import Selection
from tests.support.paths import ROOT
from tools.findings import entries_found, occurrences, summary_of, table, written

README = (ROOT / "README.md").read_text(encoding="utf-8")


def run_of(tmp_path: Path, *cells: dict[str, Any]) -> Run:
    """Return a run of cells, as it would be read."""
    path = tmp_path / "results.jsonl"
    lines = [{"type": "header", "schema": 1, "cells": len(cells)}, *({"type": "cell", **each} for each in cells)]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return read(path)


def cell(implementation: str, *behaviours: Behaviour) -> dict[str, Any]:
    named = {"case": "a", "implementation": implementation, "device": "cpu", "outcome": "diverges"}
    return {**named, "checks": [], "behaviours": [each.id for each in behaviours]}


def test_only_behaviours_of_the_run_have_a_line(tmp_path: Path) -> None:
    entries = Selection().ledger()
    bug = next(each for each in entries if each.documentation.kind == "bug" and each.documentation.link)
    design = next(each for each in entries if each.documentation.kind == "by_design" and not each.documentation.link)
    run = run_of(tmp_path, cell("b", design, bug), cell("a", bug), cell("b", bug), cell("c"))
    found = occurrences([run])
    assert {name: dict(each) for name, each in found.items()} == {design.id: {"b": 1}, bug.id: {"a": 1, "b": 2}}
    lines = table(entries_found(entries, found), found).split("\n")[2:]
    assert [line.split(" | ")[1:] for line in lines] == [
        ["a, b", "3", "bug", f"[report]({bug.documentation.link}) |"],
        ["b", "1", "by design", "seen here |"],
    ]
    assert summary_of([run]).startswith("Of 4 cells of 3 implementations: 4 diverges.")


def test_behaviours_with_one_why_share_a_line(tmp_path: Path) -> None:
    bug = next(each for each in Selection().ledger() if each.documentation.kind == "bug" and each.documentation.link)
    documentation = replace(bug.documentation, link=None, evidence="Seen here.")
    other = replace(bug, id="other", documentation=documentation)
    found = occurrences([run_of(tmp_path, cell("a", bug), cell("b", other))])
    (line,) = table(entries_found([other, bug], found), found).split("\n")[2:]
    assert f"| a, b | 2 | bug | [report]({bug.documentation.link}) |" in line


def test_a_run_of_another_ledger_is_refused(tmp_path: Path) -> None:
    known = Selection().ledger()[0]
    run = run_of(tmp_path, cell("a", replace(known, id="nobody-knows-this")))
    with pytest.raises(ValueError, match="no entry nobody-knows-this"):
        entries_found(Selection().ledger(), occurrences([run]))


def test_the_table_stands_between_its_marks_alone() -> None:
    again = written(README, "another | table")
    assert "another | table" in again
    assert written(again, "x") == written(README, "x")
    assert README.split("<!-- found -->")[0] == again.split("<!-- found -->")[0]


def test_every_line_of_the_readme_is_an_entry_of_the_ledger() -> None:
    lines = README.split("<!-- found -->")[1].split("<!-- /found -->")[0].split("\n")
    whys = {each.documentation.why.replace("|", "\\|").replace("*", "\\*") for each in Selection().ledger()}
    told_of = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")][1:]
    assert len(told_of) > 10
    assert set(told_of) <= whys
