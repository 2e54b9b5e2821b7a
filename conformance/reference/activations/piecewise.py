"""
leaky_relu, elu, selu and hard_sigmoid on enclosures: functions with a kink.

Where an enclosure of z contains the kink, the derivatives of both sides are allowed, and all numbers between them.
Notation: u is the unit roundoff, r the radius of z, and e(f) the relative error that the contract of f allows.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from conformance.reference.activations.base import Activation, compounded, ends, increasing, times_slope
from conformance.reference.enclosure import Arithmetic, Enclosure, Float64

LEAKY_SLOPE: Final = 0.01
#: The constants of G. Klambauer et al., "Self-Normalizing Neural Networks", NeurIPS 2017, equation 14.
SELU_SCALE: Final = 1.0507009873554804934193349852946
SELU_ALPHA: Final = 1.6732632423543772848170429916717


class LeakyRelu(Activation):
    """
    max(z, z/100), increasing. Its error is 2u |y| where z < 0: the rounded slope and the product. Elsewhere it is 0.

    The derivative is 1 or the rounded slope, and either where |z| <= r.
    """

    declared = False

    def __init__(self, *, slope: float = LEAKY_SLOPE) -> None:
        self._below = slope

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        low, _ = ends(z)
        rounding = compounded(arithmetic, 2.0 * arithmetic.u) * self._below * np.maximum(-low, 0.0)
        return increasing(lambda each: np.maximum(each, self._below * each), arithmetic, z, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        exact = np.where(z.exact > 0.0, 1.0, self._below)
        reach = np.where(np.abs(z.exact) <= z.allowed, 1.0 - self._below, 0.0)
        slope = Enclosure(exact=exact, allowed=reach + compounded(arithmetic, arithmetic.u) * self._below)
        return times_slope(arithmetic, dy, slope)


class ExponentialLinear(Activation):
    """
    z where z > 0, otherwise α(exp(z) - 1), times a scale: elu (both 1) and selu. Increasing.

    Two forms are in use. α expm1(z) has an error of e(expm1)|y|. α(exp(z) - 1) has one of e(exp) α exp(z) + u|y|,
    which is relative to 1 where exp(z) is near 1. So max(e(exp), e(expm1)) + u is allowed, relative to scale·α·M, with
    M = max(exp(z), 1 - exp(z)). Constants other than 1 add 4u (two of them rounded, and two products), above 0 2u.

    The derivative for z <= 0 is scale·α·exp(z), or y + scale·α from the rounded y: the error of y, u more of M for the
    sum, and four roundings of the constant. A y that is saved in fewer bits than it is computed in adds that rounding.
    For z > 0 the derivative is the scale. At 0 the two differ for selu, by a factor of α.
    """

    def __init__(self, *, scale: float = SELU_SCALE, alpha: float = SELU_ALPHA) -> None:
        self._scale, self._alpha = scale, alpha
        self._roundings = 0.0 if scale == alpha == 1.0 else 4.0

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        _, high = ends(z)
        constants = self._roundings * arithmetic.u
        rounding = compounded(arithmetic, constants / 2.0) * self._scale * np.maximum(high, 0.0)
        return increasing(self._value, arithmetic, z, rounding + self._below(arithmetic, z, arithmetic.u + constants))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        low, high = ends(z)
        exact = self._slope(z.exact)
        on_kink = (low <= 0.0) & (high >= self._kink(arithmetic))
        # The slope increases below 0 and is constant above: its extremes are at the ends and at the kink.
        sides = [np.where(on_kink, each, exact) for each in (self._scale, self._scale * self._alpha)]
        reach = np.maximum.reduce([np.abs(each - exact) for each in (self._slope(low), self._slope(high), *sides)])
        constants = self._roundings * arithmetic.u
        rounding = self._below(arithmetic, z, 2.0 * arithmetic.u + constants)
        rounding = rounding + compounded(arithmetic, constants) * self._scale * self._alpha
        saved = np.maximum(y.allowed - ExponentialLinear.forward(self, arithmetic, z).allowed, 0.0)
        rounding = rounding + np.where(low <= 0.0, saved, 0.0)
        return times_slope(arithmetic, dy, Enclosure(exact=exact, allowed=reach + rounding))

    def _kink(self, arithmetic: Arithmetic) -> float:
        """Return the least z at which an implementation may use the derivative above 0."""
        return 0.0

    def _value(self, z: Float64) -> Float64:
        return self._scale * np.where(z > 0.0, z, self._alpha * np.expm1(np.minimum(z, 0.0)))

    def _slope(self, z: Float64) -> Float64:
        return self._scale * np.where(z > 0.0, 1.0, self._alpha * np.exp(np.minimum(z, 0.0)))

    def _below(self, arithmetic: Arithmetic, z: Enclosure, roundings: float) -> Float64:
        """Return the allowed error of the branch for z <= 0, and 0 where no member of z is in that branch."""
        low, high = (np.minimum(each, 0.0) for each in ends(z))
        largest = np.maximum(np.exp(high), -np.expm1(low))
        relative = compounded(arithmetic, max(arithmetic.ulps("exp"), arithmetic.ulps("expm1")) + roundings)
        return np.where(ends(z)[0] <= 0.0, relative * self._scale * self._alpha * largest, 0.0)


class HardSigmoid(Activation):
    """
    min(max(z + 3, 0), 6) / 6, increasing.

    Two forms are in use. The sum z + 3 has an error of u|z + 3| and the quotient one of q = max(e(divide), 2u); 2u is
    that of a product with the rounded 1/6. The form z/6 + 1/2 has an error of q|z|/6 + u. Both are within
    (q + u)(|z| + 3)/6. Beyond ±3 both are clipped, so |z| counts up to 4, and below -4 the answer is exactly 0.

    The derivative is 1/6 or 0, and either where |z| differs from 3 by at most r and the error of the clipped sum.
    """

    def __init__(self, *, slope: float = 1.0 / 6.0) -> None:
        self._slope = slope

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        _, high = ends(z)
        rounding = np.where(high < -4.0, 0.0, self._sum_error(arithmetic, z) / 6.0)
        return increasing(lambda each: np.clip(each + 3.0, 0.0, 6.0) / 6.0, arithmetic, z, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        exact = np.where(np.abs(z.exact) < 3.0, self._slope, 0.0)
        on_kink = np.abs(np.abs(z.exact) - 3.0) <= z.allowed + self._sum_error(arithmetic, z)
        rounding = compounded(arithmetic, self._quotient(arithmetic)) / 6.0
        allowed = np.where(on_kink, 1.0 / 6.0, 0.0) + np.where(on_kink | (exact > 0.0), rounding, 0.0)
        return times_slope(arithmetic, dy, Enclosure(exact=exact, allowed=allowed))

    def _quotient(self, arithmetic: Arithmetic) -> float:
        return max(arithmetic.ulps("divide"), 2.0 * arithmetic.u)

    def _sum_error(self, arithmetic: Arithmetic, z: Enclosure) -> Float64:
        """Return the allowed error of 6y before it is clipped."""
        relative = compounded(arithmetic, self._quotient(arithmetic) + arithmetic.u)
        return relative * (np.minimum(z.largest, 4.0) + 3.0)


PIECEWISE: Final[dict[str, Activation]] = {
    "leaky_relu": LeakyRelu(),
    "elu": ExponentialLinear(scale=1.0, alpha=1.0),
    "selu": ExponentialLinear(scale=SELU_SCALE, alpha=SELU_ALPHA),
    "hard_sigmoid": HardSigmoid(),
}
