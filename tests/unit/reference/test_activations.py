"""Each activation is the one that is pinned: its wrong twin is rejected, and so is a little more than its contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance.reference import answer
from conformance.reference.activations.basic import ACTIVATIONS as ENCLOSURES
from conformance.reference.enclosure import DECLARED_ULPS, Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import as_matrix, draws
from conformance.table.case import ACTIVATIONS, EXACT_ACTIVATIONS, Case, Layer
from tests.support.numpy_activations import BACKWARD, FORWARD, of

U = 2.0**-24
FLOAT32 = Arithmetic(FORMATS["float32"], exact=False)


def leaky(z: Any) -> Any:
    return np.where(z > 0, z, of(z, 0.2) * z)


def leaky_back(z: Any, y: Any, dy: Any) -> Any:
    return dy * np.where(z > 0, of(z, 1), of(z, 0.2))


def hard(z: Any) -> Any:
    return np.clip(of(z, 0.2) * z + of(z, 0.5), of(z, 0), of(z, 1))


def hard_back(z: Any, y: Any, dy: Any) -> Any:
    return dy * np.where(np.abs(z) < of(z, 2.5), of(z, 0.2), of(z, 0))


#: What is mistaken for what: forward and backward of the wrong one.
TWINS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "leaky_relu, slope 0.2": (leaky, leaky_back),
    "hard_sigmoid, slope 0.2": (hard, hard_back),
    **{
        f"{right}, {wrong}": (FORWARD[wrong], BACKWARD[wrong])
        for right, wrong in (
            ("gelu", "gelu_tanh"),
            ("gelu_tanh", "gelu"),
            ("selu", "elu"),
            ("elu", "selu"),
            ("silu", "gelu"),
            ("gelu", "silu"),
            ("softplus", "relu"),
            ("softsign", "tanh"),
            ("log_softmax", "softmax"),
            ("softmax", "log_softmax"),
            ("hard_sigmoid", "sigmoid"),
            ("exponential", "softplus"),
            ("leaky_relu", "relu"),
            ("elu", "relu"),
        )
    },
}


def of_row(activation: str, dtype: str = "float32") -> Case:
    """Return the row of `cases/activations.yaml`: 64 units on 5 features, 16 positions."""
    return Case(input_shape=(5,), layers=(Layer(units=64, activation=activation),), batch=16, dtype=dtype)


def pre_activations(case: Case) -> tuple[Any, Any]:
    """Return z, rounded from float64, and dy, of the case's first draw."""
    draw = draws(case)[0]
    assert draw.biases[0] is not None
    z = as_matrix(draw.x).astype(np.float64) @ draw.kernels[0].astype(np.float64) + draw.biases[0].astype(np.float64)
    return z.astype(draw.x.dtype), as_matrix(draw.dy)


def outside(got: Any, enclosure: Enclosure) -> int:
    """Return how many elements are rejected."""
    error = enclosure.error(np.asarray(got).astype(np.float64).reshape(enclosure.exact.shape))
    return int((~(error <= enclosure.allowed)).sum())


def test_every_activation_has_an_enclosure_a_formula_and_a_twin() -> None:
    assert set(ACTIVATIONS) == set(ENCLOSURES) == set(FORWARD) == set(BACKWARD)
    assert {each.split(",")[0] for each in TWINS} == set(ACTIVATIONS) - {"linear", "relu", "sigmoid", "tanh"}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("activation", [each for each in ACTIVATIONS if each not in EXACT_ACTIVATIONS])
def test_the_honest_one_is_accepted_in_every_dtype(activation: str, dtype: str) -> None:
    case = of_row(activation, dtype)
    z, dy = pre_activations(case)
    reference = answer(draws(case)[0], [activation], dtype)
    assert outside(FORWARD[activation](z), reference.y) == 0
    dz = BACKWARD[activation](z, FORWARD[activation](z), dy)
    bias = reference.layers[0][1]
    assert bias is not None
    assert outside(dz.astype(np.float64).sum(axis=0).astype(dz.dtype), bias) == 0


@pytest.mark.parametrize("twin", TWINS)
def test_the_wrong_twin_is_rejected(twin: str) -> None:
    activation = twin.split(",")[0]
    case = of_row(activation)
    z, dy = pre_activations(case)
    reference = answer(draws(case)[0], [activation], "float32")
    forward, backward = TWINS[twin]
    assert outside(forward(z), reference.y) > 0
    bias = reference.layers[0][1]
    assert bias is not None
    assert outside(backward(z, forward(z), dy).sum(axis=0), bias) > 32


def exactly(z: Any) -> Enclosure:
    return Enclosure(exact=z.astype(np.float64), allowed=np.zeros(z.shape))


#: For each function with a contract: the activation that leans on it, where, and the multiple of u that is allowed.
CONTRACTS = {
    "exp": ("exponential", (-4.0, 4.0), 6.0),
    "expm1": ("elu", (-8.0, -5.0), 7.0),
    "log1p": ("softplus", (-8.0, 8.0), 11.0),
    "divide": ("softsign", (0.5, 8.0), 6.0),
    "tanh": ("gelu_tanh", (3.0, 4.0), 14.0),
    "erf": ("gelu", (4.0, 5.0), 36.0),
    "log": ("log_softmax", (-0.01, 0.01), None),
}


@pytest.mark.parametrize("function", CONTRACTS)
def test_a_contract_separates_what_it_allows_from_what_it_does_not(function: str) -> None:
    """z is given without error, so that the contract alone is at work."""
    activation, (low, high), units = CONTRACTS[function]
    z = np.linspace(low, high, 64, dtype=np.float32).reshape(4, 16)
    y = ENCLOSURES[activation].forward(FLOAT32, exactly(z))
    # log_softmax: exp, 16 terms, then log and the difference on log 16. All z are close, so that nothing else counts.
    allowed = U * (6.0 + 16.0 + 7.0 * math.log(16.0) if units is None else units * np.abs(y.exact))
    assert bool((0.99 * allowed <= y.allowed).all())
    assert bool((1.1 * allowed + 0.1 * U > y.allowed).all())
    assert 2.0 * DECLARED_ULPS["float32"][function] <= (units or 29.0)


def test_what_cancels_is_allowed_an_absolute_error_and_no_more() -> None:
    """At -5 gelu is -1.4e-6: 1 + erf has lost half its digits there, and 16 ulp of erf are eight of 1, times z."""
    z = np.full((1, 1), -5.0, np.float32)
    y = ENCLOSURES["gelu"].forward(FLOAT32, exactly(z))
    assert outside(y.exact + 16 * U * 5, y) == 0
    assert outside(y.exact + 19 * U * 5, y) == 1
    small = np.full((1, 1), -1e-4, np.float32)
    assert outside(np.exp(small) - np.float32(1), ENCLOSURES["elu"].forward(FLOAT32, exactly(small))) == 0
    assert outside(np.expm1(small) + 8 * U, ENCLOSURES["elu"].forward(FLOAT32, exactly(small))) == 1


@pytest.mark.parametrize(
    ("activation", "at", "sides"),
    [
        ("leaky_relu", 0.0, (0.01, 1.0)),
        ("selu", 0.0, (1.0507009873554805, 1.7580993408473766)),
        ("hard_sigmoid", 3.0, (0.0, 1.0 / 6.0)),
        ("hard_sigmoid", -3.0, (0.0, 1.0 / 6.0)),
    ],
)
def test_both_sides_of_a_kink_are_allowed(activation: str, at: float, sides: tuple[float, float]) -> None:
    function = ENCLOSURES[activation]
    one = np.ones((1, 1))
    for radius, accepted in ((1e-6, True), (0.0, True)):
        z = Enclosure(exact=at * one, allowed=radius * one)
        dz = function.backward(FLOAT32, z, function.forward(FLOAT32, z), exactly(one))
        assert [outside(np.array([[side]]), dz) == 0 for side in sides] == [accepted, accepted]
        middle = 1.02 * (abs(sides[1] - sides[0]) + 20 * U * max(sides))
        assert float(dz.allowed[0, 0]) < middle
    beyond = Enclosure(exact=(at + 0.01) * one, allowed=1e-6 * one)
    dz = function.backward(FLOAT32, beyond, function.forward(FLOAT32, beyond), exactly(one))
    assert sum(outside(np.array([[side]]), dz) for side in sides) == 1


@pytest.mark.parametrize("activation", [each for each in ACTIVATIONS if each not in ("softmax", "log_softmax")])
def test_an_enclosure_contains_the_function_of_every_member(activation: str) -> None:
    """Not to first order: radii of the size of the features of the function, and every member of them."""
    function = ENCLOSURES[activation]
    free = Arithmetic(FORMATS["float32"], exact=True)
    one = np.ones((1, 1))
    for middle in np.linspace(-5.0, 5.0, 41):
        for radius in (0.01, 0.3, 2.0):
            z = Enclosure(exact=middle * one, allowed=radius * one)
            y = function.forward(free, z)
            slope = function.backward(free, z, y, exactly(one))
            members = np.linspace(middle - radius, middle + radius, 101).reshape(-1, 1)
            inside = function.forward(free, exactly(members)).exact
            assert float(np.abs(inside - y.exact).max()) <= float(y.allowed[0, 0]) + 1e-14
            slopes = function.backward(free, exactly(members), exactly(inside), exactly(np.ones_like(members))).exact
            assert float(np.abs(slopes - slope.exact).max()) <= float(slope.allowed[0, 0]) + 1e-14


def test_log_softmax_contains_every_member_too() -> None:
    function = ENCLOSURES["log_softmax"]
    free = Arithmetic(FORMATS["float32"], exact=True)
    random = np.random.Generator(np.random.Philox(7))
    exact, dy = random.normal(size=(1, 5)), random.normal(size=(1, 5))
    z = Enclosure(exact=exact, allowed=np.full((1, 5), 0.5))
    y = function.forward(free, z)
    dz = function.backward(free, z, y, exactly(dy))
    for _ in range(200):
        member = exact + random.uniform(-0.5, 0.5, (1, 5))
        inside = function.forward(free, exactly(member))
        assert outside(inside.exact, y) == 0
        assert outside(function.backward(free, exactly(member), inside, exactly(dy)).exact, dz) == 0
