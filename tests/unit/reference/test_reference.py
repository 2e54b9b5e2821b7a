"""The reference is exact to what it says, never rejects a right layer, and its bounds are no wider than stated."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from conformance.reference import Reference, answer
from conformance.reference.enclosure import Enclosure
from conformance.reference.lanes.draws import Draw, NoDraw, as_matrix, draws
from conformance.table.case import ACTIVATIONS, Case, Layer
from tests.support.numpy_activations import BACKWARD, FORWARD

U = 2.0**-24


def case_of(input_shape: tuple[int, ...], units: list[int], activations: list[str]) -> Case:
    layers = tuple(Layer(units=m, activation=each) for m, each in zip(units, activations, strict=True))
    return Case(input_shape=input_shape, layers=layers)


def within(got: np.ndarray, enclosure: Enclosure) -> None:
    assert got.shape == enclosure.exact.shape
    error = np.abs(got.astype(np.float64) - enclosure.exact)
    assert (error <= enclosure.allowed).all(), float((error - enclosure.allowed).max())


def in_fractions(draw: Draw) -> list[list[Fraction]]:
    """Return x·W + b of a single layer in exact arithmetic."""
    x, kernel, bias = as_matrix(draw.x), draw.kernels[0], draw.biases[0]
    assert bias is not None
    return [
        [
            sum((Fraction(float(a)) * Fraction(float(w)) for a, w in zip(row, column, strict=True)), Fraction(float(b)))
            for column, b in zip(kernel.T, bias, strict=True)
        ]
        for row in x
    ]


def test_the_reference_agrees_with_exact_fractions_within_its_own_share_of_the_bound() -> None:
    draw = draws(case_of((50,), [4], ["linear"]))[0]
    y = answer(draw, ["linear"], "float32").y
    exact = in_fractions(draw)
    for index in np.ndindex(y.exact.shape):
        assert (
            abs(Fraction(float(y.exact[index])) - exact[index[0]][index[1]]) < Fraction(float(y.allowed[index])) / 10**6
        )


def test_the_bound_of_one_layer_is_the_formula_of_the_docstring() -> None:
    draw = draws(case_of((50,), [4], ["linear"]))[0]
    bias = draw.biases[0]
    assert bias is not None
    x, kernel = as_matrix(draw.x).astype(np.float64), draw.kernels[0].astype(np.float64)
    y = x @ kernel + bias
    magnitude = np.abs(x) @ np.abs(kernel) + np.abs(bias)
    sums = U * (1 + U) ** 50 * (magnitude + 50 * (magnitude + np.abs(y)) / 2)
    formula = sums + U * (np.abs(y) + sums)
    allowed = answer(draw, ["linear"], "float32").y.allowed
    assert np.allclose(allowed, formula, rtol=1e-6, atol=0.0)
    assert (allowed >= formula).all()


def test_on_the_exact_lane_nothing_is_allowed() -> None:
    case = replace(case_of((4, 6), [5, 3], ["relu", "linear"]), lane="exact")
    for draw in draws(case):
        reference = answer(draw, ["relu", "linear"], "float32")
        assert reference.line == "exact"
        assert all(not each.allowed.any() for each in enclosures(reference))


def enclosures(reference: Reference) -> list[Enclosure]:
    kernels = [kernel for kernel, _ in reference.layers]
    biases = [bias for _, bias in reference.layers if bias is not None]
    return [reference.y, reference.dx, *kernels, *biases]


def run_in_float32(
    draw: Draw, activations: list[str]
) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Return y, dx and the gradients of every layer of an honest float32 implementation, by plain loops over terms."""
    a = as_matrix(draw.x)
    trail = []
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        assert bias is not None
        z = serial(a, kernel) + bias
        y = FORWARD[activation](z)
        trail.append((a, z, y))
        a = y
    da = as_matrix(draw.dy)
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    for (x, z, y), kernel, activation in zip(
        reversed(trail), reversed(draw.kernels), reversed(activations), strict=True
    ):
        dz = BACKWARD[activation](z, y, da)
        layers.insert(0, (serial(x.T, dz), serial(np.ones((1, len(dz)), np.float32), dz)[0]))
        da = serial(dz, kernel.T)
    return a, da, layers


def serial(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the product, summed one term after the other: the order with the largest errors."""
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for term in range(left.shape[1]):
        total = total + left[:, term, None] * right[None, term]
    return total


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    units=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    data=st.data(),
)
def test_an_honest_float32_implementation_is_never_rejected(
    shape: list[int], units: list[int], data: st.DataObject
) -> None:
    activations = [data.draw(st.sampled_from(ACTIVATIONS)) for _ in units]
    try:
        draw = draws(case_of(tuple(shape), units, activations))[0]
    except NoDraw:
        reject()  # such as an exponential of an exponential
    reference = answer(draw, activations, "float32")
    y, dx, layers = run_in_float32(draw, activations)
    within(y.reshape(reference.y.exact.shape), reference.y)
    within(dx.reshape(reference.dx.exact.shape), reference.dx)
    for (dkernel, dbias), (kernel, bias) in zip(layers, reference.layers, strict=True):
        assert bias is not None
        within(dkernel, kernel)
        within(dbias, bias)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradients_are_those_of_the_function(activation: str) -> None:
    """dx, dW and db agree with central differences of the reference's own forward, in float64."""
    case = case_of((3, 4), [5, 2], [activation, activation])
    draw = next(each for each in draws(case))
    reference = answer(draw, [activation] * 2, "float32")
    step = 1e-6

    def total(changed: Draw) -> float:
        return float((answer(changed, [activation] * 2, "float32").y.exact * changed.dy).sum())

    def difference(changed: np.ndarray, index: tuple[int, ...], make: object) -> float:
        values = []
        for sign in (1, -1):
            moved = changed.astype(np.float64)
            moved[index] += sign * step
            values.append(total(make(moved)))  # type: ignore[operator]
        return (values[0] - values[1]) / (2 * step)

    for index in ((0, 0, 0), (1, 2, 3)):
        slope = difference(draw.x, index, lambda moved: replace(draw, x=moved))
        assert slope == pytest.approx(reference.dx.exact[index], rel=1e-6, abs=1e-7)
    for index in ((0, 0), (4, 1)):  # type: ignore[assignment]
        slope = difference(draw.kernels[1], index, lambda moved: replace(draw, kernels=(draw.kernels[0], moved)))
        assert slope == pytest.approx(reference.layers[1][0].exact[index], rel=1e-6, abs=1e-7)
    bias = reference.layers[0][1]
    assert bias is not None
    assert draw.biases[0] is not None
    slope = difference(draw.biases[0], (2,), lambda moved: replace(draw, biases=(moved, draw.biases[1])))
    assert slope == pytest.approx(bias.exact[2], rel=1e-6, abs=1e-7)


def test_both_sides_of_a_kink_are_allowed() -> None:
    one = np.ones((1, 1), np.float32)
    draw = Draw(name="", x=one, kernels=(one,), biases=(-np.ones(1, np.float32),), dy=one, exact=False)
    dx = answer(draw, ["relu"], "float32").dx
    for side in (0.0, 1.0):
        within(np.array([[side]]), dx)
    assert float(dx.allowed[0, 0]) < 1.01


def test_of_no_terms_nothing_is_allowed() -> None:
    """Zero features give exactly the bias, zero positions exactly zero gradients."""
    features = replace(case_of((0,), [3], ["linear"]))
    reference = answer(draws(features)[0], ["linear"], "float32")
    assert not reference.y.allowed.any()
    positions = answer(draws(replace(case_of((0, 4), [3], ["linear"])))[0], ["linear"], "float32")
    assert not positions.layers[0][0].exact.any()
    assert not positions.layers[0][0].allowed.any()


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softmax"])
def test_a_declared_activation_names_its_line(activation: str) -> None:
    draw = draws(case_of((3,), [4], [activation]))[0]
    assert answer(draw, [activation], "float32").line == "declared"
    assert answer(draws(case_of((3,), [4], ["relu"]))[0], ["relu"], "float32").line == "proven"


@pytest.mark.parametrize("ulps", [4.0, 14.0])
def test_the_contract_of_tanh_separates_what_it_allows_from_what_it_does_not(ulps: float) -> None:
    """An identity kernel hands z through without error, so that the contract alone is at work."""
    z = np.linspace(0.5, 4.0, 50, dtype=np.float32).reshape(-1, 1)
    draw = Draw(name="", x=z, kernels=(np.ones((1, 1), np.float32),), biases=(None,), dy=np.ones_like(z), exact=False)
    y = answer(draw, ["tanh"], "float32").y
    off = y.exact + ulps * 2 * U * np.abs(y.exact)
    assert bool((np.abs(off - y.exact) <= y.allowed).all()) == (ulps < 5)
