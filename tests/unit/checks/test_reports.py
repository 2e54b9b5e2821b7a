"""What a framework reports is looked at at every batch size, in every layout and after the weights were replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.references import question
from conformance.sandbox.steps import InferShapes, ReadParameters
from conformance.table.case import Case, Layer
from tests.power.faults import EVERY
from tests.support.fault_matrix import CaseQuestion, red_checks

CASE = Case(input_shape=(3, 5), layers=(Layer(units=4),), lane="exact", dtype="float16")


@pytest.mark.parametrize("lane", ["exact", "uniform"])
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("Float64WhereStrided", "output_dtype"),
        ("Float64AfterReplacement", "output_dtype"),
        ("FreezesOnReplacement", "parameters"),
        ("LosesKnownBatch", "output_shape"),
    ],
)
def test_a_fault_after_the_first_report_is_found(fault: str, check: str, lane: str) -> None:
    case = replace(CASE, lane=lane)
    assert red_checks(EVERY[fault].make(), CaseQuestion(case=case, question=question(case, "cpu"))) == {check}


def test_shapes_are_inferred_for_the_batch_of_the_row_and_parameters_read_twice() -> None:
    steps = question(replace(CASE, batch=7), "cpu").steps
    assert [each.batch for each in steps if isinstance(each, InferShapes)] == [7, None]
    assert [each.label for each in steps if isinstance(each, ReadParameters)] == [
        "parameters",
        "parameters, new weights",
    ]
    assert not any(isinstance(each, InferShapes) for each in question(replace(CASE, batch=(2, 3)), "cpu").steps)
