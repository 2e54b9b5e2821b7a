"""
The draws of a case: its inputs and weights, the same for every implementation on every machine.

A draw follows from the content of the case. The hash of its canonical form is the key of a counter-based generator
(Philox), and this package maps the raw bits to numbers. Tests pin the mapping, since NumPy's distributions may change.

- `exact` (`conformance.reference.lanes.exact`): numbers on a grid whose sums are exact in any order. A right layer has
  no error.
- `uniform`, `wide` and `cancelling` (`conformance.reference.lanes.uniform`): numbers with all bits of the dtype, of one
  scale, of scales far apart, or with results that nearly cancel.
- `special` and `denormal` (`conformance.reference.lanes.special`): infinities and NaN, and numbers below the normal
  range.
- `literal`: arrays of the row.
- `shapes`: no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.reference.draw import Array, Draw, NoDraw, Plan, as_matrix, is_exact, is_powerless
from conformance.reference.lanes.exact import exact_draws
from conformance.reference.lanes.special import denormal_draws, special_draws
from conformance.reference.lanes.uniform import cancelling_draws, uniform_draws, wide_draws
from conformance.stream import Stream
from conformance.table.case import EXACT_ACTIVATIONS, Case, Data, Numbers

__all__ = ["Draw", "NoDraw", "as_matrix", "draws", "is_exact", "is_powerless"]

#: The lanes that have draws of their own. `make schema` writes their names to the table.
DRAWN_LANES: Final[Mapping[str, Callable[[Plan], Iterator[Draw]]]] = {
    "exact": exact_draws,
    "uniform": uniform_draws,
    "wide": wide_draws,
    "cancelling": cancelling_draws,
    "special": special_draws,
    "denormal": denormal_draws,
}


def draws(case: Case, index: int = 0) -> tuple[Draw, ...]:
    """
    Return the draws of a case.

    - `index`: with `--draws` the number of the run of the case, from 0.

    Raises:
        NoDraw: a layer cannot have the units or axes of the case, or its sums cannot be exact.
    """
    plan = Plan.of(case, index)
    if case.lane == "shapes":
        raise NoDraw("the lane shapes has no values")
    if case.data is not None:
        literal = _literal_draw(plan, case.data)
        return (literal, _negated(literal))
    return tuple(DRAWN_LANES[case.lane](plan))


@np.errstate(over="ignore")
def _literal_draw(plan: Plan, data: Data) -> Draw:
    """Return the arrays of the row, rounded to the dtype. The draw is exact if each of its sums is."""

    def array(numbers: Numbers, shape: tuple[int, ...]) -> Array:
        return np.full(shape, np.array(numbers, np.float64), np.float64).astype(plan.format.dtype)

    shapes = zip(plan.features, plan.units, strict=True)
    biases = zip(data.biases, plan.units, strict=True)
    dy = Stream(plan.digest, "literal", "dy").integers(1, 3, plan.dy_shape).astype(plan.format.dtype)
    operands = Draw(
        name="literal",
        x=plan.as_input(array(data.x, plan.x_shape)),
        kernels=tuple(array(each, shape) for each, shape in zip(data.kernels, shapes, strict=True)),
        biases=tuple(None if each is None else array(each, (units,)) for each, units in biases),
        dy=dy if data.dy is None else array(data.dy, plan.dy_shape),
        exact=False,
    )
    exact = set(plan.activations) <= set(EXACT_ACTIVATIONS) and _of_integers(operands)
    return replace(operands, exact=exact and is_exact(operands, plan.activations, plan.format))


def _negated(draw: Draw) -> Draw:
    """Return the draw with the other sign on all its weights, from which a layer gets new weights."""
    biases = tuple(None if each is None else -each for each in draw.biases)
    return replace(draw, name="weights negated", kernels=tuple(-each for each in draw.kernels), biases=biases)


def _of_integers(draw: Draw) -> bool:
    """Return whether all numbers are integers, as `is_exact` assumes."""
    arrays = (draw.x, *draw.kernels, *(each for each in draw.biases if each is not None), draw.dy)
    return all(bool((np.isfinite(each) & (each == np.round(each))).all()) for each in arrays)
