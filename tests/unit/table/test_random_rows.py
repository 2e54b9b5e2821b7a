"""Random cases: the same everywhere, legal, of every kind, and of use in both directions."""

from __future__ import annotations

import collections
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from conformance.adapters.registry import select
from conformance.checks.cell import cell_of, has_cell
from conformance.commands.cli import main
from conformance.reference.lanes.draws import draws
from conformance.results import CellRecord, CheckRecord, Run, read
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.selection import Selection, SelectionError
from conformance.table.case import ACTIVATIONS, DTYPES, LAYOUTS, MAX_RANK
from conformance.table.loader import TableError, load, read_rows
from conformance.table.random_rows import document, random_cases, random_rows
from tests.support.runs import conformance
from tools import soak

MANY = 200


def test_a_seed_gives_the_same_questions_everywhere() -> None:
    """Pinned: on every machine and with every version of NumPy, or a seed would name nothing."""
    digests = b"".join(each.digest for each in random_cases(50, 7))
    assert hashlib.sha256(digests).hexdigest() == "ae62ff503e190213a528482bc95ee4358d12fc1e5f724449952401e4f2ba4977"
    assert random_rows(1, 7) == (
        {
            "id": "random-7-1",
            "input_shape": [8, 6],
            "units": 512,
            "activation": "relu",
            "batch": 2,
            "values": "exact",
            "layout": "strided",
        },
    )


def test_more_cases_begin_with_those_of_fewer_and_other_seeds_give_others() -> None:
    assert random_cases(MANY, 3)[:20] == random_cases(20, 3)
    digests = [{each.digest for each in random_cases(MANY, seed)} for seed in (3, 4)]
    assert not digests[0] & digests[1]
    assert len(digests[0]) == MANY
    assert random_cases(0, 3) == ()


def test_a_case_has_its_seed_and_row() -> None:
    assert [(each.row, each.name) for each in random_cases(2, 3)] == [
        ("random:3:1", "random-3-1"),
        ("random:3:2", "random-3-2"),
    ]


def test_rows_cover_every_kind() -> None:
    cases = random_cases(MANY, 0)
    assert {each.dtype for each in cases} == set(DTYPES)
    assert {layer.activation for each in cases for layer in each.layers} == set(ACTIVATIONS)
    assert {each.layout for each in cases} == set(LAYOUTS)
    assert {len(each.input_shape) for each in cases} == {1, 2, 3, 4, 5}
    assert {len(each.layers) for each in cases} == {1, 2, 3}
    assert {each.leading_axes for each in cases} == {0, 1, 2, 3}
    assert {each.lane for each in cases} == {"exact", "uniform"}
    assert {layer.use_bias for each in cases for layer in each.layers} == {True, False}
    assert {each.call_shape[-1] > 256 for each in cases} == {True, False}
    assert {max(int(layer.units or 0) for layer in each.layers) > 128 for each in cases} == {True, False}
    assert all(len(each.call_shape) <= MAX_RANK for each in cases)


@pytest.mark.integration
@pytest.mark.parametrize("seed", [0, 1, 20261122])
def test_every_case_can_be_drawn(seed: int) -> None:
    for case in random_cases(100, seed):
        assert draws(case)


def test_every_implementation_has_every_case() -> None:
    cases = random_cases(400, 1)
    assert {each.implementations for each in cases} == {("*",)}
    assert {len(each.call_shape) for each in cases} >= {1, 2, 3, 4, 5, 6}
    normalised = [each for each in cases if {"softmax", "log_softmax"} & {layer.activation for layer in each.layers}]
    assert max(len(each.call_shape) for each in normalised) > 5
    float64 = {layer.activation for each in cases if each.dtype == "float64" for layer in each.layers}
    assert {"gelu", "leaky_relu", "hard_sigmoid"} & float64


def test_a_fault_of_a_row_is_found_as_in_a_file() -> None:
    with pytest.raises(TableError) as caught:
        read_rows([{"input_shape": [4], "units": 3}, {"input_shape": [4], "untis": 3, "id": "x"}], "given")
    assert 'given:2:1: unknown field "untis"' in str(caught.value)


@pytest.mark.integration
def test_the_listed_rows_are_a_table_with_the_same_cases(tmp_path: Path) -> None:
    listed = CliRunner().invoke(main, ["list", "random", "--count", "60", "--seed", "5"])
    assert listed.exit_code == 0
    assert listed.output == document(60, 5)
    path = tmp_path / "rows.yaml"
    path.write_text(listed.output, encoding="utf-8")
    linted = CliRunner().invoke(main, ["lint", str(path)])
    assert linted.exit_code == 0, linted.output
    assert linted.output.endswith(", no faults\n")
    written, drawn = load([path]).cases, random_cases(60, 5)
    assert [each.digest for each in written] == [each.digest for each in drawn]
    assert [each.id for each in written] == [each.id for each in drawn]


def test_a_selection_adds_random_cases_that_it_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text(document(3, 5), encoding="utf-8")
    both = Selection(cases=(str(path),), tier="quick", random=4, random_seed=5).table()
    assert [each.row for each in both][-4:] == ["random:5:1", "random:5:2", "random:5:3", "random:5:4"]
    both = Selection(cases=(str(path),), random=4, random_seed=5).table()
    assert [each.id for each in both] == [each.id for each in random_cases(4, 5)]
    assert both[-1].row == "random:5:4"
    path.write_text(
        "rows:\n  - {id: random-5-1, input_shape: [4], units: 3, values: LANE}\n".replace(
            "LANE", random_cases(1, 5)[0].lane
        ),
        encoding="utf-8",
    )
    with pytest.raises(SelectionError, match="is taken by"):
        Selection(cases=(str(path),), random=1, random_seed=5).table()


def ran(tmp_path: Path, implementation: str, *options: str) -> tuple[int, Run]:
    """Run a row and random cases on an implementation in a process of its own; return the exit code and the results."""
    (tmp_path / "row.yaml").write_text("rows:\n  - {input_shape: [4], units: 3}\n", encoding="utf-8")
    done = conformance("run", "row.yaml", "-i", implementation, "-n", "0", *options, cwd=tmp_path)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout
    return done.returncode, read(tmp_path / "reports" / "results.jsonl")


@pytest.mark.integration
def test_a_run_with_random_cases_records_them_and_conforms(tmp_path: Path) -> None:
    code, run = ran(tmp_path, "tests.support.faulty_adapters:Exact", "--random", "12", "--seed", "9")
    assert code == 0
    assert run.header.selection.random == {"count": 12, "seed": 9}
    rows = [each.row for each in run.cells]
    assert len(rows) == 14
    assert rows[-1] == "random:9:12"


def records_of(implementation: str, count: int, seed: int) -> dict[str, CellRecord]:
    """Return the record of each random case that an implementation is asked, in this process."""
    (chosen,) = select([implementation])
    runner = Runner(processes=ProcessOptions(in_process=True))
    cases = [each for each in random_cases(count, seed) if has_cell(each, chosen)]
    records = {each.id: runner.run(cell_of(each, chosen, "cpu")) for each in cases}
    runner.close()
    return records


@pytest.mark.integration
def test_an_exact_layer_conforms_on_random_cases() -> None:
    records = records_of("tests.support.faulty_adapters:Exact", 40, 11)
    assert collections.Counter(each.outcome for each in records.values()) == {"conforms": 40}
    assert sum(map(soak.elements, records.values())) > 100_000


@pytest.mark.integration
@pytest.mark.parametrize("fault", ["DropsBias", "WrongCount"])
def test_a_planted_fault_is_caught_by_random_cases(fault: str) -> None:
    outcomes = collections.Counter(
        each.outcome for each in records_of(f"tests.support.faulty_adapters:{fault}", 10, 11).values()
    )
    assert outcomes["violates"] >= 5


def results(tmp_path: Path, **changed: Any) -> Run:
    """Return a run of one cell of 2 x 3 x 5 output elements and three draws."""
    question = {"input_shape": [3, 7], "units": [4, 5], "dtype": "float32", "batch": 2, "feed_shape": None}
    cell = {
        "type": "cell",
        "implementation": "a",
        "device": "cpu",
        "case": "b",
        "outcome": "conforms",
        "checks": [{"check": "output", "outcome": "conforms", "margin": 0.5, "line": "proven"}],
        "steps": dict.fromkeys(
            ("build", "output", "output again", "output, other batch", "new weights, 1", "output, 1", "new weights, 2"),
            0,
        ),
        "question": {**question, "lane": "uniform"},
        **changed,
    }
    lines = [
        {"type": "header", "schema": 1, "cells": 1},
        cell,
        {"type": "footer", "complete": True, "seconds": 1.0, "counts": {}},
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return read(path)


def test_elements_are_those_of_one_output_a_draw(tmp_path: Path) -> None:
    (cell,) = results(tmp_path).cells
    assert soak.elements(cell) == 3 * 2 * 3 * 5
    assert cell.question is not None
    for batch, positions in (([2, 2], 2 * 2 * 3), (None, 3)):
        question = msgspec.structs.replace(cell.question, batch=batch)
        assert soak.elements(msgspec.structs.replace(cell, question=question)) == 3 * positions * 5
    unanswered = CheckRecord(check="output", outcome="unsupported")
    assert soak.elements(msgspec.structs.replace(cell, checks=[unanswered])) == 0


@pytest.mark.parametrize(
    ("changed", "enough", "of_each", "problems_found"),
    [
        ({}, 90, 90, []),
        ({}, 91, 0, ["90 output elements were compared, fewer than 91"]),
        ({}, 90, 91, ["90 output elements of a were compared, fewer than 91"]),
        ({"outcome": "violates"}, 90, 0, ["1 cells are red or were not run"]),
        ({"outcome": "not_run", "checks": []}, 0, 0, ["1 cells are red or were not run"]),
        ({"outcome": "unsupported", "checks": []}, 0, 1, []),
    ],
)
def test_a_soak_fails_where_it_shows_nothing(
    tmp_path: Path, changed: dict[str, Any], enough: int, of_each: int, problems_found: list[str]
) -> None:
    assert list(soak.problems([results(tmp_path, **changed)], enough, of_each)) == problems_found


def test_a_soak_counts_the_elements_of_all_its_runs(tmp_path: Path) -> None:
    run = results(tmp_path)
    assert list(soak.problems([run, run], 180, 180)) == []
    assert soak.compared([run, run]) == {"a": 180}


def test_a_soak_prints_what_was_compared_and_how_near_to_the_line(tmp_path: Path) -> None:
    text = "\n".join(soak.report([results(tmp_path)]))
    assert "90 output elements compared" in text
    assert "a                      float32   proven" in text
    assert "0.5000  b" in text
