"""Formulas of activations beside the rule's: a right implementation is within the bounds, and wrong ones are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from conformance.reference.enclosure import Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.formulas import activation_of

Array = np.ndarray
A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
Z = np.concatenate([np.linspace(-9.0, 9.0, 4001), [-1e-300, 1e-300, 40.0, -40.0]])


def gelu(z: Array, coefficients: tuple[float, ...] = A) -> tuple[Array, Array]:
    """Return gelu by the erf of Hastings in float64, as tinygrad computes it, and its slope term by term."""
    x = z / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    q, slope_of_q = np.zeros_like(t), np.zeros_like(t)
    for a in reversed(coefficients):
        slope_of_q = slope_of_q * t + q
        q = q * t + a
    slope_of_q = slope_of_q * t + q  # of t q
    density = np.exp(-np.square(x))
    erf = np.sign(x) * (1.0 - t * q * density)
    slope = slope_of_q * 0.3275911 * np.square(t) * density + t * q * density * 2.0 * np.abs(x)
    return z * 0.5 * (1.0 + erf), 0.5 * (1.0 + erf) + z * 0.5 * slope / math.sqrt(2.0)


def by_erf(z: Array) -> tuple[Array, Array]:
    erf = np.vectorize(math.erf)(z / math.sqrt(2.0))
    return z / 2.0 * (1.0 + erf), (1.0 + erf) / 2.0 + z * np.exp(-(z**2) / 2.0) / math.sqrt(2.0 * math.pi)


def margins(values: tuple[Array, Array]) -> tuple[float, float]:
    """Return the largest error of value and slope over what the formula allows."""
    arithmetic = Arithmetic(FORMATS["float64"], exact=False)
    formula, z = activation_of("gelu", "erf_of_hastings"), Enclosure(exact=Z, allowed=np.zeros_like(Z))
    one = Enclosure(exact=np.ones_like(Z), allowed=np.zeros_like(Z))
    y = formula.forward(arithmetic, z)
    found = (y, formula.backward(arithmetic, z, y, one))
    value, slope = (
        float((np.abs(got - each.exact) / each.allowed).max()) for got, each in zip(values, found, strict=True)
    )
    return value, slope


def test_gelu_by_the_erf_of_hastings_is_within_its_bounds() -> None:
    value, slope = margins(gelu(Z))
    assert 0.0 < value < 1.0
    assert 0.0 < slope < 1.0


@pytest.mark.parametrize(
    "values",
    [
        by_erf(Z),
        gelu(Z, (*A[:4], A[4] * (1.0 + 1e-9))),
        tuple(1.04 * each for each in gelu(Z)),
        tuple(each.astype(np.float32).astype(np.float64) for each in gelu(Z)),
    ],
    ids=["the right erf", "a coefficient that is off by 1e-9", "4 % off", "in float32"],
)
def test_what_is_not_that_formula_is_outside(values: tuple[Array, Array]) -> None:
    value, slope = margins(values)
    assert value > 1.0
    assert slope > 1.0
