"""Arrays that a layer received or returned do not change: each fault here shows in one check, and in no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.protocol import Dense, Stack
from conformance.checks.references import question
from conformance.sandbox.execution import perform
from conformance.sandbox.side_effects import Operands, Results
from conformance.sandbox.steps import Build, Forward, Output, SetWeights, Transcript
from conformance.table.case import Case, Layer
from tests.power.faults import EVERY
from tests.support.fault_matrix import CaseQuestion, red_checks
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import verdict_of

CASE = Case(input_shape=(3, 5), layers=(Layer(units=4),), lane="exact")


@pytest.mark.parametrize("lane", ["exact", "uniform"])
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("ReusesOutputBuffer", "results_unchanged"),
        ("ReusesGradientBuffers", "results_unchanged"),
        ("WritesSparseInput", "operands_unchanged"),
        ("WritesSparseUpstream", "operands_unchanged"),
        ("WritesSparseWeights", "operands_unchanged"),
    ],
)
def test_a_fault_that_no_value_shows_is_found(fault: str, check: str, lane: str) -> None:
    case = replace(CASE, lane=lane)
    asked = CaseQuestion(case=case, question=question(case, "cpu"))
    assert red_checks(EVERY[fault].make(), asked) == {check}
    assert red_checks(NumPyAdapter(Honest()), asked) == frozenset()


def test_the_message_names_the_step_and_the_arrays() -> None:
    replies = {each.label: each for each in perform(EVERY["WritesSparseUpstream"].make(), question(CASE, "cpu").steps)}
    verdict = verdict_of(CASE, Transcript(replies=replies))
    messages = {str(each["check"]): each.get("message") for each in verdict.checks}
    assert messages["operands_unchanged"] == "gradients, dy strided changed dy, which it received"


def test_weights_are_compared_until_the_step_that_replaces_them() -> None:
    def stack(number: float) -> Stack:
        kernel = np.full((1, 1), number, np.float32)
        layer = Dense(units=1, use_bias=False, activation="linear", kernel=kernel, bias=None)
        return Stack(input_shape=(1,), leading_axes=1, dtype="float32", layers=(layer,))

    operands = Operands()
    build = Build(label="build", stack=stack(1.0), device="cpu")
    first = operands.stack(build).layers[0].kernel
    assert first is not None
    assert first is operands.stack(build).layers[0].kernel, "steps that share an array share its copy"
    assert operands.changed(build) == ()
    replaced = SetWeights(label="new", stack=stack(2.0))
    operands.stack(replaced)
    first[...] = 0
    assert operands.changed(replaced) == ("kernel of layer 0",)
    forward = Forward(label="output", x=np.ones((1, 1), np.float32))
    assert operands.changed(forward) == (), "the model no longer has these weights, and x was not passed"
    operands.arranged(forward.x, "contiguous")[...] = np.nan
    assert operands.changed(forward) == ("x",)


def test_the_first_result_of_a_kind_is_compared_byte_for_byte() -> None:
    results = Results()
    y = np.zeros(2)
    results.add(Output(y=y, placement="cpu", strides=None))
    other = np.zeros(2)
    results.add(Output(y=other, placement="cpu", strides=None))
    other[...] = 1
    assert results.changed() == ()
    y[0] = -0.0
    assert results.changed() == ("y",)
    assert results.changed() == (), "each change counts once"


@pytest.mark.parametrize("size", [1, 2**15 + 1])
def test_arrays_of_any_size_are_compared_to_their_last_byte(size: int) -> None:
    results = Results()
    y = np.full(size, np.nan, np.float16)
    results.add(Output(y=y, placement="cpu", strides=None))
    assert results.changed() == ()
    y.view(np.uint8)[-1] ^= 1
    assert results.changed() == ("y",)
