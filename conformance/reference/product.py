"""
The bound of a product: matrices that are known to some error, multiplied by an implementation that rounds.

Source: for the sum of products in any order, fused or not, |error| <= n u sum|x||w| without a restriction on n:
C.-P. Jeannerod and S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J. Matrix
Anal. Appl. 34(2), 2013.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64
from conformance.reference.probabilistic_bound import roundings


def exact_enclosure(array: npt.NDArray[np.generic]) -> Enclosure:
    """Return the enclosure of numbers that are given and therefore have no error."""
    exact = array.astype(np.float64)
    return Enclosure(exact=exact, allowed=np.zeros_like(exact))


def product(arithmetic: Arithmetic, left: Enclosure, right: Enclosure, bias: Enclosure | None = None) -> Enclosure:
    """
    Return the enclosure of left (P, K) times right (K, m), plus a bias (m,).

    The implementation multiplies members of both enclosures, which differ from the exact operands by their radii (first
    two terms), and rounds:

        |got - y| <= [ u_out |y| + e u_out |p| + f(K) u_acc B ] (1 + u_out) + floor,  f(K) <= K+2

    f(K) is K+2 or, where sums are rounded in the format itself, what chance allows if less
    (`probabilistic_bound.roundings`). (K+2) u_acc B: K products, K-1 sums and the bias in any order, at most (K+1)
    u_acc B after Jeannerod and Rump, who count the bias as one more product by 1; the last unit covers forming B and y
    from members. e u_out |p|: the product rounded to the output format before the bias is added, which where u_out =
    u_acc is one of the roundings already counted. floor: each operand, product and the result may be flushed to zero,
    and the result, or the product before its bias, rounded below the normal range. The reference's own error is added
    where float64 is not what is tested; where it is, `conformance.reference.answer` replaces the centre.
    """
    if not all(np.isfinite(each.exact).all() for each in (left, right, *([] if bias is None else [bias]))):
        return _not_finite(arithmetic, left, right, bias)
    terms = left.exact.shape[1]
    p = left.exact @ right.exact
    y = p if bias is None else p + bias.exact
    given = not left.allowed.any() and not right.allowed.any()
    by_chance = arithmetic.sums_by_chance
    # Of no terms there is nothing to round: exactly zero, or exactly the bias.
    rounds = not arithmetic.exact and terms > 0
    allowed = np.zeros_like(p) if given else left.allowed @ right.largest + np.abs(left.exact) @ right.allowed
    # Where nothing is rounded nobody asks for B, which is a product as dear as the other.
    magnitude = left.largest @ right.largest if rounds or by_chance else np.zeros_like(p)
    if bias is not None:
        magnitude = magnitude + np.abs(bias.exact)
    if rounds:
        u = arithmetic.u
        f = roundings(terms) if by_chance else terms + 2.0
        # Rounding toward zero is off by a whole unit in the last place, and not by half of one.
        result = 2.0 * u if arithmetic.rounds_toward_zero else u
        product_rounded = result * (np.abs(p) + allowed) if bias is not None and u > arithmetic.u_accumulate else 0.0
        rounding = result * (np.abs(y) + allowed) + product_rounded + f * arithmetic.u_accumulate * magnitude
        if arithmetic.rounds_each_product:
            rounding = rounding + u * magnitude
        floor = arithmetic.flushed * (terms + 1 + _flushable(arithmetic, left, right))
        floor = floor + 2.0 * arithmetic.format.half_smallest_subnormal
        own = 0.0 if arithmetic.centred else (terms + 2) * U64 * magnitude
        # The radius itself was summed in float64: inflating it by its own worst relative error keeps it a bound.
        allowed = (allowed + rounding * (1.0 + u) + floor + own) * (1.0 + 4.0 * (terms + 8) * U64)
    if by_chance and given:
        return Enclosure(exact=y, allowed=allowed, unit=arithmetic.u * magnitude, terms=terms)
    return Enclosure(exact=y, allowed=allowed).overflowed(arithmetic.format)


def _not_finite(arithmetic: Arithmetic, left: Enclosure, right: Enclosure, bias: Enclosure | None) -> Enclosure:
    """
    Return the product where some operand is not finite: what meets one is not finite, all else is as without it.

    Such an operand makes every sum it enters NaN or infinite, and IEEE 754 says which, in any order of the terms. Sums
    are formed term by term here, since a library may leave out a product with 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        y = np.empty((left.exact.shape[0], right.exact.shape[1]))
        for index, row in enumerate(left.exact):
            y[index] = (row[:, None] * right.exact).sum(axis=0)
        if bias is not None:
            y = y + bias.exact
    without = product(arithmetic, _zeroed(left), _zeroed(right), None if bias is None else _zeroed(bias))
    met = ~np.isfinite(y)
    return Enclosure(exact=np.where(met, y, without.exact), allowed=np.where(met, 0.0, without.allowed))


def with_nan_rows(result: Enclosure, rows: npt.NDArray[np.bool_]) -> Enclosure:
    """Return a product (P, m) in which the given rows are NaN, with no error allowed there."""
    exact = np.where(rows[:, None], np.nan, result.exact)
    return replace(result, exact=exact, allowed=np.where(rows[:, None], 0.0, result.allowed))


def _zeroed(numbers: Enclosure) -> Enclosure:
    """Return the numbers with 0 in place of what is not finite."""
    return replace(numbers, exact=np.where(np.isfinite(numbers.exact), numbers.exact, 0.0))


def _flushable(arithmetic: Arithmetic, left: Enclosure, right: Enclosure) -> Float64 | float:
    """Return the sum of |x| over subnormal w, plus the sum of |w| over subnormal x, for each element of the product."""
    subnormal_left, subnormal_right = _subnormal(arithmetic, left), _subnormal(arithmetic, right)
    total: Float64 | float = 0.0
    if subnormal_left.any():
        total = total + subnormal_left.astype(np.float64) @ right.largest
    if subnormal_right.any():
        total = total + left.largest @ subnormal_right.astype(np.float64)
    return total


def _subnormal(arithmetic: Arithmetic, numbers: Enclosure) -> npt.NDArray[np.bool_]:
    """Return where some member other than zero lies below the normal range."""
    return (np.abs(numbers.exact) - numbers.allowed < arithmetic.flushed) & (numbers.largest > 0.0)
