"""
What every activation is made of: the interface, and enclosures of elementwise functions.

A derivation speaks of roundings as relative errors. Several in a row, each of at most eᵢ, change a product by a factor
within 1 ± e/(1 - e) with e = Σ eᵢ, which is `compounded(e)`: no second-order term is dropped, not even where u is 2⁻⁸.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64


class Activation:
    """
    A function applied to pre-activations, with its derivative, both on enclosures.

    `declared` says that the bound rests on a contract of exp, tanh, division or their like and not on a proof.
    """

    declared: bool = True

    def forward(self, arithmetic: Arithmetic, z: Enclosure) -> Enclosure:
        """Return the enclosure of the function over that of its argument, both (P, m)."""
        raise NotImplementedError

    def backward(self, arithmetic: Arithmetic, z: Enclosure, y: Enclosure, dy: Enclosure) -> Enclosure:
        """Return the enclosure of the gradient with respect to z, from that with respect to y."""
        raise NotImplementedError


def compounded(arithmetic: Arithmetic, relative: float) -> float:
    """
    Return what relative errors that sum to `relative` come to in a row, and the reference's own.

    The reference takes four functions of NumPy or `math` at most, with few roundings in between.
    """
    total = relative + 4.0 * arithmetic.function_error
    return total / (1.0 - total)


def ends(z: Enclosure) -> tuple[Float64, Float64]:
    """Return the lower and the upper end, each rounded outwards."""
    radius = z.allowed + 2.0 * U64 * z.largest
    return z.exact - radius, z.exact + radius


def nearest(z: Enclosure) -> Float64:
    """Return the smallest magnitude any member has."""
    return np.maximum(np.abs(z.exact) - z.allowed - 2.0 * U64 * z.largest, 0.0)


def growing(
    function: Callable[[Float64], Float64], arithmetic: Arithmetic, z: Enclosure, rounding: Float64
) -> Enclosure:
    """Return the enclosure of a growing function, mapped at the ends of z, whose implementation errs by `rounding`."""
    low, high = ends(z)
    exact = function(z.exact)
    reach = np.maximum(np.maximum(function(high) - exact, exact - function(low)), 0.0)
    return Enclosure(exact=exact, allowed=(reach + rounding) * (1.0 + 16.0 * U64) + 2.0 * arithmetic.floor)


def monotone(
    function: Callable[[Float64], Float64], arithmetic: Arithmetic, z: Enclosure, relative: float
) -> Enclosure:
    """Return the enclosure of a growing function whose implementation is within `relative` of the exact value."""
    exact, above, below = function(z.exact), function(z.exact + z.allowed), function(z.exact - z.allowed)
    reach = np.maximum(above - exact, exact - below)
    largest = np.maximum(np.abs(above), np.abs(below))
    allowed = reach + (relative + 3.0 * arithmetic.function_error) * largest + 2.0 * arithmetic.floor
    return Enclosure(exact=exact, allowed=allowed)


def scaled(arithmetic: Arithmetic, dy: Enclosure, slope: Enclosure) -> Enclosure:
    """Return the enclosure of dy times an elementwise derivative, up to two roundings."""
    u = arithmetic.u + arithmetic.u_reference
    allowed = np.abs(dy.exact) * slope.allowed + dy.allowed * slope.largest + 2.0 * u * dy.largest * slope.largest
    return Enclosure(exact=dy.exact * slope.exact, allowed=allowed * (1.0 + 16.0 * U64) + 2.0 * arithmetic.floor)


def logistic(z: Float64) -> Float64:
    """Return 1 / (1 + exp(-z)) without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e)
