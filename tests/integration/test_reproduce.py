"""A script shows what the record of its cell has, with the framework and NumPy alone."""

from __future__ import annotations

import ast
import fnmatch
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace as replace_record

from conformance.adapters.registry import Implementation, registered, select
from conformance.checks.cell import cell_of, has_cell
from conformance.checks.references import question
from conformance.checks.refusal import refusal
from conformance.commands.cli import main
from conformance.reference.lanes.draws import draws
from conformance.results import CellRecord, part_of, plain
from conformance.results.record import CrashRecord, QuestionRecord
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.reproduce import NotReproducible, script
from conformance.run.reproduce.arrays import Arrays, _value
from conformance.run.reproduce.family import SHAPE_ONLY_MODES, family_of
from conformance.run.reproduce.recorded_cells import case_of, question_of
from conformance.run.reproduce.row import row_of
from conformance.run.selection import Selection
from conformance.table.case import Case, Data, Expect, Layer
from conformance.table.loader import load
from tests.support.records import cell_record
from tools import reproductions, templates

CASE = Case(input_shape=(4,), layers=(Layer(units=3),))
#: The implementations whose diverging cells are asked here, in pieces that take seconds; `make found` asks all.
SAMPLED = {
    "torch": ("16-8-frombool-batch4-exact", "16-8-frombfloat16-*", "5-64-hard_sigmoid-float64-batch16-uniform"),
    "flax-nnx": ("0-3-exact", "64-16-float64-uniform", "16-8-fromfloat64-batch4-exact", "4-true-error"),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_the_script_of_a_diverging_cell_shows_what_was_reported(name: str) -> None:
    implementation = select([name])[0]
    chosen = [
        each
        for each in Selection(tier="full").table()
        if has_cell(each, implementation) and any(fnmatch.fnmatchcase(each.id, pattern) for pattern in SAMPLED[name])
    ]
    runner = Runner(behaviours=Selection().ledger())
    records = [runner.run(cell_of(case, implementation, "cpu")) for case in chosen]
    runner.close()
    assert {each.outcome for each in records} == {"diverges"}
    assert all(each.reproduce for each in records)
    found = list(reproductions.tasks(records))
    told = reproductions.run(found)
    faults = [
        f"{each.name}: {why}" for each in found if (why := reproductions.fault(each, told[each.name])) is not None
    ]
    print(f"{len(found)} scripts of {name} were run")
    assert not faults
    assert len(found) >= len(SAMPLED[name])
    # What is held above would be seen: each is given the output of another.
    others = [told[each.name] for each in [*found[1:], found[0]]]
    assert any(reproductions.fault(each, other) for each, other in zip(found, others, strict=True))


def test_scripts_build_the_layer_and_get_the_exact_answer() -> None:
    """Of NumPy here; `python -m tools.templates` asks every implementation."""
    (numpy,) = select(["numpy"])
    found = list(templates.tasks(numpy))
    told = reproductions.run(found)
    assert [templates.fault(each, told[each.name]) for each in found] == [None] * len(found)
    assert len(found) > 10
    wrong = replace(found[0], text=found[0].text.replace(" + bias", ""))
    assert wrong.text != found[0].text
    assert templates.fault(wrong, reproductions.run([wrong])[wrong.name]) is not None


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_implementation_has_scripts_that_are_python(name: str) -> None:
    implementation = registered()[name]
    rank = min(implementation.ranks or (1,))
    case = replace(CASE, input_shape=(2,) * (rank - 1) + (4,))
    found = list(records_of(case, implementation))
    assert found
    for record in found:
        text = script(record, question(case, "cpu"), case=case, implementation=implementation)
        names = {each.names[0].name for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Import)}
        assert "conformance" not in names, "the framework and NumPy alone"
        shown = implementation.mode not in SHAPE_ONLY_MODES and family_of(implementation) is not None
        if shown and record.checks[0].check == "output":
            assert "There is no script for" not in text
            # A model with a call of its own takes ten lines.
            assert text.count("\n") <= (40 if implementation.mode == "decorated" else 30), text
            assert all(f"{variable!r}" in text for variable in implementation.environment)


def records_of(case: Case, implementation: Implementation) -> Iterator[CellRecord]:
    """Yield records with one failing check each, one of every kind."""
    index = (0,) * len(case.input_shape) + (1,)
    number = {"worst": list(index), "got": 1.0, "exact": 2.0, "allowed": "inf", "message": "m"}
    raised = {"stage": "call", "type": "E", "message": "m", "module": "x"}
    findings: list[dict[str, Any]] = [
        {"check": "output", "step": "output", **number},
        {"check": "weights_live", "step": "output, second", **number},
        {"check": "gradients", "step": "gradients", "gradient": "dx", **number},
        {"check": "gradients", "step": "gradients", "gradient": "dW", "layer": 0, **number, "worst": [0, 1]},
        {"check": "gradients", "step": "gradients", "expected": {"dx": "float32"}, "observed": {"dx": "float64"}},
        {"check": "repeatable", "step": "output again", **number},
        {"check": "output_dtype", "expected": "float32", "observed": "float64", "message": "m"},
        {"check": "parameters", "expected": [15], "observed": [12], "message": "m"},
        {"check": "output_shape", "expected": [[None, 3]], "observed": [[2, 3]], "step": "infer"},
        {"check": "output_shape", "expected": [2, 3], "observed": [3], "step": "output"},
        *({"check": "output", "raised": {**raised, "step": each}, "message": "m"} for each in ("build", "output")),
    ]
    for finding in findings:
        # JAX cannot hold some of these findings, but its scripts must be written all the same.
        record = {"case": case.id, "implementation": implementation.name, "device": "cpu", "outcome": "violates"}
        yield cell_record({**record, "checks": [{"outcome": "violates", **finding}]})


def test_the_script_of_a_crash_repeats_the_steps_before_it() -> None:
    (torch,) = select(["torch"])
    crash = {"step": "gradients", "reason": "SIGABRT", "stderr": "", "notes": []}
    record = {"case": CASE.id, "implementation": "torch", "device": "cpu", "outcome": "crashed", "checks": []}
    text = script(cell_record({**record, "crash": crash}), question(CASE, "cpu"), case=CASE, implementation=torch)
    assert "autograd.grad" in text
    assert "flush=True" in text, "what is printed before a process aborts is lost otherwise"
    started = cell_record({**record, "crash": {**crash, "step": "start"}})
    assert "this runs the row" in script(started, None, case=CASE, implementation=torch)


def test_a_script_shows_the_new_failure_and_never_a_declared_one() -> None:
    (torch,) = select(["torch"])
    number = {"worst": [0, 1], "got": 1.0, "exact": 2.0, "allowed": "inf", "message": "m"}
    known = {"check": "output", "outcome": "diverges", "step": "output", **number, "divergence": {"id": "known"}}
    new = {"check": "gradients", "outcome": "violates", "step": "gradients", "gradient": "dx", **number}
    record = cell_record({"case": CASE.id, "outcome": "violates", "checks": [known, new]})
    asked_of_it = question(CASE, "cpu")
    text = script(record, asked_of_it, case=CASE, implementation=torch)
    assert "gradients" in text
    assert "autograd.grad" in text
    # A crash beside it is as declared, or the cell would have crashed.
    crash = {"step": "infer", "reason": "SIGABRT", "stderr": "", "notes": []}
    beside = replace_record(record, crash=part_of(crash, CrashRecord))
    assert script(beside, asked_of_it, case=CASE, implementation=torch) == text
    # What is known is shown where it is asked for by name.
    named = script(record, asked_of_it, case=CASE, implementation=torch, check="output")
    assert "autograd.grad" not in named
    both_known = replace_record(record, outcome="diverges", checks=record.checks[:1])
    assert script(both_known, asked_of_it, case=CASE, implementation=torch) == named


@pytest.mark.parametrize(
    "message", ['"""\nimport os; os.abort()\n"""', "\nimport os", "\u2028import os", "'); os.abort("]
)
def test_text_of_a_record_never_becomes_code(message: str) -> None:
    (torch,) = select(["torch"])
    case = replace(CASE, layers=(Layer(units=message),), expect=Expect(error=True))
    accepted = {"check": "refusal", "outcome": "violates", "message": f"accepted: {message}"}
    record = cell_record({"case": f"c{message}", "outcome": "violates", "checks": [accepted]})
    own = replace(torch, name=f"own:{message}", adapter="somewhere:Else")
    for implementation in (torch, own):
        tree = ast.parse(script(record, refusal(case, "cpu"), case=case, implementation=implementation))
        called = {ast.unparse(each.func) for each in ast.walk(tree) if isinstance(each, ast.Call)}
        assert not any("abort" in each for each in called)
        imports = [each for each in ast.walk(tree) if isinstance(each, ast.Import)]
        assert "os" not in {name.name for each in imports for name in each.names}


@pytest.mark.parametrize("lane", ["exact", "uniform", "wide", "cancelling"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_arrays_are_given_bit_for_bit(lane: str, dtype: str) -> None:
    case = Case(input_shape=(16,), layers=(Layer(units=8), Layer(units=3)), dtype=dtype, lane=lane, batch=5)
    for draw in draws(case):
        made = Arrays(case.digest)
        parts = {"x": draw.x, "dy": draw.dy}
        parts |= {f"kernel {n}": each for n, each in enumerate(draw.kernels)}
        parts |= {f"bias {n}": each for n, each in enumerate(draw.biases) if each is not None}
        for part, array in parts.items():
            found = _value(made.expression(array, part))
            twin = array.astype(np.float32) if dtype == "bfloat16" else array
            assert (found.dtype, found.shape) == (twin.dtype, twin.shape)
            assert found.tobytes() == twin.tobytes()


@pytest.mark.parametrize(("units", "lane"), [(64, "uniform"), (512, "uniform"), (64, "exact")])
def test_many_numbers_are_drawn_from_the_seed_and_not_written_out(units: int, lane: str) -> None:
    case = Case(input_shape=(512,), layers=(Layer(units=units),), lane=lane)
    made = Arrays(case.digest)
    draw = draws(case)[0]
    written = [made.expression(draw.x, "x"), made.expression(draw.kernels[0], "kernel 0")]
    assert sum(map(len, written)) < 1000, written
    assert "packed" not in made.helpers


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324]),
        np.zeros((0, 3), np.float32),
        np.full((40, 40), -0.0),
        np.array([True, False]),
        np.arange(100, dtype=np.int64).reshape(10, 10) * 2**40,
        np.random.default_rng(0).normal(size=(9, 9)).astype(np.float16),
    ],
)
def test_any_array_is_given_bit_for_bit(array: Any) -> None:
    for digest in (None, b"seed"):
        found = _value(Arrays(digest).expression(array, "x"))
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_the_case_of_a_record_is_the_case_that_ran() -> None:
    for case in Selection(tier="nightly").table()[::7]:
        again = case_of(part_of(case.question, QuestionRecord))
        assert again.digest == case.digest
        assert again.question == case.question


def test_the_row_of_a_case_makes_the_same_case(tmp_path: Path) -> None:
    literal = Data(x=((1.0, 2.0),), kernels=(((1.0,), (3.0,)),), biases=(None,))
    cases = [
        CASE,
        replace(CASE, batch=(2, 3), dtype="bfloat16", layout="strided", lane="exact"),
        replace(CASE, layers=(Layer(units=3, activation="relu"), Layer(units=2, use_bias=False))),
        Case(input_shape=(2,), layers=(Layer(units=1, use_bias=False),), batch=1, lane="literal", data=literal),
        replace(CASE, layers=(Layer(units=True),), expect=Expect(error=True)),
    ]
    path = tmp_path / "rows.yaml"
    path.write_text("rows:\n" + "".join(f"  - {row_of(each)}\n" for each in cases), encoding="utf-8")
    assert [each.question for each in load([path]).cases] == [each.question for each in cases]


def results_of(tmp_path: Path, **content: Any) -> Path:
    record: dict[str, Any] = {"type": "cell", "case": CASE.id, "implementation": "torch", "device": "cpu"}
    record |= {"outcome": "violates"}
    record |= {"checks": plain(next(records_of(CASE, select(["torch"])[0])))["checks"], "question": dict(CASE.question)}
    header = {"type": "header", "schema": 1, "selection": {"draws": 1}, "cells": 1}
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in (header, {**record, **content})), encoding="utf-8")
    return path


@pytest.mark.parametrize("cell", ["cpu/torch/4-3-uniform", "torch/4-3-uniform"])
def test_the_command_prints_the_script_by_either_name(cell: str, tmp_path: Path) -> None:
    path = results_of(tmp_path)
    done = CliRunner().invoke(main, ["reproduce", cell, str(path)])
    assert done.exit_code == 0, done.output
    assert "torch.nn.Linear(4, 3)" in done.output
    attached = CliRunner().invoke(main, ["reproduce", cell, str(results_of(tmp_path, reproduce="print(1)\n"))])
    assert attached.output == done.output, "what the file holds may be anybody's"


@pytest.mark.parametrize(
    ("cell", "content", "message"),
    [
        ("torch/4-3-unifrom", {}, "no cell 'torch/4-3-unifrom'; similar: cpu/torch/4-3-uniform"),
        ("nothing alike", {}, "no cell 'nothing alike'"),
        ("torch/4-3-uniform", {"outcome": "conforms", "checks": []}, "no check of the cell fails"),
        ("torch/4-3-uniform", {"implementation": "torch"}, ""),
        ("gone:Own/4-3-uniform", {"implementation": "gone:Own"}, ""),
    ],
)
def test_a_cell_without_a_script_is_one_line_of_error(
    cell: str, content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(main, ["reproduce", cell, str(results_of(tmp_path, **content))])
    if not message:
        assert done.exit_code == 0, done.output
        return
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1


def test_only_a_failing_check_can_be_selected(tmp_path: Path) -> None:
    found = [plain(each.checks[0]) for each in records_of(CASE, select(["torch"])[0])]
    path = results_of(tmp_path, checks=[found[0], found[6], {"check": "placement", "outcome": "conforms"}])
    first = CliRunner().invoke(main, ["reproduce", "torch/4-3-uniform", str(path)]).output
    other = CliRunner().invoke(main, ["reproduce", "torch/4-3-uniform", str(path), "--check", "output_dtype"]).output
    assert "float(y[0, 1])" in first
    assert "y.dtype" in other
    done = CliRunner().invoke(main, ["reproduce", "torch/4-3-uniform", str(path), "--check", "placement"])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)


def test_a_question_without_values_has_no_script() -> None:
    special = replace(CASE, lane="special")
    assert question_of(special, "cpu") is not None
    (torch,) = select(["torch"])
    with pytest.raises(NotReproducible):
        script(cell_record({}), question(CASE, "cpu"), case=CASE, implementation=torch)


EXACT = select(["tests.support.faulty_adapters:Exact"])[0]
WRONG = select(["tests.support.faulty_adapters:DropsBias"])[0]


def test_only_red_cells_have_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(record: CellRecord, *_: Any, **__: Any) -> str:
        calls.append(record.case)
        return "x"

    monkeypatch.setattr("conformance.run.reproduce.script", counted)
    for implementation, count in ((EXACT, 0), (WRONG, 1)):
        runner = Runner(processes=ProcessOptions(in_process=True))
        record = runner.run(cell_of(CASE, implementation, "cpu"))
        runner.close()
        assert len(calls) == count
        assert record.reproduce == "x" * count


@pytest.mark.parametrize(("text", "is_written"), [("x" * 20_000, True), ("x" * 20_001, False), ("é" * 10_001, False)])
def test_a_script_that_is_too_long_is_left_out(text: str, is_written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.run.reproduce.script", lambda *_, **__: text)
    runner = Runner(processes=ProcessOptions(in_process=True))
    assert bool(runner.run(cell_of(CASE, WRONG, "cpu")).reproduce) is is_written
    runner.close()


def test_a_fault_in_writing_a_script_does_not_change_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise KeyError("planted")

    monkeypatch.setattr("conformance.run.reproduce.script", fails)
    runner = Runner(processes=ProcessOptions(in_process=True))
    record = runner.run(cell_of(CASE, WRONG, "cpu"))
    runner.close()
    assert record.outcome == "violates"
    assert record.reproduce == "# No script could be written: KeyError('planted')\n"
