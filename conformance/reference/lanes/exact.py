"""
The exact lane: small numbers on a grid, with one operand as wide as its sums allow.

Every product and partial sum is exact in the arithmetic of the case, in any order.
`conformance.reference.draw.is_exact` checks this on the drawn numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from conformance.reference.draw import (
    ATTEMPTS,
    Draw,
    Integers,
    NoDraw,
    Plan,
    as_matrix,
    is_exact,
    is_on_kink,
    is_powerless,
)
from conformance.stream import Stream

#: The bits of an odd integer that the next narrower format in use cannot represent: float32 has 24, TF32 11, the widest
#: format of 8 bits 4.
MEDIUM_BITS: Final = {"float64": 25, "float32": 12, "float16": 5, "bfloat16": 5}
#: The most entries of the wide operand that are wide; their sums must stay exact.
MOST_WIDE: Final = {"float64": 256, "float32": 256, "float16": 2, "bfloat16": 2}


def exact_draws(plan: Plan) -> Iterator[Draw]:
    """Yield a draw for each wide operand: x, every kernel, and dy together with the last bias."""
    operands = ("x", *(f"kernel {layer}" for layer in range(len(plan.units))), "dy")
    for wide in operands:
        # An input of another dtype has small integers only.
        if wide != "x" or plan.input_dtype is None:
            yield _exact_draw(plan, wide)


def _exact_draw(plan: Plan, wide: str) -> Draw:
    """
    Return a draw with one operand as wide as its sums allow.

    A bisection over the number of bits finds the width of the widest entry. Each candidate is checked on its numbers.
    """
    fallback: Draw | None = None
    for attempt in range(ATTEMPTS):
        small = _SmallDraw.draw(plan, wide, attempt)
        # From no wide entry, which is exact for all shapes that a row may have, to the full significand.
        widths = [0, *range(MEDIUM_BITS[plan.dtype], plan.format.significand + 1)]
        low, high = 0, len(widths) - 1
        best = small.widened(0)
        if is_powerless(best, plan.activations) or not is_exact(best, plan.activations, plan.format):
            continue
        while low < high:
            middle = (low + high + 1) // 2
            candidate = small.widened(widths[middle])
            if is_exact(candidate, plan.activations, plan.format):
                low, best = middle, candidate
            else:
                high = middle - 1
        if wide == "dy":
            best = _with_wide_bias(plan, best, Stream(plan.digest, "exact", wide, attempt, "bias wide"))
        if not is_on_kink(best, plan.activations):
            return best
        fallback = fallback or best
    if fallback is None:
        raise NoDraw(f"no exact draw exists for {plan.x_shape} and units {plan.units}: sums do not fit, or all is zero")
    return fallback


def _with_wide_bias(plan: Plan, draw: Draw, stream: Stream) -> Draw:
    """
    Return the draw with one entry of the last bias as wide as its sum allows.

    The last bias enters no gradient, so that it may be wide together with dy. The bias of relu stays as it is, since it
    decides where relu is flat.
    """
    bias = draw.biases[-1]
    if bias is None or bias.size == 0 or plan.activations[-1] != "linear":
        return draw
    chosen = int(stream.permutation(bias.size)[0])
    for bits in range(plan.format.significand, MEDIUM_BITS[plan.dtype] - 1, -1):
        wide = bias.copy()
        wide[chosen] = stream.odd(bits, (1,))[0]
        candidate = replace(draw, biases=(*draw.biases[:-1], wide))
        if is_exact(candidate, plan.activations, plan.format):
            return candidate
    return draw


@dataclass(frozen=True, kw_only=True, slots=True)
class _SmallWeights:
    """Small kernels and biases of a stack, as integers."""

    kernels: tuple[Integers, ...]
    #: In units of 1/grid of their layer.
    biases: tuple[Integers | None, ...]
    grids: tuple[int, ...]

    @classmethod
    def draw(cls, plan: Plan, wide: str, stream: Callable[..., Stream]) -> _SmallWeights:
        """Return weights from streams by their purpose, for a draw with the operand `wide` made wide."""
        kernels: list[Integers] = []
        biases: list[Integers | None] = []
        grids: list[int] = []
        grid = 1
        for layer, (features, units) in enumerate(zip(plan.features, plan.units, strict=True)):
            dense = len(plan.units) == 1 or (layer == 0 and wide in ("x", "kernel 0"))
            kernels.append(_signs(stream("kernel", layer), features, units, dense=dense and not plan.is_short))
            bias = _small_bias(plan, wide, layer, stream("bias", layer)) if plan.use_bias[layer] else None
            if bias is not None and plan.activations[layer] == "relu":
                # Between the points of the grid, so that no z is 0.
                grid *= 2
                bias = 2 * bias + 1
            elif bias is not None:
                bias = bias + (bias >= 0)
            biases.append(bias)
            grids.append(grid)
        return cls(kernels=tuple(kernels), biases=tuple(biases), grids=tuple(grids))


def _small_bias(plan: Plan, wide: str, layer: int, stream: Stream) -> Integers:
    bias = stream.permutation(plan.units[layer]) - plan.units[layer] // 2
    if plan.is_short:
        # A term of a sum must not use up the few bits that a result has.
        bias = bias % (3 if len(plan.units) > 1 else 2 ** (plan.format.significand - 3))
    if any(wide == f"kernel {later}" for later in range(layer + 1, len(plan.units))):
        # The input of a wide kernel has to be small; the other draws have distinct biases here.
        bias = bias % 3
    return bias


@dataclass(frozen=True, kw_only=True, slots=True)
class _SmallDraw:
    """A draw of small integers, into which wide entries can be put."""

    plan: Plan
    #: The operand that gets wide entries.
    wide: str
    stream_key: tuple[object, ...]
    weights: _SmallWeights
    x: Integers
    dy: Integers

    @classmethod
    def draw(cls, plan: Plan, wide: str, attempt: int) -> _SmallDraw:
        """Return the draw of an attempt."""
        key = ("exact", wide, attempt)

        def stream(*purpose: object) -> Stream:
            return Stream(plan.digest, *key, *purpose)

        weights = _SmallWeights.draw(plan, wide, stream)
        most = 1 if plan.is_short and wide != "x" else 2
        x = stream("x").integers(-most, most, plan.x_shape)
        if plan.activations[0] == "relu" and not plan.use_bias[0] and plan.features[0] > 0:
            # Without a bias: an odd first product and even ones elsewhere give an odd sum, which is never 0.
            x, kernel = 2 * x, 2 * weights.kernels[0]
            bits = 1 if plan.is_short else 2
            x[..., 0] = stream("odd x").odd(bits, x.shape[:-1])
            kernel[0, :] = stream("odd kernel").odd(bits, (plan.units[0],))
            weights = replace(weights, kernels=(kernel, *weights.kernels[1:]))
        dy = stream("dy").integers(-1, 1, (plan.positions, plan.units[-1]))
        most_nonzero = MOST_WIDE[plan.dtype]
        if plan.positions > most_nonzero:
            # The other positions have no gradient in this draw, so that wide sums over the positions stay exact.
            dy[np.sort(stream("silent").permutation(plan.positions)[most_nonzero:])] = 0
        return cls(plan=plan, wide=wide, stream_key=key, weights=weights, x=plan.as_input(x), dy=dy)

    def widened(self, bits: int) -> Draw:
        """Return the draw whose widest entry has `bits` bits and the others `MEDIUM_BITS`; with 0 no entry is wide."""
        stream = Stream(self.plan.digest, *self.stream_key, "wide")
        x, dy = as_matrix(self.x).copy(), self.dy.copy()
        kernels = [each.copy() for each in self.weights.kernels]
        if bits:
            with_gradient = np.flatnonzero(np.any(dy != 0, axis=1))
            if self.wide == "x":
                _widen(stream, x, bits, self.plan, rows=with_gradient, columns=self._nonzero_columns(kernels[0].T))
                if self.plan.broadcast and len(self.plan.x_shape) > 1:
                    x = self.plan.as_input(x.reshape(self.plan.x_shape)).reshape(x.shape)
            elif self.wide == "dy":
                _widen(stream, dy, bits, self.plan, rows=with_gradient, columns=np.arange(dy.shape[1]))
            else:
                layer = int(self.wide.split()[1])
                last, first = layer == len(kernels) - 1, layer == 0
                rows = self._nonzero_columns(dy) if last else np.arange(kernels[layer].shape[1])
                columns = self._nonzero_columns(x) if first else np.arange(kernels[layer].shape[0])
                _widen(stream, kernels[layer].T, bits, self.plan, rows=rows, columns=columns)
        dtype = self.plan.format.dtype
        biases = [
            None if bias is None else (bias / grid).astype(dtype)
            for bias, grid in zip(self.weights.biases, self.weights.grids, strict=True)
        ]
        return Draw(
            name=f"{self.wide} wide" if bits else f"{self.wide} narrow",
            x=x.reshape(self.plan.x_shape).astype(dtype),
            kernels=tuple(each.astype(dtype) for each in kernels),
            biases=tuple(biases),
            dy=dy.reshape(self.plan.dy_shape).astype(dtype),
            exact=True,
        )

    def _nonzero_columns(self, operand: Integers) -> Integers:
        """
        Return the columns, of the operand that multiplies the wide entries, that have a number other than 0.

        The 16-bit formats have sparse kernels and few wide entries, which could all be multiplied by 0. The other
        formats have many wide entries, and every column is returned.
        """
        if not self.plan.is_short:
            return np.arange(operand.shape[1])
        return np.flatnonzero(np.any(operand != 0, axis=0))


def _signs(stream: Stream, features: int, units: int, *, dense: bool) -> Integers:
    """
    Return a kernel of 0 and ±1: mostly nonzero, or with two nonzero entries in each column so that sums stay small.

    In a sparse kernel every feature enters some unit as long as there are enough units.
    """
    signs = 2 * stream.integers(0, 1, (features, units)) - 1
    if dense or features == 0 or units == 0:
        return signs * (stream.integers(0, 7, (features, units)) > 0)
    kernel = np.zeros((features, units), np.int64)
    columns = np.arange(units)
    first = stream.permutation(max(features, units))[:units] % features
    second = stream.integers(0, features - 1, (units,))
    for rows in (first, second):
        kernel[rows, columns] = signs[rows, columns]
    return kernel


def _widen(stream: Stream, operand: Integers, bits: int, plan: Plan, *, rows: Integers, columns: Integers) -> None:
    """
    Put one wide odd entry into each of the given rows of a (rows, columns) operand, in one of the given columns.

    The first entry has `bits` bits, the others `MEDIUM_BITS` of the dtype. The entries go to the columns in turn, so
    that each column gets about the same number.
    """
    if rows.size == 0 or columns.size == 0:
        return
    chosen = rows[stream.permutation(rows.size)][: MOST_WIDE[plan.dtype]]
    targets = columns[stream.permutation(columns.size)][np.arange(chosen.size) % columns.size]
    entries = stream.odd(MEDIUM_BITS[plan.dtype], (chosen.size,))
    entries[0] = stream.odd(bits, (1,))[0]
    operand[chosen, targets] = entries
