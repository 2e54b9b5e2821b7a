"""The symptom that a script shows follows from typed fields of a record, never from the text of its messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from conformance.adapters.registry import select
from conformance.checks.cell import cell_of
from conformance.checks.references import question
from conformance.results import CellRecord
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.reproduce.symptom import GradientName, NotReproducible, Symptom, symptom_of
from conformance.table.case import Case, Layer

CASE = Case(input_shape=(2, 4), layers=(Layer(units=3),), lane="exact")

#: Adapter with a planted fault, check, and the kind, the steps and the gradient of the symptom.
SYMPTOMS = [
    ("DropsBias", "output", "value", ("output",), None),
    ("DropsBias", "weights_read_back", "value", ("output, zero input",), None),
    ("GradientOfSum", "gradients", "gradient", ("gradients",), GradientName(name="dx")),
    ("StaleWeights", "weights_live", "value", ("output, kernel 0 wide",), None),
    ("Float64Output", "output_dtype", "dtype", ("output",), None),
    ("WrongInferredShape", "output_shape", "inferred", ("infer, batch 2",), None),
    ("FlattensInput", "output_shape", "inferred", ("infer, batch 2",), None),
    ("FlattensInput", "output", "shape", ("output",), None),
    ("MixesPositions", "positions_independent", "value", ("output", "positions as samples"), None),
    ("Unrepeatable", "repeatable", "value", ("output", "output once more"), None),
    ("WrongCount", "parameters", "parameters", ("parameters",), None),
]


def record_of(fault: str) -> CellRecord:
    (implementation,) = select([f"tests.support.faulty_adapters:{fault}"])
    runner = Runner(processes=ProcessOptions(in_process=True))
    record = runner.run(cell_of(CASE, implementation, "cpu"))
    runner.close()
    return record


def found_symptom(record: CellRecord, check: str) -> Symptom:
    return symptom_of(record, question(CASE, "cpu"), check)


def changed(record: CellRecord, **fields: Any) -> CellRecord:
    return msgspec.structs.replace(record, checks=[msgspec.structs.replace(each, **fields) for each in record.checks])


@pytest.mark.parametrize(("fault", "check", "kind", "steps", "gradient"), SYMPTOMS)
def test_every_finding_names_what_a_script_has_to_show(
    fault: str, check: str, kind: str, steps: tuple[str, ...], gradient: GradientName | None
) -> None:
    record = record_of(fault)
    symptom = found_symptom(record, check)
    assert (symptom.kind, symptom.steps, symptom.gradient) == (kind, steps, gradient)
    # Other words in the record change what a comment says and nothing else.
    other_words = found_symptom(changed(record, message="other words", where="elsewhere: db of layer 7"), check)
    assert replace(other_words, observed="") == replace(symptom, observed="")


@pytest.mark.parametrize("check", ["output", "gradients", "output_shape"])
def test_a_record_without_its_step_has_no_symptom(check: str) -> None:
    """Older results files have no steps."""
    record = record_of({"output": "DropsBias", "gradients": "GradientOfSum", "output_shape": "FlattensInput"}[check])
    with pytest.raises(NotReproducible):
        found_symptom(changed(record, step=None, gradient=None, layer=None), check)


def test_a_check_that_conforms_names_no_step() -> None:
    record = record_of("Exact")
    assert record.outcome == "conforms"
    assert not any(each.step or each.gradient for each in record.checks)
