"""
The lanes whose numbers have all bits of the dtype, so that results are rounded: `uniform`, `wide` and `cancelling`.

- `uniform`: numbers of both signs; pre-activations have a standard deviation of about 1.
- `wide`: every position and every unit has a scale of its own. The scales are far apart, which tests the range of the
  dtype as well as its precision.
- `cancelling`: the bias of each unit is minus its product at one position, so that the result there is its rounding
  error.

Each lane has two draws, so that weights can be replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.reference.draw import ATTEMPTS, Array, Draw, Float64, HalfWidths, NoDraw, Plan, as_matrix, is_powerless
from conformance.stream import Stream

#: Exponents of the smallest and the largest scale of a position on the lane `wide`, by dtype. The exponents of layers
#: add up, forward and backward, and their sums stay well within the range.
_REACH: Final = {"float64": (-240, 240), "float32": (-40, 40), "float16": (-6, 3), "bfloat16": (-40, 40)}
#: The largest exponent of the scale of a unit, positive or negative.
_UNIT_REACH: Final = {"float64": 40, "float32": 8, "float16": 1, "bfloat16": 8}
#: The largest difference of the exponents of two elements of one position.
_WITHIN: Final = 2
#: Activations f with f(2z) = 2 f(z). The inputs of the others reach deep into their flat parts, beyond the overflow of
#: exp (float32: 89), and no further. The inputs of exponential stay below its overflow.
_SCALABLE: Final = ("linear", "relu", "leaky_relu")
_LARGEST_FOR: Final = {"exponential": -1}
_LARGEST_FOR_OTHERS: Final = 8
#: Below this scale the other activations are equal to their tangents.
_SMALLEST_FOR_OTHERS: Final = -24


def uniform_draws(plan: Plan) -> Iterator[Draw]:
    """Yield two draws with inputs of variance 1, kernels of variance 1/K, and distinct biases in (-1, 1)."""
    return _two(plan, _uniform_draw)


def wide_draws(plan: Plan) -> Iterator[Draw]:
    """Yield two draws in which the scales of positions and of units lie far apart."""
    return _two(plan, _wide_draw)


def cancelling_draws(plan: Plan) -> Iterator[Draw]:
    """Yield two draws in which each unit's result is nearly zero at one position."""
    return _two(plan, _cancelling_draw)


def _two(plan: Plan, drawn: Callable[[Plan, str, int], Draw]) -> Iterator[Draw]:
    for number in ("first", "second"):
        candidates = (drawn(plan, number, attempt) for attempt in range(ATTEMPTS))
        accepted = next((each for each in candidates if not is_powerless(each, plan.activations)), None)
        if accepted is None:
            raise NoDraw(f"every draw for {plan.x_shape} and units {plan.units} is all zero, symmetric or saturated")
        yield accepted


def _uniform_draw(plan: Plan, number: str, attempt: int) -> Draw:
    def stream(*purpose: object) -> Stream:
        return Stream(plan.digest, "uniform", number, attempt, *purpose)

    dtype = plan.format.dtype
    kernels, biases = [], []
    scales = tuple(math.sqrt(3.0 / max(features, 1)) for features in plan.features)
    for layer, (features, units) in enumerate(zip(plan.features, plan.units, strict=True)):
        kernels.append((stream("kernel", layer).uniform((features, units)) * scales[layer]).astype(dtype))
        biases.append(_distinct_biases(stream("bias", layer), units).astype(dtype) if plan.use_bias[layer] else None)
    return Draw(
        name=number,
        x=plan.as_input((stream("x").uniform(plan.x_shape) * np.sqrt(3.0)).astype(dtype)),
        kernels=tuple(kernels),
        biases=tuple(biases),
        dy=(stream("dy").uniform(plan.dy_shape) * _dy_scale(plan)).astype(dtype),
        exact=False,
        half_widths=HalfWidths(kernels=scales, dy=_dy_scale(plan)),
    )


def _dy_scale(plan: Plan) -> float:
    """Return a factor that gives float64 numbers more than the 24 bits of a stream: float32 cannot hold them."""
    return math.sqrt(0.75) if plan.format.significand > 24 else 1.0


def _distinct_biases(stream: Stream, size: int) -> Float64:
    """Return one number from each of `size` equal parts of (-1, 1), in random order."""
    within = (stream.uniform((size,)) + 1.0) / 2.0
    return (2.0 * (stream.permutation(size) + within) / max(size, 1) - 1.0).astype(np.float64)


def _wide_draw(plan: Plan, number: str, attempt: int) -> Draw:
    """
    Return a uniform draw with powers of two as scales: of each position and element of x, of each unit, of dy.

    A bias has the scale of the smallest position, so that it contributes at that position and dominates no other one.
    """

    def stream(*purpose: object) -> Stream:
        return Stream(plan.digest, "wide", number, attempt, *purpose)

    even = _uniform_draw(plan, number, attempt)
    smallest, largest = _REACH[plan.dtype]
    reach = _UNIT_REACH[plan.dtype]
    if limits := [_LARGEST_FOR.get(each, _LARGEST_FOR_OTHERS) for each in plan.activations if each not in _SCALABLE]:
        smallest, largest, reach = max(smallest, _SMALLEST_FOR_OTHERS), min(largest, *limits), 0
    positions = as_matrix(even.x).shape[0]
    scales = _spread_exponents(stream("positions"), positions, smallest, largest)
    within = stream("within").integers(-_WITHIN, 0, as_matrix(even.x).shape)
    x = np.ldexp(as_matrix(even.x).astype(np.float64), scales[:, None] + within)
    kernels, biases = [], []
    gathered = 0
    for layer, (kernel, bias) in enumerate(zip(even.kernels, even.biases, strict=True)):
        units = _spread_exponents(stream("units", layer), kernel.shape[1], -reach, reach)
        kernels.append(np.ldexp(kernel.astype(np.float64), units).astype(plan.format.dtype))
        level = smallest + gathered + units
        biases.append(None if bias is None else np.ldexp(bias.astype(np.float64), level).astype(plan.format.dtype))
        gathered -= reach
    dy = np.ldexp(as_matrix(even.dy).astype(np.float64), stream("dy").integers(-reach - 2, 0, (positions, 1)))
    return replace(
        even,
        x=plan.as_input(x.reshape(plan.x_shape).astype(plan.format.dtype)),
        kernels=tuple(kernels),
        biases=tuple(biases),
        dy=dy.reshape(plan.dy_shape).astype(plan.format.dtype),
        half_widths=None,
    )


def _spread_exponents(stream: Stream, size: int, low: int, high: int) -> Array:
    """Return `size` integers spread evenly over [low, high] in random order. One integer is `low` or `high`."""
    if size == 1:
        return np.array([(low, high)[int(stream.integers(0, 1, (1,))[0])]])
    spread = low + (high - low) * np.arange(size) // max(size - 1, 1)
    return spread[stream.permutation(size)]


def _cancelling_draw(plan: Plan, number: str, attempt: int) -> Draw:
    """
    Return a uniform draw whose biases are minus a product, rounded to the dtype.

    Unit j cancels at position j, modulo the number of positions. Without a bias the weight of the last feature makes it
    cancel.
    """
    even = _uniform_draw(plan, number, attempt)
    a = as_matrix(even.x).astype(np.float64)
    kernels, biases = [], []
    for kernel, bias, activation in zip(even.kernels, even.biases, plan.activations, strict=True):
        changed, other = kernel.astype(np.float64), None
        if a.size and kernel.size:
            units = np.arange(kernel.shape[1])
            rows = units % a.shape[0]
            if bias is not None:
                other = -(a @ changed)[rows, units]
            else:
                short = -(a[:, :-1] @ changed[:-1])[rows, units]
                last = a[rows, -1]
                changed[-1] = np.where(np.abs(last) > 2.0**-6, short / np.where(last == 0.0, 1.0, last), changed[-1])
        kernels.append(changed.astype(plan.format.dtype))
        biases.append(bias if other is None else other.astype(plan.format.dtype))
        z = a @ kernels[-1].astype(np.float64)
        if biases[-1] is not None:
            z = z + biases[-1].astype(np.float64)
        # The input of the next layer need not be exact: it only decides where that layer cancels.
        a = np.maximum(z, 0.0) if activation == "relu" else np.tanh(z) if activation != "linear" else z
    return replace(even, kernels=tuple(kernels), biases=tuple(biases), half_widths=None)
