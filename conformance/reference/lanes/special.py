"""
The lanes `special`, with infinities and NaN, and `denormal`, with numbers below the normal range.

- `special`: small integers as on the exact lane, some of which are replaced by infinities and NaN, or one product
  overflows. IEEE 754 determines each result that is not finite, in any order of the terms: a sum with NaN, or with
  infinities of both signs, is NaN in any order.
- `denormal`: all numbers are positive. An implementation may flush operands, products or results to zero; its answer is
  between 0 and the answer without a flush. Both ends are right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.reference.draw import Array, Draw, Plan, as_matrix, is_exact
from conformance.stream import Stream

#: In the order in which they replace numbers.
_SPECIAL: Final = (np.inf, -np.inf, np.nan)


def special_draws(plan: Plan) -> Iterator[Draw]:
    """Yield a draw for each operand with infinities and NaN in it, and one whose result overflows."""
    small = _small(plan, "special")
    yield _x_not_finite(plan, small)
    yield _kernel_not_finite(plan, small)
    if small.biases[-1] is not None:
        bias = small.biases[-1].copy()
        bias[: len(_SPECIAL)] = _SPECIAL[: bias.size]
        yield replace(small, name="bias not finite", biases=(*small.biases[:-1], bias))
    if len(plan.units) == 1:
        yield _overflowing(plan, small)


def _small(plan: Plan, lane: str, low: int = -2) -> Draw:
    """Return a draw of small integers from `low` to 3, none of them zero in x, and dy."""

    def drawn(*purpose: object) -> Stream:
        return Stream(plan.digest, lane, *purpose)

    def nonzero(stream: Stream, shape: tuple[int, ...]) -> Array:
        numbers = stream.integers(low, 2, shape)
        return (numbers + (numbers >= 0) if low < 1 else numbers).astype(plan.format.dtype)

    shapes = list(zip(plan.features, plan.units, strict=True))
    draw = Draw(
        name=lane,
        x=plan.as_input(nonzero(drawn("x"), plan.x_shape)),
        kernels=tuple(
            drawn("kernel", n).integers(low, 2, each).astype(plan.format.dtype) for n, each in enumerate(shapes)
        ),
        biases=tuple(
            nonzero(drawn("bias", n), (units,)) if plan.use_bias[n] else None for n, (_, units) in enumerate(shapes)
        ),
        dy=nonzero(drawn("dy"), plan.dy_shape),
        exact=False,
    )
    # In a format of few bits long sums of small integers are rounded as well.
    return replace(draw, exact=is_exact(draw, plan.activations, plan.format))


def _x_not_finite(plan: Plan, small: Draw) -> Draw:
    """Return the draw with one special number in each of up to three positions. The first of several has none."""
    x = as_matrix(small.x).copy()
    if x.size:
        rows = np.arange(1, x.shape[0])[: len(_SPECIAL)] if x.shape[0] > 1 else np.zeros(1, np.int64)
        columns = Stream(plan.digest, "special", "columns").integers(0, x.shape[1] - 1, (rows.size,))
        x[rows, columns] = _SPECIAL[: rows.size]
    return replace(small, name="x not finite", x=plan.as_input(x.reshape(plan.x_shape)))


def _kernel_not_finite(plan: Plan, small: Draw) -> Draw:
    """
    Return the draw with one special number in each of up to three units. The first of several units has none.

    At the first of several positions x is 0 where the kernel is not finite, since 0 times infinity is NaN.
    """
    x, kernel = as_matrix(small.x).copy(), small.kernels[0].copy()
    if kernel.size:
        columns = np.arange(1, kernel.shape[1])[: len(_SPECIAL)] if kernel.shape[1] > 1 else np.zeros(1, np.int64)
        rows = Stream(plan.digest, "special", "rows").integers(0, kernel.shape[0] - 1, (columns.size,))
        kernel[rows, columns] = _SPECIAL[: columns.size]
        if x.shape[0] > 1:
            x[0, rows] = 0
    return replace(
        small,
        name="kernel not finite",
        x=plan.as_input(x.reshape(plan.x_shape)),
        kernels=(kernel, *small.kernels[1:]),
    )


def _overflowing(plan: Plan, small: Draw) -> Draw:
    """Return a draw in which one product is larger than the largest number of the dtype. The others are small."""
    exponent = math.frexp(plan.format.maximum)[1] // 2 + 1
    x, kernel = as_matrix(small.x).copy(), small.kernels[0].copy()
    if x.size and kernel.size:
        # The two large numbers are multiplied by each other and by zeros only, so that all other sums stay exact.
        x[:, 0], x[-1], kernel[0], kernel[:, -1] = 0, 0, 0, 0
        x[-1, 0], kernel[0, -1] = -(2.0**exponent), 2.0**exponent
    return replace(small, name="overflowing", x=plan.as_input(x.reshape(plan.x_shape)), kernels=(kernel,))


def denormal_draws(plan: Plan) -> Iterator[Draw]:
    """
    Yield draws of positive numbers in which x, the kernel and the bias, or the products are below the normal range.

    The bias is 0 if x or the products are, so that only those can be flushed.
    """
    small = _small(plan, "denormal", low=1)
    below = plan.format.smallest_normal * 2.0 ** -min(plan.format.significand - 4, 10)
    half = 2.0 ** (plan.format.emin // 2 - 4)
    other = 2.0 ** (plan.format.emin - plan.format.emin // 2)
    first, *rest = small.kernels
    for name, of_x, of_kernel, of_bias in (
        ("x", below, 1.0, 0.0),
        ("kernel", 1.0, below, below),
        ("products", half, other, 0.0),
    ):
        biases = tuple(None if each is None else _times(each, of_bias) for each in small.biases)
        yield replace(
            small,
            name=f"{name} denormal",
            x=plan.as_input(_times(small.x, of_x)),
            kernels=(_times(first, of_kernel), *rest),
            biases=biases,
            denormal=True,
        )


def _times(array: Array, scale: float) -> Array:
    # In float64, since a 16-bit array times a scale of 16 bits would be rounded twice.
    return (array.astype(np.float64) * scale).astype(array.dtype)
