"""
linear, relu, tanh, sigmoid and softmax on enclosures, and the list of all activations.

The docstring of each class derives the error that its function may have. `piecewise` and `smooth` have the other
activations. `conformance.reference.enclosure.DECLARED_ULPS` has the contracts of exp, tanh and division.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from conformance.reference.activations.base import Activation, compounded, ends, increasing, logistic, times_slope
from conformance.reference.activations.piecewise import PIECEWISE
from conformance.reference.activations.smooth import SMOOTH
from conformance.reference.enclosure import U64, Arithmetic, Enclosure


class _Linear(Activation):
    """The identity, without an operation or an error."""

    declared = rounds = False

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        return z

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return dy


class _Relu(Activation):
    """
    max(z, 0), without an error of its own.

    The derivative is 0 or 1. Where an enclosure of z contains 0, both are allowed, and all numbers between them.
    """

    declared = rounds = False

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        exact = np.maximum(z.exact, 0.0)
        # Above 0 the radius of z itself, since a difference of the ends of the enclosure would round it.
        over = np.maximum(z.exact + z.allowed, 0.0) * (1.0 + 4.0 * U64)
        return Enclosure(exact=exact, allowed=np.where(z.exact > 0.0, z.allowed, over))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        exact = np.where(z.exact > 0.0, dy.exact, 0.0)
        on_kink = np.abs(z.exact) <= z.allowed
        return Enclosure(exact=exact, allowed=np.where(on_kink, dy.largest, np.where(z.exact > 0.0, dy.allowed, 0.0)))


class Tanh(Activation):
    """
    tanh, increasing, with an error of e(tanh) relative to y.

    The derivative is formed from the implementation's own rounded y, as 1 - y² or (1 - y)(1 + y), so its error is
    relative to 1. With y' = y + r, |(1 - y'²) - (1 - y²)| <= 2|y||r| + r². The square, the difference, the sums of the
    factored form and the product by dy are at most four roundings of magnitudes up to 1 + y².
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        rounding = compounded(arithmetic, arithmetic.ulps("tanh")) * np.tanh(z.largest)
        return increasing(np.tanh, arithmetic, z, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        slope = 1.0 - y.exact**2
        error = 2.0 * np.abs(y.exact) * y.allowed + y.allowed**2
        error = error + 4.0 * (arithmetic.u + arithmetic.u_reference) * (1.0 + y.largest**2)
        return times_slope(arithmetic, dy, Enclosure(exact=slope, allowed=error))


class Sigmoid(Activation):
    """
    1 / (1 + exp(-z)), increasing, with an error of e(exp) + u + e(divide) relative to y.

    The sum 1 + e has a relative error of at most e(exp) e/(1 + e) + u, and the quotient one of e(divide) more. The
    derivative y (1 - y) is formed from the rounded y: with y' = y + r its error is at most |1 - 2y||r| + r², and four
    roundings of itself.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        relative = arithmetic.ulps("exp") + arithmetic.u + arithmetic.ulps("divide")
        return increasing(logistic, arithmetic, z, compounded(arithmetic, relative) * logistic(ends(z)[1]))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        slope = y.exact * (1.0 - y.exact)
        error = np.abs(1.0 - 2.0 * y.exact) * y.allowed + y.allowed**2
        error = error + 4.0 * (arithmetic.u + arithmetic.u_reference) * (slope + error)
        return times_slope(arithmetic, dy, Enclosure(exact=slope, allowed=error))


class _Softmax(Activation):
    """
    exp(z_i - max z) / sum_j exp(z_j - max z), over the last axis.

    A change of z_i by at most r_i multiplies s_i by at most exp(r_i + max_j r_j). Rounding z_i - max z changes the
    argument of exp by at most u D_i, D_i = max z - z_i, in the numerator, and by at most u max D in the sum. Each exp
    has an error of 3 ulp <= 6u, the sum of n terms one of (n-1) u, the quotient (or reciprocal and product) one of
    2.5 ulp + u <= 6u. All are relative, so their exponents add up: s_i' / s_i is within
    exp(±(r_i + max r + u (D_i + max D + n + 17))).

    The gradient s_i (dy_i - g), g = sum_j s_j dy_j, is formed from the rounded s, in this form or as s_i dy_i - s_i g.
    g has n + 1 roundings and the rest four, relative to s_i (|dy_i| + |g|).

    Sums of n terms have the unit roundoff of the accumulator. Their terms and their result are rounded by u.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        if z.exact.shape[-1] == 0:
            return z
        top = z.exact.max(axis=-1, keepdims=True)
        e = np.exp(z.exact - top)
        exact = e / e.sum(axis=-1, keepdims=True)
        radius = z.allowed + z.allowed.max(axis=-1, keepdims=True)
        distance = (top - z.exact) + radius
        units = z.exact.shape[-1]
        spread = distance + distance.max(axis=-1, keepdims=True)
        own = arithmetic.u_reference
        exponent = radius + (arithmetic.u + own) * (spread + 17.0) + (arithmetic.u_accumulate + own) * units
        exponent = exponent + arithmetic.function_error
        allowed = exact * np.expm1(exponent) * (1.0 + 16.0 * U64) + 3.0 * arithmetic.floor
        return Enclosure(exact=exact, allowed=allowed)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        u = arithmetic.u + arithmetic.u_reference
        units = z.exact.shape[-1]
        g = (y.exact * dy.exact).sum(axis=-1, keepdims=True)
        magnitude = (y.largest * dy.largest).sum(axis=-1, keepdims=True)
        g_error = (y.allowed * dy.largest + y.exact * dy.allowed).sum(axis=-1, keepdims=True)
        g_error = g_error + (2.0 * u + units * (arithmetic.u_accumulate + arithmetic.u_reference)) * magnitude
        difference, difference_error = dy.exact - g, dy.allowed + g_error
        exact = y.exact * difference
        allowed = y.allowed * (np.abs(difference) + difference_error) + y.exact * difference_error
        allowed = allowed + 4.0 * u * y.largest * (dy.largest + np.abs(g) + g_error)
        return Enclosure(exact=exact, allowed=allowed * (1.0 + 32.0 * U64) + (units + 3) * arithmetic.floor)


ACTIVATIONS: Final[dict[str, Activation]] = {
    "linear": _Linear(),
    "relu": _Relu(),
    "sigmoid": Sigmoid(),
    "softmax": _Softmax(),
    "tanh": Tanh(),
    **PIECEWISE,
    **SMOOTH,
}
