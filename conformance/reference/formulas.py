"""
Activations by another formula than that of the rule, or with other constants, as some implementations compute them.

Each formula is an enclosure like those of `conformance.reference.activations.basic`: value and slope, with the largest
error of an implementation of this formula. The docstrings derive the errors. Notation: u is the unit roundoff, e(f) the
relative error that the contract of f allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from conformance.reference.activations.base import (
    Activation,
    ComputedIn,
    compounded,
    ends,
    smallest_magnitude,
    times_slope,
)
from conformance.reference.activations.basic import ACTIVATIONS, Sigmoid, Tanh
from conformance.reference.activations.piecewise import ExponentialLinear, HardSigmoid, LeakyRelu
from conformance.reference.activations.smooth import Gelu, GeluTanh, Silu, Softplus
from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64
from conformance.reference.formats import FORMATS


def activation_of(
    name: str,
    formula: str | None = None,
    constants: Mapping[str, float] | None = None,
    functions_in: str | None = None,
) -> Activation:
    """
    Return the enclosure of an activation.

    Args:
        name: the activation.
        formula: another formula of it, by its name in `FORMULAS`.
        constants: other constants, by name; those that the activation does not have are ignored.
        functions_in: the format in which its operations are rounded, if it is not that of the rule.

    Raises:
        KeyError: the activation has no such formula.
    """
    factory, own = CONSTANTS.get(name, (lambda: ACTIVATIONS[name], ()))
    factory = factory if formula is None else FORMULAS[name, formula]
    activation = factory(**{each: number for each, number in (constants or {}).items() if each in own})
    if not activation.rounds:
        return activation
    return ComputedIn(activation, None if functions_in is None else FORMATS[functions_in])


def _hull(one: Enclosure, other: Enclosure, where: np.ndarray) -> Enclosure:
    """Return `one`, and where a condition holds the enclosure of both."""
    low = np.minimum(one.exact - one.allowed, other.exact - other.allowed)
    high = np.maximum(one.exact + one.allowed, other.exact + other.allowed)
    exact = np.where(where, (low + high) / 2.0, one.exact)
    allowed = np.where(where, (high - low) / 2.0 * (1.0 + 4.0 * U64) + 4.0 * U64 * np.abs(exact), one.allowed)
    return Enclosure(exact=exact, allowed=allowed)


def _chosen(where: np.ndarray, one: Enclosure, other: Enclosure) -> Enclosure:
    return Enclosure(exact=np.where(where, one.exact, other.exact), allowed=np.where(where, one.allowed, other.allowed))


class _SlopeFromOutput(ExponentialLinear):
    """
    elu or selu whose slope depends on the sign of the output y; in the rule it depends on the sign of z.

    For a small negative z, exp(z) - 1 is rounded to 0, and the slope is that above 0. exp(z) is within e(exp) + u of 1
    there, so that this is possible down to z = -2 (e(exp) + 2u).
    """

    def _kink(self, arithmetic: Arithmetic) -> float:
        return -2.0 * (arithmetic.ulps("exp") + 2.0 * arithmetic.u)


class _BothSidesDifferentiated(ExponentialLinear):
    """
    elu or selu by a choice between two branches, both of which are differentiated.

    Where exp(z) overflows, the other branch has an infinite slope, and 0 times infinity is NaN.
    """

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        right = super().backward(arithmetic, z, y, dy)
        return _after_overflow(arithmetic, z, right, np.nan)


class _DifferenceOfRelus(_BothSidesDifferentiated):
    """
    elu as relu(z) - α relu(1 - exp(z)), both of which are differentiated.

    For a small z <= 0, 1 - exp(z) is rounded to 0, where the slope of relu is 0, and so is that of the sum. This is
    possible down to the same z as in `_SlopeFromOutput`.
    """

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        right = super().backward(arithmetic, z, y, dy)
        flat = Enclosure(exact=np.zeros_like(right.exact), allowed=np.zeros_like(right.exact))
        low, high = ends(z)
        return _hull(right, flat, (low <= 0.0) & (high >= -2.0 * (arithmetic.ulps("exp") + 2.0 * arithmetic.u)))


class _GeluOfHastings(Gelu):
    """
    z/2 (1 + H(x)), x = z/√2, where H is the approximation of erf by Hastings; the slope is that of this formula.

    H(x) = ±(1 - q(t) exp(-x²)) with t = 1 / (1 + p|x|) and q(t) = Σ aₖ tᵏ, k = 1 .. 5 (Abramowitz and Stegun, 7.1.26).
    t has 4 roundings and a quotient, so that a term of q has an error of 5 (4u + e(divide)) and at most 12u more. exp
    has an error of e(exp), and of 4u x² from its argument, where x² exp(-x²) <= 0.37. So the error of H is at most
    (34u + 5 e(divide) + e(exp)) Σ|aₖ|, and that of Φ half as much, in addition to what the rule allows for x.

    The slope is (1 + H)/2 + z H'(x) / √8, H' = (q' p t² + 2|x| q) exp(-x²). With |x| exp(-x²) <= 0.43 and
    x² exp(-x²) <= 0.37 the sum of the magnitudes is at most Σ|aₖ| (0.07k + 0.87) + 1, with up to 20 more roundings. A
    relative error δ of x changes the slope by at most δ, since |z gelu''(z)| <= 1. Slope and second derivative of H
    differ from those of erf by at most 1e-6, except for a step of 1e-9 at 0, since Σ aₖ is not 1.
    """

    _P: Final = 0.3275911
    _A: Final = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        right = super().forward(arithmetic, z)
        own = self._error(arithmetic, 34.0) * sum(map(abs, self._A))
        allowed = right.allowed + z.largest * own / 2.0 + 1e-6 * z.allowed
        return Enclosure(exact=z.exact / 2.0 * (1.0 + self._erf(z.exact * math.sqrt(0.5))[0]), allowed=allowed)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        erf, slope_of_erf = self._erf(z.exact * math.sqrt(0.5))
        slope = (1.0 + erf) / 2.0 + z.exact * slope_of_erf / math.sqrt(8.0)
        magnitude = sum(abs(a) * (0.07 * k + 0.87) for k, a in enumerate(self._A, start=1)) + 1.0
        own = self._error(arithmetic, 54.0) * magnitude + compounded(arithmetic, self._argument(arithmetic))
        step = np.where(smallest_magnitude(z) == 0.0, 1e-9, 0.0)
        return times_slope(arithmetic, dy, Enclosure(exact=slope, allowed=0.8 * z.allowed + own + step))

    def _error(self, arithmetic: Arithmetic, roundings: float) -> float:
        relative = roundings * arithmetic.u + 5.0 * arithmetic.ulps("divide") + arithmetic.ulps("exp")
        return compounded(arithmetic, relative)

    def _erf(self, x: Float64) -> tuple[Float64, Float64]:
        """Return H(x) and its derivative."""
        t = 1.0 / (1.0 + self._P * np.abs(x))
        q = sum(a * t**k for k, a in enumerate(self._A, start=1))
        slope_of_q = sum(k * a * t ** (k - 1) for k, a in enumerate(self._A, start=1))
        density = np.exp(-(x**2))
        return np.sign(x) * (1.0 - q * density), (slope_of_q * self._P * t**2 + 2.0 * np.abs(x) * q) * density


class _LinearFrom20(Softplus):
    """
    softplus that is z where z > 20, with slope 1.

    The value differs by at most log1p(exp(-20)) = 2.1e-9. Where the enclosure of z contains 20, both forms are allowed.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return self._from_20(z, super().forward(arithmetic, z), z)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return self._from_20(z, super().backward(arithmetic, z, y, dy), dy)

    def _from_20(self, z: Enclosure, below: Enclosure, above: Enclosure) -> Enclosure:
        low, high = ends(z)
        return _hull(_chosen(low > 20.0, above, below), above, (low <= 20.0) & (high > 20.0))


class _LogOfOnePlusClampedExp(Softplus):
    """
    softplus in float32 as log(1 + exp(z)), by an exp that may clamp its argument, as Eigen's does at 88.3762626647949.

    1 + exp(z) is rounded with a relative error of u, which is an absolute error of u of its logarithm. exp has a
    relative error of e(exp), which changes the logarithm by at most σ(z) e(exp) with σ(z) <= 1. log has an error of
    e(log) of the value. From 88.37 on there is no bound: with a clamped argument the value is 88.376, otherwise it is
    infinite. The slope is exp(z) / (1 + exp(z)) or σ(z), as in the rule.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        right = super().forward(arithmetic, z)
        absolute = compounded(arithmetic, arithmetic.u + arithmetic.ulps("exp"))
        relative = compounded(arithmetic, arithmetic.ulps("log"))
        allowed = right.allowed + absolute + relative * (right.largest + absolute)
        return Enclosure(exact=right.exact, allowed=np.where(ends(z)[1] > 88.37, np.inf, allowed))


class _SigmoidOfOverflowingExp(Sigmoid):
    """
    1 / (1 + exp(-z)) in the format itself: 0 where exp(-z) overflows, although σ(z) is a number of the format.

    Elsewhere the error is that of the rule.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return _after_overflow(arithmetic, _negated(z), super().forward(arithmetic, z), 0.0)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return _after_overflow(arithmetic, _negated(z), super().backward(arithmetic, z, y, dy), 0.0)


class _SiluOfOverflowingExp(Silu):
    """z / (1 + exp(-z)) in the format itself: 0 where exp(-z) overflows."""

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return _after_overflow(arithmetic, _negated(z), super().forward(arithmetic, z), 0.0)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return _after_overflow(arithmetic, _negated(z), super().backward(arithmetic, z, y, dy), 0.0)


class _TanhOfSigmoid(Tanh):
    """
    tanh(z) as 2 σ(2z) - 1: the error of σ, e(exp) + u + e(divide), is relative to 1 and not to the value.

    Twice that error is allowed in addition, and u for each of the product and the difference. The slope is computed
    from the rounded value, as in the rule.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        right = super().forward(arithmetic, z)
        own = arithmetic.ulps("exp") + arithmetic.ulps("divide") + 3.0 * arithmetic.u
        return Enclosure(exact=right.exact, allowed=right.allowed + 2.0 * compounded(arithmetic, own))


class _Identity(Activation):
    """The function z."""

    declared = rounds = False

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return z

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return dy


def _negated(z: Enclosure) -> Enclosure:
    return Enclosure(exact=-z.exact, allowed=z.allowed)


def _after_overflow(arithmetic: Arithmetic, z: Enclosure, right: Enclosure, instead: float) -> Enclosure:
    """
    Return `right`, and `instead` where exp(z) overflows in the format.

    Near the edge a rounded exp(z) may overflow or not, and both are right: there the element has no bound.
    """
    edge = math.log(arithmetic.format.maximum)
    slack = 2.0 * (arithmetic.ulps("exp") + arithmetic.format.unit_roundoff) * (1.0 + edge)
    low, high = ends(z)
    beyond, near = low > edge + slack, (high > edge - slack)
    exact = np.where(beyond, instead, right.exact)
    return Enclosure(exact=exact, allowed=np.where(beyond, 0.0, np.where(near, np.inf, right.allowed)))


#: Activation -> what makes it with other constants, and their names, which are its arguments.
CONSTANTS: Final[Mapping[str, tuple[Callable[..., Activation], tuple[str, ...]]]] = {
    "leaky_relu": (LeakyRelu, ("slope",)),
    "selu": (ExponentialLinear, ("scale", "alpha")),
    "hard_sigmoid": (HardSigmoid, ("slope",)),
    "gelu": (Gelu, ("root",)),
    "gelu_tanh": (GeluTanh, ("inner", "cubic")),
}
#: (activation, formula) -> what makes its enclosure.
FORMULAS: Final[Mapping[tuple[str, str], Callable[..., Activation]]] = {
    ("selu", "slope_from_output"): _SlopeFromOutput,
    ("selu", "both_sides_differentiated"): _BothSidesDifferentiated,
    ("elu", "both_sides_differentiated"): lambda: _BothSidesDifferentiated(scale=1.0, alpha=1.0),
    ("elu", "difference_of_relus"): lambda: _DifferenceOfRelus(scale=1.0, alpha=1.0),
    ("gelu", "erf_of_hastings"): _GeluOfHastings,
    ("softplus", "linear_from_20"): _LinearFrom20,
    ("softplus", "log_of_one_plus_clamped_exp"): _LogOfOnePlusClampedExp,
    ("sigmoid", "exp_overflows"): _SigmoidOfOverflowingExp,
    ("silu", "exp_overflows"): _SiluOfOverflowingExp,
    ("tanh", "two_sigmoid_minus_one"): _TanhOfSigmoid,
    ("softmax", "identity"): _Identity,
}
FORMULA_NAMES: Final = tuple(dict.fromkeys(name for _, name in FORMULAS))
