"""
exponential, softsign, softplus, silu, gelu, gelu_tanh and log_softmax on enclosures: functions without a kink.

silu and gelu are not monotone. Over an enclosure of radius r they change by at most L r, where L bounds their
derivative over the whole enclosure and is computed from its ends. The same holds of their derivatives.
Notation: u is the unit roundoff, e(f) the relative error that the contract of f allows, Z the largest |z| inside the
enclosure, σ the logistic function, Φ and φ the distribution and the density of the standard normal.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from conformance.reference.activations.base import (
    Activation,
    compounded,
    ends,
    increasing,
    logistic,
    smallest_magnitude,
    times_slope,
)
from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64

#: NumPy has no erf and erfc; these are those of Python's C library.
_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])

#: The constants of gelu_tanh: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
GELU_CUBIC: Final = 0.044715
GELU_INNER: Final = math.sqrt(2.0 / math.pi)


class _Exponential(Activation):
    """exp(z), increasing, with an error of e(exp) relative to y. Its derivative is y, or exp(z) computed again."""

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        _, high = ends(z)
        return increasing(np.exp, arithmetic, z, compounded(arithmetic, arithmetic.ulps("exp")) * np.exp(high))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return times_slope(arithmetic, dy, Enclosure(exact=y.exact, allowed=y.allowed))


class _Softsign(Activation):
    """
    z / (1 + |z|), increasing. The sum and the quotient have an error of u + e(divide), relative to y.

    The derivative is w², w = 1/(1 + |z|), which decreases with |z|. It is formed as 1/(1 + |z|)², or as w - |z| w² with
    up to two quotients. The error is 4u + 2e(divide) of the terms, w + |z| w².
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        relative = compounded(arithmetic, arithmetic.u + arithmetic.ulps("divide"))
        rounding = relative * _softsign(z.largest)
        return increasing(_softsign, arithmetic, z, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        least = smallest_magnitude(z)
        exact, steepest, flattest = ((1.0 + each) ** -2.0 for each in (np.abs(z.exact), least, z.largest))
        weight = 1.0 / (1.0 + least)
        relative = compounded(arithmetic, 4.0 * arithmetic.u + 2.0 * arithmetic.ulps("divide"))
        rounding = relative * weight * (1.0 + np.minimum(z.largest * weight, 1.0))
        reach = np.maximum(steepest - exact, exact - flattest)
        return times_slope(arithmetic, dy, Enclosure(exact=exact, allowed=reach + rounding))


class Softplus(Activation):
    """
    log(1 + exp(z)) = max(z, 0) + log1p(exp(-|z|)), increasing.

    log1p does not increase the relative error of exp, since x/((1 + x) log1p(x)) <= 1. The terms of the sum have one
    sign. So this form, and log1p(exp(z)), have an error of e(exp) + e(log1p) + u, relative to y.

    The derivative σ(z) is formed from z, with an error of e(exp) + u + e(divide), or as exp(z - y) from the rounded y.
    The error of this exponent is that of y and u|z - y|, with y - z = softplus(-z). A y that is saved in fewer bits
    than it is computed in adds that rounding.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        relative = compounded(arithmetic, arithmetic.ulps("exp") + arithmetic.ulps("log1p") + arithmetic.u)
        return increasing(_softplus, arithmetic, z, relative * _softplus(ends(z)[1]))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        low, high = ends(z)
        own = compounded(arithmetic, arithmetic.ulps("exp") + arithmetic.ulps("log1p") + 2.0 * arithmetic.u)
        exponent = own * _softplus(high) + compounded(arithmetic, arithmetic.u) * _softplus(-low)
        exponent = exponent + np.maximum(y.allowed - Softplus.forward(self, arithmetic, z).allowed, 0.0)
        from_y = np.expm1(exponent + compounded(arithmetic, arithmetic.ulps("exp")))
        relative = np.maximum(compounded(arithmetic, _logistic_error(arithmetic)), from_y)
        return times_slope(arithmetic, dy, increasing(logistic, arithmetic, z, relative * logistic(high)))


class Silu(Activation):
    """
    z σ(z), or z/(1 + exp(-z)). The error of σ is e(exp) + u + e(divide), that of the product u, relative to Z σ.

    The derivative σ(1 + z(1 - σ)) is at most σ(1 + Z(1 - σ)) in magnitude and at most 1.1 anywhere. The second
    derivative σ(1 - σ)(2 + z(1 - 2σ)) is at most σ(1 - σ)(2 + Z) and 1/2. The derivative is formed from the rounded σ,
    so the error of 1 - σ is relative to 1. With five sums and products it is e(exp) + 6u + e(divide) of σ(1 + Z).
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        low, high = ends(z)
        steepest = np.minimum(1.1, logistic(high) * (1.0 + z.largest * logistic(-low)))
        rounding = compounded(arithmetic, _logistic_error(arithmetic) + arithmetic.u) * z.largest * logistic(high)
        return _with_slope_bound(arithmetic, z, z.exact * logistic(z.exact), steepest, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        low, high = ends(z)
        exact = logistic(z.exact) * (1.0 + z.exact * logistic(-z.exact))
        most_bent = np.minimum(0.5, logistic(high) * logistic(-low) * (2.0 + z.largest))
        relative = compounded(arithmetic, _logistic_error(arithmetic) + 5.0 * arithmetic.u)
        rounding = relative * logistic(high) * (1.0 + z.largest)
        return times_slope(arithmetic, dy, _with_slope_bound(arithmetic, z, exact, most_bent, rounding))


class Gelu(Activation):
    """
    z Φ(z), as z/2 (1 + erf(z/√2)) or as z/2 erfc(-z/√2).

    z/√2 has a relative error of δ = u + max(u, e(divide)), which changes Φ by at most δ Z φ. The error of (1 + erf)/2
    is an absolute e(erf)/2 however small Φ is; that of erfc is relative to Φ. Both forms are in use. With
    E = max(e(erf), e(erfc)) + 2u the error of Φ is at most δ Z φ + E max(Φ, |erf|/2), which is absolute in the left
    tail.

    The derivative Φ + z φ is at most 1.13 in magnitude, and the second derivative φ (2 - z²) at most 0.8. φ is exp of a
    rounded square. The error of this exponent is 2δ + u of z²/2. exp, three constants and four products are added.

    `root` replaces √(1/2). It is so near to √(1/2) that these bounds hold for it.
    """

    def __init__(self, *, root: float = math.sqrt(0.5)) -> None:
        self._ratio = root / math.sqrt(0.5)

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        cdf, cdf_error = self._cdf(arithmetic, z)
        steepest = np.minimum(1.13, cdf + z.largest * _density(smallest_magnitude(z)))
        rounding = z.largest * (cdf_error + compounded(arithmetic, 2.0 * arithmetic.u) * (cdf + cdf_error))
        return _with_slope_bound(arithmetic, z, z.exact * _normal_cdf(self._ratio * z.exact), steepest, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        u = arithmetic.u
        cdf, cdf_error = self._cdf(arithmetic, z)
        most_bent = np.minimum(0.8, _density(smallest_magnitude(z)) * (2.0 + z.largest**2))
        in_exponent = compounded(arithmetic, 2.0 * self._argument(arithmetic) + u)
        factors = compounded(arithmetic, arithmetic.ulps("exp") + 7.0 * u)
        density = z.largest * _density(smallest_magnitude(z))
        density_error = density * np.expm1(np.minimum(in_exponent * z.largest**2 / 2.0 + factors, 700.0))
        # Both the exact and the computed density are positive, so neither is further from the other than the larger.
        most = z.largest * _density(smallest_magnitude(z) * math.sqrt(1.0 - in_exponent)) * (1.0 + factors)
        density_error = np.minimum(density_error, most)
        total = cdf + cdf_error + density + density_error
        rounding = cdf_error + density_error + compounded(arithmetic, 2.0 * u) * total
        moved = self._ratio * z.exact
        exact = _normal_cdf(moved) + moved * _density(moved)
        return times_slope(arithmetic, dy, _with_slope_bound(arithmetic, z, exact, most_bent, rounding))

    def _argument(self, arithmetic: Arithmetic) -> float:
        return arithmetic.u + max(arithmetic.u, arithmetic.ulps("divide"))

    def _cdf(self, arithmetic: Arithmetic, z: Enclosure) -> tuple[Float64, Float64]:
        """Return the largest Φ over the enclosure, and the allowed error of Φ."""
        cdf = _normal_cdf(ends(z)[1])
        off = compounded(arithmetic, self._argument(arithmetic))
        moved = off * z.largest * _density(smallest_magnitude(z) * (1.0 - off))
        relative = compounded(arithmetic, max(arithmetic.ulps("erf"), arithmetic.ulps("erfc")) + 2.0 * arithmetic.u)
        largest = np.maximum(cdf, _erf(z.largest * math.sqrt(0.5)) / 2.0)
        return cdf, moved + relative * (largest + moved)


class GeluTanh(Activation):
    """
    z T(z), T = (1 + tanh a)/2 = σ(2a), a = c (z + k z³), c = √(2/π).

    The terms of a have one sign. c z has an error of 3u, and c k z³ one of 5u + max(2u, e(pow)). Together they change a
    by d, and T by at most d sech²(a)/2. The error of 1 + tanh is absolute: e(tanh) + u of max(T, |tanh|/2). If T is
    formed as σ(2a), the contracts of exp and division count.

    The derivative is T + z/2 sech²(a) a', a' = c (1 + 3k z²). sech² is formed from the rounded tanh as 1 - tanh², with
    an error relative to 1. The factors add up to ten roundings and e(pow). Over an enclosure sech² is largest where |z|
    is smallest, and the second derivative is at most sech² (a' + Z (a'² + a''/2)).

    `inner` and `cubic` replace c and k.
    """

    def __init__(self, *, inner: float = GELU_INNER, cubic: float = GELU_CUBIC) -> None:
        self._outer, self._cubic = inner, cubic

    def _inner(self, z: Float64) -> Float64:
        return self._outer * (z + self._cubic * z**3)

    def _inner_slope(self, z: Float64) -> Float64:
        return self._outer * (1.0 + 3.0 * self._cubic * z**2)

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        cdf, cdf_error, _, flat = self._parts(arithmetic, z)
        steepest = cdf + z.largest * flat * self._inner_slope(z.largest) / 2.0
        rounding = z.largest * (cdf_error + compounded(arithmetic, 2.0 * arithmetic.u) * (cdf + cdf_error))
        return _with_slope_bound(arithmetic, z, z.exact * logistic(2.0 * self._inner(z.exact)), steepest, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        u = arithmetic.u
        cdf, cdf_error, moved, flat = self._parts(arithmetic, z)
        slope, bend = self._inner_slope(z.largest), 6.0 * self._outer * self._cubic * z.largest
        most_bent = flat * (slope + z.largest * (slope**2 + bend / 2.0))
        tanh = np.tanh(self._inner(z.largest))
        tanh_error = moved * flat + compounded(arithmetic, arithmetic.ulps("tanh")) * (tanh + moved * flat)
        flat_error = 2.0 * tanh * tanh_error + tanh_error**2
        flat_error = flat_error + compounded(arithmetic, 3.0 * u) * (1.0 + (tanh + tanh_error) ** 2)
        factor = z.largest * slope / 2.0
        relative = compounded(arithmetic, 10.0 * u + max(2.0 * u, arithmetic.ulps("pow")))
        rounding = cdf_error + factor * (flat_error + relative * (flat + flat_error))
        total = cdf + cdf_error + factor * (flat + flat_error) * (1.0 + relative)
        rounding = rounding + compounded(arithmetic, 2.0 * u) * total
        inner = self._inner(z.exact)
        exact = logistic(2.0 * inner) + z.exact / 2.0 * _sech_squared(inner) * self._inner_slope(z.exact)
        return times_slope(arithmetic, dy, _with_slope_bound(arithmetic, z, exact, most_bent, rounding))

    def _parts(self, arithmetic: Arithmetic, z: Enclosure) -> tuple[Float64, Float64, Float64, Float64]:
        """Return the largest T, its allowed error, that of a, and the largest sech² of any a that is computed."""
        u = arithmetic.u
        cubic = compounded(arithmetic, 5.0 * u + max(2.0 * u, arithmetic.ulps("pow")))
        moved = compounded(arithmetic, 3.0 * u) * z.largest + cubic * self._cubic * z.largest**3
        moved = self._outer * moved
        flat = _sech_squared(np.maximum(self._inner(smallest_magnitude(z)) - moved, 0.0))
        cdf = logistic(2.0 * self._inner(ends(z)[1]))
        relative = compounded(arithmetic, max(arithmetic.ulps("tanh") + u, _logistic_error(arithmetic)))
        largest = np.maximum(cdf, np.tanh(self._inner(z.largest)) / 2.0)
        shift = moved * flat / 2.0
        return cdf, shift + relative * (largest + shift), moved, flat


class _LogSoftmax(Activation):
    """
    z_i - max z - log Σ_j exp(z_j - max z), over the last axis.

    log Σ exp changes by at most max r over the enclosure, so y_i by r_i + max r. With D_i = max z - z_i the difference
    has an error of u D_i. In the sum S >= 1 the exponents have an error of u max D, each exp one of e(exp), and each of
    the n terms changes S by a factor of 1 ± u. All are factors of S, so their sum is an absolute error of log S. log
    has an error of e(log) log S, and the last difference one of u (D_i + log S). The n terms are added up with the unit
    roundoff of the accumulator, and their sum is rounded once more.

    The gradient is dy_i - s_i G, G = Σ dy. s is exp(y) from the rounded y, or formed from z as softmax does. The error
    of its exponent is at most that of y. exp, a quotient and two roundings are added. G is a sum of n terms.
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        units = z.exact.shape[-1]
        if units == 0:
            return z
        u = arithmetic.u
        top = z.exact.max(axis=-1, keepdims=True)
        logarithm = np.log(np.exp(z.exact - top).sum(axis=-1, keepdims=True))
        most = z.allowed.max(axis=-1, keepdims=True)
        radius = z.allowed + most
        distance = (top - z.exact) + radius
        furthest = distance.max(axis=-1, keepdims=True)
        in_sum = compounded(arithmetic, u) * (furthest + 1.0) + compounded(arithmetic, arithmetic.ulps("exp"))
        in_sum = in_sum + compounded(arithmetic, arithmetic.u_accumulate) * units
        last = compounded(arithmetic, arithmetic.ulps("log") + u) * (logarithm + 2.0 * most + in_sum)
        allowed = radius + compounded(arithmetic, 2.0 * u) * distance + in_sum + last
        floor = (units + 3) * arithmetic.floor
        return Enclosure(exact=(z.exact - top) - logarithm, allowed=allowed * (1.0 + 16.0 * U64) + floor)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        units = z.exact.shape[-1]
        u = arithmetic.u + arithmetic.u_reference
        share = np.exp(y.exact)
        own = compounded(arithmetic, arithmetic.ulps("exp") + arithmetic.ulps("divide") + 2.0 * u)
        share_error = share * np.expm1(y.allowed + own)
        total = dy.exact.sum(axis=-1, keepdims=True)
        total_error = dy.allowed.sum(axis=-1, keepdims=True)
        sums = u + units * (arithmetic.u_accumulate + arithmetic.u_reference)
        total_error = total_error + sums * dy.largest.sum(axis=-1, keepdims=True)
        taken = (share + share_error) * (np.abs(total) + total_error)
        allowed = dy.allowed + share * total_error + share_error * (np.abs(total) + total_error)
        allowed = allowed + compounded(arithmetic, 4.0 * u) * (dy.largest + taken)
        floor = (units + 3) * arithmetic.floor
        return Enclosure(exact=dy.exact - share * total, allowed=allowed * (1.0 + 32.0 * U64) + floor)


def _with_slope_bound(
    arithmetic: Arithmetic, z: Enclosure, exact: Float64, slope: Float64, rounding: Float64
) -> Enclosure:
    """
    Return the enclosure of the values of a function that need not be monotone.

    Args:
        arithmetic: how the implementation rounds.
        z: the enclosure of the argument.
        exact: the function's values at the centres of z.
        slope: the largest magnitude of the derivative over z.
        rounding: the largest error of the implementation for a given argument.
    """
    floor = 4.0 * arithmetic.floor * (1.0 + z.largest)
    return Enclosure(exact=exact, allowed=(slope * z.allowed + rounding) * (1.0 + 32.0 * U64) + floor)


def _logistic_error(arithmetic: Arithmetic) -> float:
    """Return the sum of the relative errors of exp, a sum and a quotient: the error of σ."""
    return arithmetic.ulps("exp") + arithmetic.u + arithmetic.ulps("divide")


def _softsign(z: Float64) -> Float64:
    return z / (1.0 + np.abs(z))


def _softplus(z: Float64) -> Float64:
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def _normal_cdf(z: Float64) -> Float64:
    return np.asarray(_erfc(-z * math.sqrt(0.5))) / 2.0


def _density(z: Float64) -> Float64:
    return np.exp(-(z**2) / 2.0) / math.sqrt(2.0 * math.pi)


def _sech_squared(a: Float64) -> Float64:
    # Beyond 300 the result is 0 in every format, and cosh would overflow from 710 on.
    return np.cosh(np.minimum(np.abs(a), 300.0)) ** -2.0


SMOOTH: Final[dict[str, Activation]] = {
    "exponential": _Exponential(),
    "softsign": _Softsign(),
    "softplus": Softplus(),
    "silu": Silu(),
    "gelu": Gelu(),
    "gelu_tanh": GeluTanh(),
    "log_softmax": _LogSoftmax(),
}
