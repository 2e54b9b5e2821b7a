"""Whatever an adapter answers, in a whole run: the outcome of its own cell, in words, and no other cell is lost."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from conformance.results import read
from conformance.text import legible
from tests.support.hostile_adapter import ENDINGS, HARMLESS, MISDEEDS, rows
from tests.support.hostile_answers import EXECUTED
from tests.support.runs import EXACT, cells, conformance, table

HOSTILE = "tests.support.hostile_adapter:Hostile"
#: What a message says: what was given and what is expected, or which of the answers of the framework is not right.
REPORTED = re.compile(
    r"(after weights were replaced: )?("
    r"no evidence: what .+ gave is no answer: (given .+(, expected|too many)|Expected .+(, got|; given) )"
    r"|no evidence: [\w ,]+ (raised|is not supported)"
    r"|.*(expected|the rule gives|there, but the layer|not trainable|no layer|not axes of|has no dx|not on cpu)"
    r")",
    re.DOTALL,
)
Run = tuple[subprocess.CompletedProcess[str], Path]


def ident(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hostile")
    asked = [
        {
            "id": ident(name),
            "input_shape": [features],
            "units": units,
            "values": "exact",
            "implementations": ["*"] if name in ENDINGS else [HOSTILE],
        }
        for name, features, units in rows()
    ]
    (folder / "rows.yaml").write_text(table(*asked), encoding="utf-8")
    limits = ("--deadline", "2", "--memory", "0.5")
    done = conformance("run", "rows.yaml", f"-i{HOSTILE}", f"-i{EXACT}", *limits, "-n", "0", "-o", "out", cwd=folder)
    return done, folder


def outcomes(run: Run, implementation: str) -> dict[str, str]:
    found = cells(run[1] / "out/results.jsonl")
    return {each["case"]: each["outcome"] for each in found if each["implementation"] == implementation}


def test_each_answer_affects_only_its_own_cell(run: Run) -> None:
    assert len(MISDEEDS) + len(ENDINGS) > 200
    expected = {
        **dict.fromkeys(HARMLESS, "conforms"),
        **dict.fromkeys(MISDEEDS, "violates"),
        **{name: outcome for name, (outcome, _) in ENDINGS.items()},
    }
    assert outcomes(run, HOSTILE) == {f"{ident(name)}-exact": outcome for name, outcome in expected.items()}


def test_no_other_cell_is_lost(run: Run) -> None:
    done, folder = run
    assert outcomes(run, EXACT) == {f"{ident(name)}-exact": "conforms" for name in ENDINGS}
    found = read(folder / "out/results.jsonl")
    assert found.complete
    assert found.header.cells == len(found.cells) == len(list(rows())) + len(ENDINGS)
    assert done.returncode == 1, done.stdout


def test_each_message_has_the_value_and_the_expectation(run: Run) -> None:
    ended = {f"{ident(name)}-exact" for name in ENDINGS}
    found = cells(run[1] / "out/results.jsonl")
    messages = [
        (cell["case"], check["check"], check["message"])
        for cell in found
        for check in cell["checks"]
        if check["outcome"] == "violates" and cell["case"] not in ended
    ]
    assert len(messages) >= len(MISDEEDS)
    assert [each for each in messages if REPORTED.match(each[2]) is None] == []
    assert [cell["case"] for cell in found if len(str(cell)) > 2**17] == []
    assert [cell["case"] for cell in found if "Traceback" in cell.get("reason", "")] == []


def test_nothing_of_an_answer_is_executed(run: Run) -> None:
    assert not (run[1] / EXECUTED).exists()


def test_results_are_valid_json_without_control_characters(run: Run) -> None:
    done, folder = run
    written = (folder / "out/results.jsonl").read_text(encoding="utf-8")
    assert legible(written) == written
    assert legible(done.stdout) == done.stdout
    for each in read(folder / "out/results.jsonl").cells:
        assert legible(str(each)) == str(each)
    merged = conformance("merge", "out/results.jsonl", "-o", "merged.jsonl", cwd=folder)
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert len(cells(folder / "merged.jsonl")) == len(list(rows())) + len(ENDINGS)
