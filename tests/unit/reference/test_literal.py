"""The lane `literal`: the numbers of a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.checks.references import question
from conformance.reference import answer
from conformance.reference.lanes.draws import NoDraw, draws
from conformance.table.case import Data, Expect, Layer
from tests.support.fault_matrix import CaseQuestion, red_checks
from tests.support.faulty_adapters import Exact
from tests.support.lanes import literal_of


def test_numbers_fill_arrays_and_arrays_are_those_of_the_row() -> None:
    data = Data(x=((1.0, 2.0), (3.0, 4.0)), kernels=(2.0,), biases=((0.5, 0.25, 0.1),), dy=7.0)
    literal, negated = draws(literal_of(data))
    assert literal.x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert literal.kernels[0].tolist() == [[2.0] * 3] * 2
    assert literal.biases[0] is not None
    assert literal.biases[0].tolist() == [0.5, 0.25, float(np.float32(0.1))]
    assert literal.dy.tolist() == [[7.0] * 3] * 2
    assert negated.name == "weights negated"
    assert (negated.kernels[0] == -literal.kernels[0]).all()
    assert negated.biases[0] is not None
    assert (negated.biases[0] == -literal.biases[0]).all()
    assert (negated.x == literal.x).all()


def test_a_stack_has_arrays_for_each_layer() -> None:
    data = Data(x=1.0, kernels=(2.0, ((1.0,), (2.0,), (3.0,))), biases=(None, 5.0))
    layers = (Layer(units=3, use_bias=False), Layer(units=1))
    draw = draws(replace(literal_of(data), layers=layers))[0]
    assert [each.shape for each in draw.kernels] == [(2, 3), (3, 1)]
    assert draw.biases[0] is None
    assert answer(draw, ["linear", "linear"], "float32").y.exact.tolist() == [[29.0], [29.0]]


@pytest.mark.parametrize(
    ("x", "activation", "exact"),
    [(3.0, "linear", True), (3.0, "tanh", False), (0.1, "linear", False), (2.0**24, "linear", False)],
)
def test_integers_whose_sums_fit_are_exact(x: float, activation: str, exact: bool) -> None:
    case = literal_of(Data(x=x, kernels=(2.0,), biases=(1.0,)), activation=activation)
    assert draws(case)[0].exact == exact


def test_a_dy_that_is_not_given_is_drawn_and_never_zero() -> None:
    first, second = (draws(literal_of(Data(x=x, kernels=(1.0,), biases=(1.0,))))[0].dy for x in (1.0, 2.0))
    assert (first > 0).all()
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize(("output", "red"), [(7.0, set()), (8.0, {"output"}), (np.nan, {"output"})])
def test_an_output_of_the_row_that_the_reference_contradicts_is_a_violation(output: float, red: set[str]) -> None:
    data = Data(x=2.0, kernels=(1.5,), biases=(1.0,))
    case = replace(literal_of(data), expect=Expect(output=output))
    assert red_checks(Exact(), CaseQuestion(case=case, question=question(case, "cpu"))) == red


@pytest.mark.parametrize(("x", "nonfinite"), [(np.inf, False), (1.0, True)])
def test_an_answer_is_finite_unless_the_row_declares_otherwise(x: float, nonfinite: bool) -> None:
    case = replace(literal_of(Data(x=x, kernels=(1.0,), biases=(0.0,))), expect=Expect(nonfinite=nonfinite))
    with pytest.raises(NoDraw, match="the answer is"):
        question(case, "cpu")
    assert question(replace(case, expect=Expect(nonfinite=not nonfinite)), "cpu").steps
