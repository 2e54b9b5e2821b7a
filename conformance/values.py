"""
The deterministic inputs and weights of a case: what every implementation is asked, on every machine.

A draw follows from the case's content alone. Its canonical form, hashed, keys a counter-based generator (Philox), whose
raw bits are mapped to numbers by this module. The mapping is pinned by tests, since NumPy's distributions may change.
This module knows no expected value and no implementation.

Lanes:

`exact`: numbers on a grid, chosen so that every product and partial sum is exact in the arithmetic used, whatever the
order; that is checked on the drawn data (`is_exact`), not assumed. A right layer then has no error at all. One draw for
each operand that is made wide: x, each kernel, and dy. The wide operand has odd entries of as many bits as the next
narrower format cannot hold, and more, up to the full significand, against small ones elsewhere (`exact_lane`).

`uniform`: mixed signs, pre-activations of standard deviation about 1; two draws, so that weights can be replaced.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from conformance.case import Case
from conformance.draw import ATTEMPTS, Draw, Float64, NoDraw, Plan, Stream, as_matrix, is_exact, is_powerless
from conformance.exact_lane import exact_draws

__all__ = ["Draw", "NoDraw", "Stream", "as_matrix", "draws", "is_exact", "is_powerless"]


def draws(case: Case, index: int = 0) -> tuple[Draw, ...]:
    """
    Return the draws of a case; `index` counts the times the case is asked (`--draws`).

    Raises:
        NoDraw: the case's units or axes are not numbers a layer can have, or its numbers cannot be made exact.
    """
    plan = Plan.of(case, index)
    return tuple(exact_draws(plan) if case.lane == "exact" else _uniform_draws(plan))


def _uniform_draws(plan: Plan) -> Iterator[Draw]:
    """Yield two draws with inputs of variance 1, kernels of variance 1/K, and distinct biases in (-1, 1)."""
    for number in ("first", "second"):
        candidates = (_uniform_draw(plan, number, attempt) for attempt in range(ATTEMPTS))
        accepted = next((each for each in candidates if not is_powerless(each, plan.activations)), None)
        if accepted is None:
            raise NoDraw(f"every draw for {plan.x_shape} and units {plan.units} is all zero, symmetric or saturated")
        yield accepted


def _uniform_draw(plan: Plan, number: str, attempt: int) -> Draw:
    def stream(*purpose: object) -> Stream:
        return Stream(plan.digest, "uniform", number, attempt, *purpose)

    dtype = plan.format.dtype
    kernels, biases = [], []
    for layer, (features, units) in enumerate(zip(plan.features, plan.units, strict=True)):
        scale = np.sqrt(3.0 / max(features, 1))
        kernels.append((stream("kernel", layer).uniform((features, units)) * scale).astype(dtype))
        biases.append(_distinct(stream("bias", layer), units).astype(dtype) if plan.use_bias[layer] else None)
    return Draw(
        name=number,
        x=plan.repeated((stream("x").uniform(plan.x_shape) * np.sqrt(3.0)).astype(dtype)),
        kernels=tuple(kernels),
        biases=tuple(biases),
        dy=(stream("dy").uniform(plan.dy_shape) * _reach(plan)).astype(dtype),
        exact=False,
    )


def _reach(plan: Plan) -> float:
    """Return a factor that gives float64 numbers that float32 cannot hold: the 24 bits of a stream do not fill it."""
    return np.sqrt(0.75) if plan.format.significand > 24 else 1.0


def _distinct(stream: Stream, size: int) -> Float64:
    """Return one number from each of `size` equal parts of (-1, 1), in random order."""
    within = (stream.uniform((size,)) + 1.0) / 2.0
    return (2.0 * (stream.permutation(size) + within) / max(size, 1) - 1.0).astype(np.float64)
