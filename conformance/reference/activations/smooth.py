"""
Smooth activations, on enclosures: exponential, softsign, softplus, silu, gelu, gelu_tanh and log_softmax.

silu and gelu are not monotone: over an enclosure of radius r they change by at most L r, with L a bound of their
derivative over the whole of it, formed from the ends; their derivatives likewise. Nothing is first order.
Notation: u is the unit roundoff, e(f) the relative error that the contract of f allows, Z the largest |z| inside the
enclosure, σ the logistic function, Φ and φ the distribution and the density of the standard normal.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from conformance.reference.activations.base import Activation, compounded, ends, growing, logistic, nearest, scaled
from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64

#: erf and erfc of Python's own C library, which NumPy has not.
_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])

#: Of gelu_tanh: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
GELU_CUBIC: Final = 0.044715
GELU_INNER: Final = math.sqrt(2.0 / math.pi)


class _Exponential(Activation):
    """exp(z), growing, within e(exp) of itself; it is its own derivative, from the rounded y or from z once more."""

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        _, high = ends(z)
        return growing(np.exp, arithmetic, z, compounded(arithmetic, arithmetic.ulps("exp")) * np.exp(high))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        return scaled(arithmetic, dy, Enclosure(exact=y.exact, allowed=y.allowed))


class _Softsign(Activation):
    """
    z / (1 + |z|), growing: the sum and the quotient err by u + e(divide), relative to y.

    The derivative w², w = 1/(1 + |z|), falls with |z|. Formed as 1/(1 + |z|)², or as w - |z| w² by the quotient's rule
    with up to two quotients, it errs by 4u + 2e(divide) of the terms, w + |z| w².
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        relative = compounded(arithmetic, arithmetic.u + arithmetic.ulps("divide"))
        rounding = relative * _softsign(z.largest)
        return growing(_softsign, arithmetic, z, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        exact, steepest, flattest = ((1.0 + each) ** -2.0 for each in (np.abs(z.exact), nearest(z), z.largest))
        weight = 1.0 / (1.0 + nearest(z))
        relative = compounded(arithmetic, 4.0 * arithmetic.u + 2.0 * arithmetic.ulps("divide"))
        rounding = relative * weight * (1.0 + np.minimum(z.largest * weight, 1.0))
        reach = np.maximum(steepest - exact, exact - flattest)
        return scaled(arithmetic, dy, Enclosure(exact=exact, allowed=reach + rounding))


class Softplus(Activation):
    """
    log(1 + exp(z)) = max(z, 0) + log1p(exp(-|z|)), growing.

    The relative error of exp passes log1p undiminished at worst, x/((1 + x) log1p(x)) <= 1, and the terms of the sum
    have one sign: as this, or as log1p(exp(z)), it errs by e(exp) + e(log1p) + u, relative to y.

    The derivative σ(z) is formed from z, within e(exp) + u + e(divide), or as exp(z - y) from the rounded y, whose
    exponent is then off by the error of y and u|z - y|, with y - z = softplus(-z).
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        relative = compounded(arithmetic, arithmetic.ulps("exp") + arithmetic.ulps("log1p") + arithmetic.u)
        return growing(_softplus, arithmetic, z, relative * _softplus(ends(z)[1]))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        low, high = ends(z)
        own = compounded(arithmetic, arithmetic.ulps("exp") + arithmetic.ulps("log1p") + 2.0 * arithmetic.u)
        exponent = own * _softplus(high) + compounded(arithmetic, arithmetic.u) * _softplus(-low)
        from_y = np.expm1(exponent + compounded(arithmetic, arithmetic.ulps("exp")))
        relative = np.maximum(compounded(arithmetic, _logistic_error(arithmetic)), from_y)
        return scaled(arithmetic, dy, growing(logistic, arithmetic, z, relative * logistic(high)))


class Silu(Activation):
    """
    z σ(z), as this or as z/(1 + exp(-z)): e(exp) + u + e(divide) of σ, and u for the product, relative to Z σ.

    Its derivative σ(1 + z(1 - σ)) is at most σ(1 + Z(1 - σ)) in magnitude and at most 1.1 anywhere, the second
    derivative, σ(1 - σ)(2 + z(1 - 2σ)), at most σ(1 - σ)(2 + Z) and 1/2. It is formed from the rounded σ: 1 - σ then
    errs relative to 1. With five sums and products around it that comes to e(exp) + 6u + e(divide) of σ(1 + Z).
    """

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        low, high = ends(z)
        steepest = np.minimum(1.1, logistic(high) * (1.0 + z.largest * logistic(-low)))
        rounding = compounded(arithmetic, _logistic_error(arithmetic) + arithmetic.u) * z.largest * logistic(high)
        return _moved(arithmetic, z, z.exact * logistic(z.exact), steepest, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        low, high = ends(z)
        exact = logistic(z.exact) * (1.0 + z.exact * logistic(-z.exact))
        most_bent = np.minimum(0.5, logistic(high) * logistic(-low) * (2.0 + z.largest))
        relative = compounded(arithmetic, _logistic_error(arithmetic) + 5.0 * arithmetic.u)
        rounding = relative * logistic(high) * (1.0 + z.largest)
        return scaled(arithmetic, dy, _moved(arithmetic, z, exact, most_bent, rounding))


class Gelu(Activation):
    """
    z Φ(z), as z/2 (1 + erf(z/√2)) or as z/2 erfc(-z/√2).

    z/√2 is off by a relative δ = u + max(u, e(divide)), which moves Φ by at most δ Z φ. erf is off relative to itself,
    so that (1 + erf)/2 is off by an absolute e(erf)/2 however small Φ is; erfc is relative to Φ. Both are in use: with
    E = max(e(erf), e(erfc)) + 2u the error of Φ is at most δ Z φ + E max(Φ, |erf|/2), and z times it absolute in the
    left tail.

    The derivative Φ + z φ is at most 1.13 in magnitude, the second one, φ (2 - z²), at most 0.8. φ is exp of a rounded
    square, whose error 2δ + u of z²/2 is one of the exponent; exp, three constants and four products come on top.

    `root` is what z is multiplied by in place of √(1/2). It is near that, so that the bounds above hold of it as well.
    """

    def __init__(self, *, root: float = math.sqrt(0.5)) -> None:
        self._ratio = root / math.sqrt(0.5)

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        cdf, cdf_error = self._cdf(arithmetic, z)
        steepest = np.minimum(1.13, cdf + z.largest * _density(nearest(z)))
        rounding = z.largest * (cdf_error + compounded(arithmetic, 2.0 * arithmetic.u) * (cdf + cdf_error))
        return _moved(arithmetic, z, z.exact * _normal_cdf(self._ratio * z.exact), steepest, rounding)

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        u = arithmetic.u
        cdf, cdf_error = self._cdf(arithmetic, z)
        most_bent = np.minimum(0.8, _density(nearest(z)) * (2.0 + z.largest**2))
        exponent = compounded(arithmetic, 2.0 * self._argument(arithmetic) + u) * z.largest**2 / 2.0
        density = z.largest * _density(nearest(z))
        density_error = density * np.expm1(exponent + compounded(arithmetic, arithmetic.ulps("exp") + 7.0 * u))
        total = cdf + cdf_error + density + density_error
        rounding = cdf_error + density_error + compounded(arithmetic, 2.0 * u) * total
        moved = self._ratio * z.exact
        exact = _normal_cdf(moved) + moved * _density(moved)
        return scaled(arithmetic, dy, _moved(arithmetic, z, exact, most_bent, rounding))

    def _argument(self, arithmetic: Arithmetic) -> float:
        return arithmetic.u + max(arithmetic.u, arithmetic.ulps("divide"))

    def _cdf(self, arithmetic: Arithmetic, z: Enclosure) -> tuple[Float64, Float64]:
        """Return the largest Φ over the enclosure, and how far the rounded one may be off."""
        cdf = _normal_cdf(ends(z)[1])
        off = compounded(arithmetic, self._argument(arithmetic))
        moved = off * z.largest * _density(nearest(z) * (1.0 - off))
        relative = compounded(arithmetic, max(arithmetic.ulps("erf"), arithmetic.ulps("erfc")) + 2.0 * arithmetic.u)
        largest = np.maximum(cdf, _erf(z.largest * math.sqrt(0.5)) / 2.0)
        return cdf, moved + relative * (largest + moved)


class GeluTanh(Activation):
    """
    z T(z), T = (1 + tanh a)/2 = σ(2a), a = c (z + k z³), c = √(2/π).

    The terms of a have one sign: z is off by 3u, k z³ by 5u + max(2u, e(pow)), which together move a by d and T by at
    most d sech²(a)/2. tanh is off relative to itself, 1 + tanh absolutely: e(tanh) + u of max(T, |tanh|/2); as σ(2a)
    the contracts of exp and division count.

    The derivative is T + z/2 sech²(a) a', a' = c (1 + 3k z²), with sech² formed from the rounded tanh as 1 - tanh², in
    error relative to 1; up to ten roundings and e(pow) in the factors. Over an enclosure sech² is largest where |z| is
    smallest, and the second derivative at most sech² (a' + Z (a'² + a''/2)).

    `inner` and `cubic` stand in place of c and k.
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
        return _moved(arithmetic, z, z.exact * logistic(2.0 * self._inner(z.exact)), steepest, rounding)

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
        return scaled(arithmetic, dy, _moved(arithmetic, z, exact, most_bent, rounding))

    def _parts(self, arithmetic: Arithmetic, z: Enclosure) -> tuple[Float64, Float64, Float64, Float64]:
        """Return the largest T, its error, the error of a, and the largest sech² of any a computed."""
        u = arithmetic.u
        cubic = compounded(arithmetic, 5.0 * u + max(2.0 * u, arithmetic.ulps("pow")))
        moved = compounded(arithmetic, 3.0 * u) * z.largest + cubic * self._cubic * z.largest**3
        moved = self._outer * moved
        flat = _sech_squared(np.maximum(self._inner(nearest(z)) - moved, 0.0))
        cdf = logistic(2.0 * self._inner(ends(z)[1]))
        relative = compounded(arithmetic, max(arithmetic.ulps("tanh") + u, _logistic_error(arithmetic)))
        largest = np.maximum(cdf, np.tanh(self._inner(z.largest)) / 2.0)
        shift = moved * flat / 2.0
        return cdf, shift + relative * (largest + shift), moved, flat


class _LogSoftmax(Activation):
    """
    z_i - max z - log Σ_j exp(z_j - max z), over the last axis.

    log Σ exp moves by at most max r, whatever the enclosure, so y_i by r_i + max r. With D_i = max z - z_i the
    difference errs by u D_i. In the sum S >= 1 the exponents are off by u max D, exp by e(exp), and n terms by a factor
    of (1 ± u) each: all are factors of S, and their exponents an absolute error of log S. log itself errs by e(log) log
    S, the last difference by u (D_i + log S).

    The gradient dy_i - s_i G, G = Σ dy, has s = exp(y) from the rounded y, or from z as softmax does: its exponent is
    off by no more than y is, and exp, a quotient and two roundings come on top. G is a sum of n terms.
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
        in_sum = compounded(arithmetic, u) * (furthest + units) + compounded(arithmetic, arithmetic.ulps("exp"))
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
        total_error = total_error + units * u * dy.largest.sum(axis=-1, keepdims=True)
        taken = (share + share_error) * (np.abs(total) + total_error)
        allowed = dy.allowed + share * total_error + share_error * (np.abs(total) + total_error)
        allowed = allowed + compounded(arithmetic, 4.0 * u) * (dy.largest + taken)
        floor = (units + 3) * arithmetic.floor
        return Enclosure(exact=dy.exact - share * total, allowed=allowed * (1.0 + 32.0 * U64) + floor)


def _moved(arithmetic: Arithmetic, z: Enclosure, exact: Float64, slope: Float64, rounding: Float64) -> Enclosure:
    """Return the enclosure of a function that errs by `rounding`, its derivative at most `slope` in magnitude."""
    floor = 4.0 * arithmetic.floor * (1.0 + z.largest)
    return Enclosure(exact=exact, allowed=(slope * z.allowed + rounding) * (1.0 + 32.0 * U64) + floor)


def _logistic_error(arithmetic: Arithmetic) -> float:
    """Return what exp, a sum and a quotient may be off by, relative to σ."""
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
    # Beyond 300 it is less than any number of any format here, and cosh would soon overflow.
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
