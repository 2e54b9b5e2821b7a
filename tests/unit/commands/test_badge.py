"""Badges: counts, colours and file names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.badge import badges, file_name, write
from conformance.commands.cli import main
from conformance.results import OUTCOMES, Run
from tests.support.records import run_of


def run(*outcomes: str, complete: bool | None = True, requested: tuple[str, ...] = ("torch",)) -> Run:
    """Return a run with a cell of torch for each outcome; `complete` None is a run without footer."""
    cells = [{"case": f"c{number}", "outcome": each} for number, each in enumerate(outcomes)]
    header = {"selection": {"implementations": list(requested)}, "cells": len(cells)}
    return run_of(cells, header, None if complete is None else {"complete": complete})


@pytest.mark.parametrize(
    ("outcomes", "message", "colour"),
    [
        (["conforms"] * 3, "3 conform", "brightgreen"),
        (["conforms"] * 3 + ["diverges"] * 2, "3 conform, 2 diverge", "green"),
        (["diverges"], "1 diverge", "green"),
        (["conforms", "unsupported"], "1 conform, 1 unsupported", "brightgreen"),
        (["conforms", "violates"], "1 violate, 1 conform", "red"),
        (["conforms", "crashed"], "1 crashed, 1 conform", "red"),
        (["conforms", "timed_out"], "1 timed out, 1 conform", "red"),
        (["conforms", "not_run"], "1 conform, 1 not run", "orange"),
        (["not_run", "not_run"], "nothing ran", "lightgrey"),
        (["unsupported"], "nothing ran", "lightgrey"),
        ([], "nothing ran", "lightgrey"),
    ],
)
def test_message_and_colour_are_those_of_the_counts(outcomes: list[str], message: str, colour: str) -> None:
    assert badges(run(*outcomes)) == {
        "torch": {"schemaVersion": 1, "label": "torch", "message": message, "color": colour}
    }


@pytest.mark.parametrize("complete", [False, None])
def test_the_badge_of_a_run_that_was_broken_off_is_not_green(complete: bool | None) -> None:
    found = badges(run("conforms", complete=complete))["torch"]
    assert (found["message"], found["color"]) == ("broken off: 1 conform", "orange")
    assert badges(run("violates", complete=complete))["torch"]["color"] == "red"
    assert badges(run(complete=complete))["torch"]["color"] == "lightgrey"


def test_a_badge_counts_every_outcome() -> None:
    message = str(badges(run(*OUTCOMES))["torch"]["message"])
    assert sum(map(int, re.findall(r"\d+", message))) == len(OUTCOMES)


def test_a_selected_implementation_without_a_cell_has_a_badge() -> None:
    assert badges(run("conforms", requested=("torch", "haiku")))["haiku"]["message"] == "nothing ran"


def test_file_names_are_safe_and_differ_where_names_do() -> None:
    assert file_name("keras-tensorflow:einsum-dense") == "keras-tensorflow-einsum-dense.json"
    names = ["torch", "torch:compile", "a.b:Own", "a.b:own", "a.b-own:x", "../up", "..", "x/y", "x\\y", "x" * 300, "é"]
    names += ["x" * 300 + "y", "a:b:c", "CON", "m:f@torch", "m:f-torch"]
    found = [file_name(each) for each in names]
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9._-]*\.json", each) and len(each) <= 120 for each in found), found
    assert len({each.lower() for each in found}) == len(names)


def test_two_implementations_never_share_a_file(tmp_path: Path) -> None:
    found = list(write(run("conforms", requested=("torch:compile", "torch-compile", "torch")), tmp_path))
    assert len({each.name for each in found}) == len(list(tmp_path.iterdir())) == 3


def test_the_command_writes_a_file_for_each_implementation(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"type": "header", "schema": 1, "selection": {"implementations": ["torch", "torch:compile"]}, "cells": 1},
        {"type": "cell", "case": "c", "implementation": "torch", "device": "cpu", "outcome": "conforms", "checks": []},
        {"type": "footer", "complete": True, "counts": {}},
    ]
    results = tmp_path / "r.jsonl"
    results.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    done = CliRunner().invoke(main, ["badge", str(results), "-o", str(tmp_path / "new" / "badges")])
    assert done.exit_code == 0, done.output
    found = {each.name: json.loads(each.read_text()) for each in (tmp_path / "new" / "badges").iterdir()}
    assert set(found) == {"torch.json", "torch-compile.json"}
    assert found["torch.json"]["message"] == "1 conform"
    assert found["torch.json"]["schemaVersion"] == 1


@pytest.mark.parametrize("content", [None, "nonsense"])
def test_a_file_that_is_not_a_results_file_exits_2_with_one_line(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = CliRunner().invoke(main, ["badge", str(path), "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
