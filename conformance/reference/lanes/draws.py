"""
The deterministic inputs and weights of a case: what every implementation is asked, on every machine.

A draw follows from the case's content alone. Its canonical form, hashed, keys a counter-based generator (Philox), whose
raw bits are mapped to numbers by this package. The mapping is pinned by tests, since NumPy's distributions may change.
Nothing here knows an expected value or an implementation.

The lanes, each with what it proves:

`exact` (`conformance.reference.lanes.exact`): numbers on a grid, every sum of which is exact in any order; a right
layer has no error at all. `uniform`, `wide` and `cancelling` (`conformance.reference.lanes.uniform`): numbers with all
their bits, of one scale, of scales far apart, or such that results nearly vanish. `special` and `denormal`
(`conformance.reference.lanes.special`): what is not finite, and what lies below the normal range. `literal`: arrays
that the row itself gives. `shapes` has no values at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from conformance.reference.draw import Array, Draw, NoDraw, Plan, as_matrix, is_exact, is_powerless
from conformance.reference.lanes.exact import exact_draws
from conformance.reference.lanes.special import denormal_draws, special_draws
from conformance.reference.lanes.uniform import cancelling_draws, uniform_draws, wide_draws
from conformance.stream import Stream
from conformance.table.case import EXACT_ACTIVATIONS, Case, Data, Numbers

__all__ = ["Draw", "NoDraw", "as_matrix", "draws", "is_exact", "is_powerless"]

_DRAWN: Final[Mapping[str, Callable[[Plan], Iterator[Draw]]]] = {
    "exact": exact_draws,
    "uniform": uniform_draws,
    "wide": wide_draws,
    "cancelling": cancelling_draws,
    "special": special_draws,
    "denormal": denormal_draws,
}


def draws(case: Case, index: int = 0) -> tuple[Draw, ...]:
    """
    Return the draws of a case; `index` counts the times the case is asked (`--draws`).

    Raises:
        NoDraw: the case's units or axes are not numbers a layer can have, or its numbers cannot be made exact.
    """
    plan = Plan.of(case, index)
    if case.lane == "shapes":
        raise NoDraw("the lane shapes has no values")
    if case.data is not None:
        given = _literal_draw(plan, case.data)
        return (given, _negated(given))
    return tuple(_DRAWN[case.lane](plan))


@np.errstate(over="ignore")
def _literal_draw(plan: Plan, data: Data) -> Draw:
    """Return the arrays of the row, rounded to the dtype; exact where every sum of theirs is."""

    def array(numbers: Numbers, shape: tuple[int, ...]) -> Array:
        filled: Any = np.broadcast_to(np.array(numbers, np.float64), shape)
        return np.ascontiguousarray(filled).reshape(shape).astype(plan.format.dtype)

    shapes = zip(plan.features, plan.units, strict=True)
    biases = zip(data.biases, plan.units, strict=True)
    dy = Stream(plan.digest, "literal", "dy").integers(1, 3, plan.dy_shape).astype(plan.format.dtype)
    operands = Draw(
        name="literal",
        x=plan.fed(array(data.x, plan.x_shape)),
        kernels=tuple(array(each, shape) for each, shape in zip(data.kernels, shapes, strict=True)),
        biases=tuple(None if each is None else array(each, (units,)) for each, units in biases),
        dy=dy if data.dy is None else array(data.dy, plan.dy_shape),
        exact=False,
    )
    exact = set(plan.activations) <= set(EXACT_ACTIVATIONS) and _of_integers(operands)
    return replace(operands, exact=exact and is_exact(operands, plan.activations, plan.format))


def _negated(draw: Draw) -> Draw:
    """Return the draw with the other sign on all its weights: what a layer is given new weights by."""
    biases = tuple(None if each is None else -each for each in draw.biases)
    return replace(draw, name="weights negated", kernels=tuple(-each for each in draw.kernels), biases=biases)


def _of_integers(draw: Draw) -> bool:
    """Return whether all numbers are integers, of which `is_exact` bounds the sums."""
    arrays = (draw.x, *draw.kernels, *(each for each in draw.biases if each is not None), draw.dy)
    return all(bool((np.isfinite(each) & (each == np.round(each))).all()) for each in arrays)
