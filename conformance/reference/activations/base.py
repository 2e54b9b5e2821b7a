"""
The interface of an activation, and enclosures of elementwise functions.

The derivations count roundings as relative errors. Several in a row, each of at most eᵢ, change a product by a factor
within 1 ± e/(1 - e) with e = Σ eᵢ, which is `compounded(e)`. No second-order term is dropped: u is 2⁻⁸ in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64
from conformance.reference.formats import FORMATS, Format


class Activation:
    """A function of pre-activations and its derivative, both on enclosures."""

    #: Whether the bound rests on a contract of exp, tanh, division or a similar function, and not on a proof.
    declared: bool = True
    #: Whether anything is rounded: false if each value is z or 0.
    rounds: bool = True

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        """Return the enclosure of the function's values; z and the result have the shape (positions, units)."""
        raise NotImplementedError

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        """
        Return the enclosure of the gradient with respect to z.

        Args:
            arithmetic: how the implementation rounds.
            z: the pre-activations, of shape (positions, units).
            y: the function's values at z, as `forward` returns them.
            dy: the gradient with respect to y.
        """
        raise NotImplementedError


class ComputedIn(Activation):
    """
    An activation whose operations are rounded in one format, and whose results are rounded to that of the layer.

    Its operations are rounded in `form`, or in the format in which sums of the layer's dtype are accumulated: float32
    for the 16-bit dtypes. z is rounded to `form` first if `form` is narrower than the layer's dtype. Value and gradient
    are rounded once more if `form` is wider.
    """

    def __init__(self, of: Activation, form: Format | None = None) -> None:
        self._of, self._form, self.declared = of, form, of.declared

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        inside = self._inside(arithmetic)
        return _rounded(arithmetic, inside, self._of.forward(inside, _rounded(inside, arithmetic, z)))

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        inside = self._inside(arithmetic)
        return _rounded(arithmetic, inside, self._of.backward(inside, _rounded(inside, arithmetic, z), y, dy))

    def _inside(self, arithmetic: Arithmetic) -> Arithmetic:
        return replace(arithmetic, format=self._form or FORMATS[arithmetic.format.accumulator])


def _rounded(to: Arithmetic, of: Arithmetic, numbers: Enclosure) -> Enclosure:
    """Return numbers of one format as they are in another; a wider format represents them."""
    if to.exact or to.format.significand >= of.format.significand:
        return numbers
    return numbers.rounded(to.format)


def compounded(arithmetic: Arithmetic, relative: float) -> float:
    """
    Return the relative error of successive errors whose sum is `relative`.

    The reference's own error is included: at most four functions of NumPy or `math`, with few roundings between them.
    """
    total = relative + 4.0 * arithmetic.function_error
    return total / (1.0 - total)


def ends(z: Enclosure) -> tuple[Float64, Float64]:
    """Return the lower and the upper end of an enclosure, each rounded outwards."""
    radius = z.allowed + 2.0 * U64 * z.largest
    return z.exact - radius, z.exact + radius


def smallest_magnitude(z: Enclosure) -> Float64:
    """Return a lower bound of the magnitudes of an enclosure's members."""
    return np.maximum(np.abs(z.exact) - z.allowed - 2.0 * U64 * z.largest, 0.0)


def increasing(
    function: Callable[[Float64], Float64], arithmetic: Arithmetic, z: Enclosure, rounding: Float64
) -> Enclosure:
    """
    Return the enclosure of the values of an increasing function.

    Args:
        function: the exact function, evaluated at both ends of z.
        arithmetic: how the implementation rounds.
        z: the enclosure of the argument.
        rounding: the largest error of the implementation for a given argument.
    """
    low, high = ends(z)
    exact = function(z.exact)
    reach = np.maximum(np.maximum(function(high) - exact, exact - function(low)), 0.0)
    return Enclosure(exact=exact, allowed=(reach + rounding) * (1.0 + 16.0 * U64) + 2.0 * arithmetic.floor)


def times_slope(arithmetic: Arithmetic, dy: Enclosure, slope: Enclosure) -> Enclosure:
    """Return the enclosure of dy times an elementwise derivative, with up to two roundings."""
    u = arithmetic.u + arithmetic.u_reference
    allowed = np.abs(dy.exact) * slope.allowed + dy.allowed * slope.largest + 2.0 * u * dy.largest * slope.largest
    return Enclosure(exact=dy.exact * slope.exact, allowed=allowed * (1.0 + 16.0 * U64) + 2.0 * arithmetic.floor)


def logistic(z: Float64) -> Float64:
    """Return 1 / (1 + exp(-z)) without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)
