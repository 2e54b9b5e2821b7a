"""
The bound of a product: matrices that are known to some error, multiplied by an implementation that rounds.

Sources: `conformance.reference.sum_bounds`, and for n u B, which needs no restriction on n: C.-P. Jeannerod and
S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J. Matrix Anal. Appl. 34(2),
2013.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from conformance.reference.enclosure import U64, Arithmetic, Enclosure, Float64
from conformance.reference.randomness import NOT_RANDOM, Randomness
from conformance.reference.sum_bounds import (
    FEWEST,
    SHORTEST_STATISTICAL,
    JointBound,
    joint_bound,
    proven_joint_bound,
    sum_error,
)


def exact_enclosure(array: npt.NDArray[np.generic]) -> Enclosure:
    """Return the enclosure of numbers that have no error."""
    exact = array.astype(np.float64)
    return Enclosure(exact=exact, allowed=np.zeros_like(exact))


def product(
    arithmetic: Arithmetic,
    left: Enclosure,
    right: Enclosure,
    bias: Enclosure | None = None,
    randomness: Randomness = NOT_RANDOM,
) -> Enclosure:
    """
    Return the enclosure of left (P, K) times right (K, m), plus a bias (m,).

    The implementation multiplies members of both enclosures, which differ from the exact operands by their radii
    (`inherited`), and rounds (`_allowed`).
    """
    operands = (left, right) if bias is None else (left, right, bias)
    if not all(np.isfinite(each.exact).all() for each in operands):
        return _not_finite(arithmetic, left, right, bias)
    p = left.exact @ right.exact
    y = p if bias is None else p + bias.exact
    is_given = not left.allowed.any() and not right.allowed.any()
    inherited = np.zeros_like(p) if is_given else left.allowed @ right.largest + np.abs(left.exact) @ right.allowed
    # Of no terms there is nothing to round: exactly zero, or exactly the bias.
    if arithmetic.exact or left.exact.shape[1] == 0:
        return Enclosure(exact=y, allowed=inherited).overflowed(arithmetic.format)
    allowed = _allowed(arithmetic, (left, right, bias), p, inherited, randomness)
    joint = None
    if is_given and randomness.half_width is not None and arithmetic.sums_in_format and y.size >= FEWEST:
        joint = _joint_bound(arithmetic.u, left.exact, right.exact, bias, randomness.half_width)
    return Enclosure(exact=y, allowed=allowed, joint=joint).overflowed(arithmetic.format)


#: Left (P, K), right (K, m) and bias (m,) of a product.
_Operands = tuple[Enclosure, Enclosure, Enclosure | None]


def _allowed(
    arithmetic: Arithmetic, operands: _Operands, p: Float64, inherited: Float64, randomness: Randomness
) -> Float64:
    """
    Return the radius of a product with at least one term.

        sums = error of a sum of K products and the bias, rounded with u_acc (`sum_bounds.sum_error`)
        before_bias = e u_out (|p| + inherited + sums)
        |got - y| <= inherited + sums + before_bias + u_out (|y| + inherited + sums + before_bias) + floor

    - e is 1 if the product may be rounded to the output format before the bias is added: with a bias, if u_out is
      larger than u_acc. The last rounding is that of results that are computed in a wider format.
    - floor: each operand, product and the result may be flushed to zero, and the result, or the product before its
      bias, rounded below the normal range.

    The error of the reference itself is added unless float64 is the dtype under test; then
    `conformance.reference.answer` replaces the centre.
    """
    left, right, bias = operands
    terms = left.exact.shape[1]
    magnitude = left.largest @ right.largest
    y = p
    if bias is not None:
        y = p + bias.exact
        magnitude = magnitude + np.abs(bias.exact)
    unrounded = inherited + _sum_error(arithmetic, operands, magnitude, np.abs(y) + inherited, randomness)
    if bias is not None and arithmetic.u > arithmetic.u_accumulate:
        unrounded = unrounded + arithmetic.u_result * (np.abs(p) + unrounded)
    floor = arithmetic.flushed * (terms + 1 + _flushable(arithmetic, left, right))
    floor = floor + 2.0 * arithmetic.format.half_smallest_subnormal
    own = 0.0 if arithmetic.centred else (terms + 2) * U64 * magnitude
    allowed = unrounded + arithmetic.u_result * (np.abs(y) + unrounded) + floor + own
    # The radius itself was summed in float64: inflating it by its own worst relative error keeps it a bound.
    return np.asarray(allowed * (1.0 + 4.0 * (terms + 8) * U64))


def _sum_error(
    arithmetic: Arithmetic, operands: _Operands, magnitude: Float64, result: Float64, randomness: Randomness
) -> Float64:
    """Return the error of the sums of a product before their results are rounded to the format."""
    left, right, bias = operands
    terms = left.exact.shape[1] + (bias is not None)
    squares = None
    if randomness.signs and terms >= SHORTEST_STATISTICAL:
        squares = np.square(left.largest) @ np.square(right.largest)
        if bias is not None:
            squares = squares + np.square(bias.exact)
    error = sum_error(arithmetic.u_accumulate, terms, magnitude, result, squares)
    return error + arithmetic.u * magnitude if arithmetic.rounds_each_product else error


def _joint_bound(
    u: float, left: Float64, right: Float64, bias: Enclosure | None, half_width: float
) -> JointBound | None:
    """Return the bound of the elements of a product together: the smaller one of the two that hold."""
    of_bias = None if bias is None else bias.exact
    random = joint_bound(u, left, half_width, of_bias, (left.shape[0], right.shape[1]))
    terms = left.shape[1] + (bias is not None)
    if terms > SHORTEST_STATISTICAL:
        # The other bound grows with n, this one with its root.
        return random
    augmented = left, right
    if of_bias is not None:
        augmented = np.column_stack([left, np.ones(len(left))]), np.vstack([right, of_bias])
    magnitude, result, squares = (
        function(augmented[0]) @ function(augmented[1]) for function in (np.abs, np.asarray, np.square)
    )
    proven = proven_joint_bound(u, terms, magnitude, np.abs(result), squares)
    if random is None or proven is None:
        return random or proven
    return min(random, proven, key=lambda each: each.limit * float(np.median(each.unit)))


def _not_finite(arithmetic: Arithmetic, left: Enclosure, right: Enclosure, bias: Enclosure | None) -> Enclosure:
    """
    Return the product if some operand is not finite: sums with such a number are not finite, all others as without it.

    IEEE 754 determines whether such a sum is NaN or infinite, in any order of the terms. Sums are formed term by term
    here, since a library may skip a product with 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        y = np.empty((left.exact.shape[0], right.exact.shape[1]))
        for index, row in enumerate(left.exact):
            y[index] = (row[:, None] * right.exact).sum(axis=0)
        if bias is not None:
            y = y + bias.exact
    without = product(arithmetic, _zeroed(left), _zeroed(right), None if bias is None else _zeroed(bias))
    not_finite = ~np.isfinite(y)
    return Enclosure(exact=np.where(not_finite, y, without.exact), allowed=np.where(not_finite, 0.0, without.allowed))


def with_nan_rows(result: Enclosure, rows: npt.NDArray[np.bool_]) -> Enclosure:
    """Return a product (P, m) in which the given rows are NaN, with no error allowed there."""
    exact = np.where(rows[:, None], np.nan, result.exact)
    return replace(result, exact=exact, allowed=np.where(rows[:, None], 0.0, result.allowed))


def _zeroed(numbers: Enclosure) -> Enclosure:
    """Return the numbers with 0 in place of infinities and NaN."""
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
    """Return where some member other than zero is below the normal range."""
    return (np.abs(numbers.exact) - numbers.allowed < arithmetic.flushed) & (numbers.largest > 0.0)
