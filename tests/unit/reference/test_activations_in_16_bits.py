"""Activations in 16 bits are computed in float32 and rounded once; rounding each operation has to be declared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.reference import answer
from conformance.reference.enclosure import Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.formulas import activation_of
from conformance.reference.lanes.draws import as_matrix, draws
from conformance.table.case import ACTIVATIONS, EXACT_ACTIVATIONS, Case, Layer
from tests.support.deviations import deviation
from tests.support.numpy_activations import BACKWARD, FORWARD, STEP_BY_STEP, STEP_BY_STEP_BACKWARD

SHORT = ["float16", "bfloat16"]
ROUNDED = [each for each in ACTIVATIONS if each not in EXACT_ACTIVATIONS]


def exactly(numbers: Any) -> Enclosure:
    exact = np.asarray(numbers).astype(np.float64)
    return Enclosure(exact=exact, allowed=np.zeros_like(exact))


def margin(got: Any, enclosure: Enclosure) -> float:
    """Return the largest error over what is allowed."""
    return float((enclosure.error(np.asarray(got).astype(np.float64)) / enclosure.allowed).max())


def margins(name: str, dtype: str, z: Any, y: Any, dz: Any, dy: Any, functions_in: str | None = None) -> list[float]:
    """Return the margins of a value and a gradient at given pre-activations."""
    arithmetic, activation = Arithmetic(FORMATS[dtype], exact=False), activation_of(name, functions_in=functions_in)
    value = activation.forward(arithmetic, exactly(z))
    return [margin(y, value), margin(dz, activation.backward(arithmetic, exactly(z), value, exactly(dy)))]


def given(dtype: str) -> tuple[Any, Any]:
    """Return pre-activations from -9 to 9, 16 units at 64 positions, and upstream gradients of both signs."""
    random = np.random.Generator(np.random.Philox(3))
    form = FORMATS[dtype].dtype
    return np.linspace(-9.0, 9.0, 1024).reshape(64, 16).astype(form), random.uniform(-1.0, 1.0, (64, 16)).astype(form)


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("name", ROUNDED)
def test_what_is_computed_in_float32_and_rounded_once_is_right(name: str, dtype: str) -> None:
    z, dy = given(dtype)
    y = FORWARD[name](z)
    found = margins(name, dtype, z, y, BACKWARD[name](z, y, dy), dy)
    assert max(found) <= 1.0
    # One rounding of half a unit in the last place is what the bound is made of.
    assert found[0] > 0.4


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("name", ROUNDED)
def test_what_is_rounded_at_each_operation_is_right_where_it_is_declared(name: str, dtype: str) -> None:
    z, dy = given(dtype)
    y = STEP_BY_STEP[name](z)
    dz = STEP_BY_STEP_BACKWARD[name](z, y, dy)
    assert max(margins(name, dtype, z, y, dz, dy, functions_in=dtype)) <= 1.0
    # exp is a single operation, and so is tanh, whose derivative is formed from the rounded y by the rule as well.
    if name not in ("exponential", "tanh"):
        assert max(margins(name, dtype, z, y, dz, dy)) > 1.0


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize(("right", "wrong"), [("gelu", "gelu_tanh"), ("gelu_tanh", "gelu")])
def test_an_exchanged_gelu_is_wrong_and_so_is_one_that_is_0_below_minus_3(dtype: str, right: str, wrong: str) -> None:
    case = Case(input_shape=(5,), layers=(Layer(units=64, activation=right),), batch=16, dtype=dtype)
    draw = draws(case)[0]
    bias = draw.biases[0]
    assert bias is not None
    product = as_matrix(draw.x).astype(np.float64) @ draw.kernels[0].astype(np.float64)
    z = (product + bias.astype(np.float64)).astype(draw.x.dtype)
    y = answer(draw, [right], dtype).y
    assert margin(FORWARD[right](z), y) <= 1.0
    assert margin(FORWARD[wrong](z), y) > 1.5
    declared = answer(draw, [right], dtype, [deviation(functions_in="own").in_dtype(dtype)]).y
    assert margin(STEP_BY_STEP[right](z), declared) <= 1.0
    tail = z - z.dtype.type(2.0)
    clipped = np.where(tail < -3, tail.dtype.type(0), FORWARD[right](tail))
    value = activation_of(right).forward(Arithmetic(FORMATS[dtype], exact=False), exactly(tail))
    assert (np.asarray(tail) < -3).any()
    assert margin(clipped, value) > 100.0


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_terms_of_a_softmax_are_added_up_in_float32(name: str, dtype: str) -> None:
    """A sum kept in 16 bits is seen also where each operation may be rounded: it stays at 256 or 2,048."""
    z = np.tile(np.array([0.0, -0.125], FORMATS[dtype].dtype), (1, 4096))
    arithmetic = Arithmetic(FORMATS[dtype], exact=False)
    total = np.zeros((1, 1), z.dtype)
    shifted = z - z.max(axis=-1, keepdims=True)
    terms = np.exp(shifted)
    for column in range(z.shape[1]):
        total = (total.astype(np.float32) + terms[:, column : column + 1].astype(np.float32)).astype(z.dtype)
    wrong = terms / total if name == "softmax" else shifted - np.log(total)
    for functions_in in (None, dtype):
        value = activation_of(name, functions_in=functions_in).forward(arithmetic, exactly(z))
        assert margin(FORWARD[name](z), value) <= 1.0
        assert margin(wrong, value) > 2.0


def test_on_the_exact_lane_nothing_is_rounded() -> None:
    free = Arithmetic(FORMATS["float16"], exact=True)
    z = exactly([[0.25, -0.5]])
    assert float(activation_of("tanh").forward(free, z).allowed.max()) < 2.0**-50
