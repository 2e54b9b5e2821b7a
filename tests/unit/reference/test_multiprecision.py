"""The reference for float64 is exact far beyond it, never rejects a right layer, and sees float32 wherever it hides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from conformance.reference import Reference, answer
from conformance.reference.draw import Draw, NoDraw, as_matrix
from conformance.reference.enclosure import Enclosure
from conformance.reference.lanes.draws import draws
from conformance.reference.multiprecision import Split, solve
from conformance.table.case import ACTIVATIONS, Case, Layer
from tests.support.numpy_activations import BACKWARD, FORWARD

Array = np.ndarray
#: What two float64 hold of a number, and a little less.
RELATIVE = Fraction(1, 2**100)


def case_of(input_shape: tuple[int, ...], units: list[int], activations: list[str], **fields: object) -> Case:
    layers = tuple(Layer(units=m, activation=each) for m, each in zip(units, activations, strict=True))
    return replace(Case(input_shape=input_shape, layers=layers, dtype="float64"), **fields)  # type: ignore[arg-type]


def fractions(array: Array) -> Any:
    return np.vectorize(lambda number: Fraction(float(number)), otypes=[object])(array)


def check_split(split: Split, exact: Any) -> None:
    assert split.high.shape == exact.shape
    for index in np.ndindex(exact.shape):
        found = Fraction(float(split.high[index])) + Fraction(float(split.low[index]))
        assert abs(found - exact[index]) <= abs(exact[index]) * RELATIVE
        assert abs(split.low[index]) <= 2.0**-53 * abs(split.high[index])


@pytest.mark.parametrize("activations", [["linear", "linear"], ["relu", "linear"]])
def test_a_stack_agrees_with_exact_fractions(activations: list[str]) -> None:
    draw = draws(case_of((2, 11), [5, 3], activations))[0]
    a, solution = fractions(as_matrix(draw.x)), solve(draw, activations)
    inputs, pre = [], []
    for layer, (kernel, bias) in enumerate(zip(draw.kernels, draw.biases, strict=True)):
        assert bias is not None
        inputs.append(a)
        pre.append(a @ fractions(kernel) + fractions(bias))
        a = pre[-1] if activations[layer] == "linear" else pre[-1] * (pre[-1] > 0)
        check_split(solution.z[layer], pre[-1])
        check_split(solution.y[layer], a)
    da = fractions(as_matrix(draw.dy))
    for layer in (1, 0):
        dz = da if activations[layer] == "linear" else da * (pre[layer] > 0)
        check_split(solution.dkernel[layer], inputs[layer].T @ dz)
        check_split(solution.dbias[layer], dz.sum(axis=0, keepdims=True))
        da = dz @ fractions(draw.kernels[layer]).T
        check_split(solution.dx[layer], da)


def serial(left: Array, right: Array) -> Array:
    """Return the product, summed one term after the other in the dtype: the order with the largest errors."""
    total = np.zeros((left.shape[0], right.shape[1]), left.dtype)
    for term in range(left.shape[1]):
        total = total + left[:, term, None] * right[None, term]
    return total


def run(draw: Draw, activations: list[str]) -> list[Array]:
    """Return y, dx, and dW and db of every layer, by plain loops in the dtype of the draw."""
    a = as_matrix(draw.x)
    trail = []
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        assert bias is not None
        z = serial(a, kernel) + bias
        y = np.asarray(FORWARD[activation](z))
        trail.append((a, z, y))
        a = y
    found = [a]
    da = as_matrix(draw.dy)
    for (x, z, y), kernel, activation in zip(
        reversed(trail), reversed(draw.kernels), reversed(activations), strict=True
    ):
        dz = np.asarray(BACKWARD[activation](z, y, da))
        found += [serial(x.T, dz), serial(np.ones((1, len(dz)), dz.dtype), dz)[0]]
        da = serial(dz, kernel.T)
    return [*found, da]


def enclosures(reference: Reference) -> list[Enclosure]:
    pairs = [each for pair in reversed(reference.layers) for each in pair if each is not None]
    return [reference.y, *pairs, reference.dx]


def margins(found: list[Array], reference: Reference) -> list[float]:
    """Return the largest error over the allowed for y, and for dW and db of every layer from the last on, and dx."""
    ratios = []
    for got, each in zip(found, enclosures(reference), strict=True):
        error = each.error(got.astype(np.float64).reshape(each.exact.shape))
        # Below the kink of relu nothing is allowed, and an error of nothing needs nothing.
        ratios.append(np.divide(error, each.allowed, out=np.where(error > 0.0, np.inf, 0.0), where=each.allowed > 0.0))
    return [float(each.max()) for each in ratios]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 10), min_size=1, max_size=2),
    units=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    data=st.data(),
)
def test_an_honest_float64_implementation_is_never_rejected(
    shape: list[int], units: list[int], data: st.DataObject
) -> None:
    activations = [data.draw(st.sampled_from(ACTIVATIONS)) for _ in units]
    try:
        draw = draws(case_of(tuple(shape), units, activations))[0]
    except NoDraw:
        reject()
    assert max(margins(run(draw, activations), answer(draw, activations, "float64"))) <= 1.0


def as_dtype(draw: Draw, dtype: type[np.generic]) -> Draw:
    return replace(
        draw,
        x=draw.x.astype(dtype),
        kernels=tuple(each.astype(dtype) for each in draw.kernels),
        biases=tuple(None if each is None else each.astype(dtype) for each in draw.biases),
        dy=draw.dy.astype(dtype),
    )


def in_float32(draw: Draw, activations: list[str]) -> list[Array]:
    return [each.astype(np.float64) for each in run(as_dtype(draw, np.float32), activations)]


def through_float32(draw: Draw, activations: list[str]) -> list[Array]:
    return [each.astype(np.float32).astype(np.float64) for each in run(draw, activations)]


@pytest.mark.parametrize("wrong", [in_float32, through_float32])
@pytest.mark.parametrize("activations", [["linear"], ["relu"], ["tanh", "linear"], ["softmax"], ["gelu"]])
def test_float32_in_disguise_is_rejected(
    wrong: Callable[[Draw, list[str]], list[Array]], activations: list[str]
) -> None:
    units = [16, 8][: len(activations)]
    for draw in draws(case_of((64,), units, activations)):
        reference = answer(draw, activations, "float64")
        assert min(margins(wrong(draw, activations), reference)) > 1000.0
        assert max(margins(run(draw, activations), reference)) <= 1.0


def test_the_tail_decides() -> None:
    """1/3 as two float64: an answer is as far off as it is from their sum, not from the first of them."""
    third = Fraction(1, 3)
    high = float(third)
    low = float(third - Fraction(high))
    enclosure = Enclosure(exact=np.array([high]), allowed=np.array([2.0**-60]), tail=np.array([low]))
    assert float(enclosure.error(np.array([high]))[0]) == abs(low) > 0.0
    turned = Enclosure(exact=np.array([[high]]), allowed=np.array([[0.0]]), tail=np.array([[low]])).transposed
    assert turned.reshape((1,)).error(np.array([high])).tolist() == [abs(low)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_an_exact_form(activation: str) -> None:
    """Which float64 agrees with, in the function and in its derivative."""
    draw = draws(case_of((7,), [5], [activation]))[0]
    solution = solve(draw, [activation])
    z = solution.z[0].high
    y = np.asarray(FORWARD[activation](z))
    assert np.allclose(solution.y[0].high, y, rtol=1e-11, atol=1e-14)
    dz = BACKWARD[activation](z, y, as_matrix(draw.dy))
    assert np.allclose(solution.dz[0].high, dz, rtol=1e-11, atol=1e-14)


def test_an_activation_without_an_exact_form_is_refused() -> None:
    draw = draws(case_of((3,), [4], ["linear"]))[0]
    with pytest.raises(NotImplementedError, match="float64 has no exact form of swish"):
        solve(draw, ["swish"])


def test_of_nothing_there_is_an_exact_answer_too() -> None:
    for shape, units in (((0,), [3]), ((0, 4), [3]), ((4,), [0])):
        draw = draws(case_of(shape, units, ["linear"]))[0]
        reference = answer(draw, ["linear"], "float64")
        assert reference.y.exact.shape == (*draw.x.shape[:-1], units[-1])
