"""
The errors of a sum: what is proven of one element, what its random signs allow, and what all elements allow together.

Notation: a sum has n terms t, the K products x w and the bias. S = sum t², B = sum |t|, y = sum t. u is the unit
roundoff of the format in which it is added up. `docs/numerics.md` derives the three bounds.

- Proven, in any order: u (B + (n - 1) (B + |y|)/2) (1 + u)^(n-1), and at most n u B.
- Statistical, for terms with independent random signs: u T sqrt(n S) (1 + u)^(n-1), with probability 1 - `FALSE_ALARM`
  for all elements of a run.
- Together, for the N elements of an array: the mean of min(error²/unit², clip²), where unit is
  u sqrt(n E[S]) (1 + u)^(n-1); or, for few terms, with the largest possible partial sums in place of random ones.

The statistical bounds assume that rounding errors are independent and have the mean 0, given the numbers of the draw,
and that the order of a sum follows from the shapes and not from the numbers.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conformance.reference.draw import ATTEMPTS

Float64 = npt.NDArray[np.float64]

#: The probability of one false alarm in a whole run, for each of the two statistical bounds.
FALSE_ALARM: Final = 1e-12
#: The most elements and arrays that a run compares: a million cells of a million elements, in 100 arrays each.
ELEMENTS: Final = 1e12
ARRAYS: Final = 1e8
#: The fewest elements of an array that are also judged together.
FEWEST: Final = 64
#: The largest matrix whose eigenvalues are computed.
_MOST_EIGENVALUES: Final = 64
#: The clips, in units, of which the smallest is used whose square is at least twice that of the bound.
CLIPS: Final = tuple(2.0 ** (power / 4.0) for power in range(17))


def _tail_factor() -> float:
    """Return T with 2 ATTEMPTS sqrt(e (T + 1)) exp(-T) = FALSE_ALARM / ELEMENTS."""
    factor = 1.0
    for _ in range(64):
        factor = math.log(2.0 * ATTEMPTS * ELEMENTS / FALSE_ALARM * math.sqrt(math.e * (factor + 1.0)))
    return factor


#: T, the statistical bound of one element in units of u sqrt(n S).
TAIL_FACTOR: Final = _tail_factor()
#: The fewest terms of a sum whose statistical bound can be smaller than the proven one: B + (n - 1) B/2 > T B.
SHORTEST_STATISTICAL: Final = math.ceil(TAIL_FACTOR)


def growth(u: float, terms: int) -> float:
    """Return (1 + u)^(n-1), by which the later roundings of a sum may enlarge the error of an earlier one."""
    return math.exp(min(max(terms - 1, 0) * math.log1p(u), 700.0))


def sum_error(u: float, terms: int, magnitude: Float64, result: Float64, squares: Float64 | None = None) -> Float64:
    """
    Return the largest error of each of several sums of `terms` terms, in any order.

    - `u`: the unit roundoff of the format of the sums.
    - `magnitude`, `result`: B and |y|, or numbers that are not smaller.
    - `squares`: S, or numbers that are not smaller, if the signs of the terms are random.
    """
    factor = growth(u, terms)
    in_units = np.minimum(terms * magnitude, factor * (magnitude + (terms - 1) * (magnitude + result) / 2.0))
    if squares is not None:
        in_units = np.minimum(in_units, factor * TAIL_FACTOR * np.sqrt(terms * squares))
    return np.asarray(u * in_units)


@dataclass(frozen=True, kw_only=True, slots=True)
class JointBound:
    """The bound of the errors of the elements of one array together."""

    #: What the error of each element is measured in.
    unit: Float64
    #: The errors are cut at so many units.
    clip: float
    #: The largest root mean square of the errors, in units.
    limit: float

    def root_mean_square(self, error: Float64) -> float:
        """Return the root mean square of errors, in units, each cut at the clip."""
        return float(np.sqrt(np.mean(np.square(np.minimum(error / self.unit, self.clip)))))


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialSums:
    """What is known of the partial sums of the elements of an array together, if the numbers are random."""

    #: The expected sum of their squares, as a mean over the array and in units of n E[S]: the part of the products.
    #: Together with the part of the bias it is at most 1.
    mean: float
    #: The part of the bias.
    of_bias: float
    #: The largest eigenvalue of the sum of squares as a quadratic form in the random numbers, in the same units.
    norm: float

    def limit(self, elements: int) -> tuple[float, float] | None:
        """
        Return the clip and the largest root mean square of errors that are cut at it, in units of u sqrt(n E[S]).

        None if no clip leaves any power.
        """
        return _limit(elements, self.mean, self.of_bias, self.norm)


def limit_of_roundings(elements: int) -> float:
    """Return the largest root mean square of errors that are random in nothing but their roundings, in their units."""
    exponent = _exponent(elements)
    return math.sqrt(1.0 + 2.0 * math.sqrt(exponent) + 2.0 * exponent)


def _exponent(elements: int) -> float:
    """Return t/N for the stated probability exp(-t), of each of two bounds of each array."""
    return math.log(2.0 * ATTEMPTS * ARRAYS / FALSE_ALARM) / elements


@functools.lru_cache(maxsize=1024)
def _limit(elements: int, mean: float, of_bias: float, norm: float) -> tuple[float, float] | None:
    exponent = _exponent(elements)
    for clip in CLIPS:
        square = clip**2
        # For every slope the mean of the clipped squares exceeds the bound with probability exp(-N exponent) at most.
        slope = np.geomspace(1e-4, 3.0, 400) / square
        gain = np.expm1(slope * square) / square
        is_finite = 2.0 * gain * norm < 1.0
        slope, gain = slope[is_finite], gain[is_finite]
        moment = -np.log1p(-2.0 * gain * norm) / (2.0 * norm) * mean + gain * of_bias / (1.0 - 2.0 * gain * norm)
        bound = float(((exponent + moment) / slope).min(initial=math.inf))
        if bound <= square / 2.0:
            return clip, math.sqrt(bound)
    return None


def proven_joint_bound(
    u: float, terms: int, magnitude: Float64, result: Float64, squares: Float64
) -> JointBound | None:
    """
    Return the bound of the elements of an array together that takes each partial sum for as large as it can be.

    It is the smaller one for few terms. None if some elements have no rounding.
    """
    roundings = squares + (terms - 1) * np.square((magnitude + result) / 2.0)
    if not roundings.all():
        return None
    unit = u * growth(u, terms) * np.sqrt(roundings)
    return JointBound(unit=unit, clip=math.inf, limit=limit_of_roundings(squares.size))


def joint_bound(
    u: float, left: Float64, half_width: float, bias: Float64 | None, shape: tuple[int, ...]
) -> JointBound | None:
    """
    Return the bound of the elements of left (P, K) times right (K, m), plus a bias (m,), together.

    None if the bound would have no power, or some elements have no rounding.

    - `shape`: (P, m).
    - `half_width`: the numbers of the right operand are drawn uniformly from (-half_width, half_width), independently.
      They may have been rounded up to twice, to 8 bits or more.
    """
    variance = (half_width * (1.0 + 2.0**-8) ** 2) ** 2 / 3.0
    expected = variance * np.square(left).sum(axis=1, keepdims=True)
    if bias is not None:
        expected = expected + np.square(bias)[None, :]
    if not expected.all():
        return None
    limit = partial_sums(left, variance, bias, expected).limit(math.prod(shape))
    if limit is None:
        return None
    terms = left.shape[1] + (bias is not None)
    unit = np.broadcast_to(u * growth(u, terms) * np.sqrt(terms * expected), shape).copy()
    return JointBound(unit=unit, clip=limit[0], limit=limit[1])


def partial_sums(left: Float64, variance: float, bias: Float64 | None, expected: Float64) -> PartialSums:
    """
    Return what is known of the partial sums of left (P, K) times right (K, m), plus a bias (m,), in any order.

    - `variance`: that of the numbers of the right operand.
    - `expected`: E[S], (P, m) or (P, 1).
    """
    terms = left.shape[1] + (bias is not None)
    # The share of each term in E[S], averaged over the elements. The worst order adds the largest terms first: a term
    # then enters n, n, n - 1, ... 2 roundings, that of its product included.
    shares = (variance * np.square(left) * (1.0 / expected).mean(axis=1, keepdims=True)).mean(axis=0)
    if bias is not None:
        shares = np.append(shares, (np.square(bias) / expected).mean())
    roundings = np.empty(terms)
    roundings[np.argsort(-shares)] = np.minimum(np.arange(terms + 1, 1, -1), terms) / terms
    parts = shares * roundings
    lengths = np.sqrt(np.square(left).sum(axis=1, keepdims=True))
    return PartialSums(
        mean=float(parts[: left.shape[1]].sum()),
        of_bias=float(parts[left.shape[1] :].sum()),
        norm=_largest_eigenvalue(left / np.where(lengths > 0.0, lengths, 1.0)),
    )


def _largest_eigenvalue(rows: Float64) -> float:
    """Return the largest eigenvalue of rowsᵀ·rows for rows of length 1 or 0, or a number that is not much larger."""
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    if len(gram) > _MOST_EIGENVALUES:
        # The sum of the eighth powers of all eigenvalues, which costs two products of matrices.
        fourth = np.linalg.matrix_power(gram, 4)
        return max(1.0, math.pow(float(np.sum(fourth * fourth)), 0.125) * (1.0 + 1e-9))
    return max(1.0, float(np.linalg.eigvalsh(gram)[-1]) * (1.0 + 1e-9))
