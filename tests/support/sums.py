"""Products of matrices, added up in different orders and roundings as implementations do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
#: Rounds numbers of float64 to float32, or to fewer bits.
Rounding = Callable[[Float64], Float32]


def to_nearest(numbers: Float64) -> Float32:
    return numbers.astype(np.float32)


def toward_zero(numbers: Float64) -> Float32:
    nearest = numbers.astype(np.float32)
    is_larger = np.abs(nearest.astype(np.float64)) > np.abs(numbers)
    return np.where(is_larger, np.nextafter(nearest, np.float32(0)), nearest)


def to_bits(bits: int) -> Rounding:
    """Return the rounding to nearest to a significand of so many bits."""

    def rounding(numbers: Float64) -> Float32:
        fraction, exponent = np.frexp(numbers)
        return np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits).astype(np.float32)

    return rounding


def added(terms: Float32, order: str, rounding: Rounding = to_nearest) -> Float32:
    """Return the sums of terms (K, P, m) over the first axis in an order, each partial sum rounded."""

    def sequential(some: Float32) -> Float32:
        total = some[0]
        for each in some[1:]:
            total = rounding(total.astype(np.float64) + each)
        return total

    if order == "sequential":
        return sequential(terms)
    if order == "backwards":
        return sequential(terms[::-1])
    if order == "random":
        return sequential(terms[np.random.default_rng(len(terms)).permutation(len(terms))])
    if order == "blocks":
        return sequential(np.stack([sequential(terms[start : start + 32]) for start in range(0, len(terms), 32)]))
    assert order == "pairwise", order
    while len(terms) > 1:
        rest = terms[len(terms) // 2 * 2 :]
        pairs = rounding(terms[0 : len(terms) // 2 * 2 : 2].astype(np.float64) + terms[1 : len(terms) // 2 * 2 : 2])
        terms = np.concatenate([pairs, rest])
    return terms[0]


def fused(x: Array, kernel: Array, bias: Array, rounding: Rounding = to_nearest) -> Float32:
    """Return x·W + b by fused multiply-add: each product is added without a rounding of its own, beginning with b."""
    total = np.broadcast_to(bias.astype(np.float32), (len(x), kernel.shape[1]))
    for left, right in zip(x.T.astype(np.float64), kernel.astype(np.float64), strict=True):
        total = rounding(total + left[:, None] * right[None])
    return total


def split(x: Array, kernel: Array, bias: Array, order: str = "sequential", rounding: Rounding = to_nearest) -> Float32:
    """Return x·W + b with rounded products that are added in an order, the bias last."""
    terms = rounding(x.T.astype(np.float64)[:, :, None] * kernel.astype(np.float64)[:, None, :])
    return rounding(added(terms, order, rounding).astype(np.float64) + bias.astype(np.float64))


def nine_products(x: Array, kernel: Array, bias: Array) -> Float32:
    """Return x·W + b as the sum of nine products of bfloat16, three parts of each operand, the largest parts first."""
    total = np.zeros((len(x), kernel.shape[1]), np.float32)
    parts = itertools.product(enumerate(_parts(x)), enumerate(_parts(kernel)))
    for (_, left), (_, right) in sorted(parts, key=lambda pair: pair[0][0] + pair[1][0]):
        for one, other in zip(left.T, right, strict=True):
            total = total + one[:, None] * other[None]
    return to_nearest(total.astype(np.float64) + bias)


def _parts(numbers: Array) -> list[Float32]:
    """Return three arrays of 8 bits each whose sum is an array of float32."""
    rest, parts = numbers.astype(np.float64), []
    for _ in range(3):
        parts.append(to_bits(8)(rest))
        rest = rest - parts[-1]
    return parts


def right_sums(x: Array, kernel: Array, bias: Array) -> Iterator[tuple[str, Float32]]:
    """Yield x·W + b in float32 as right implementations compute it, each with its name."""
    for order in ("sequential", "backwards", "random", "blocks", "pairwise"):
        yield order, split(x, kernel, bias, order)
    yield "fused", fused(x, kernel, bias)
    yield "nine products", nine_products(x, kernel, bias)
    yield "library", x.astype(np.float32) @ kernel.astype(np.float32) + bias.astype(np.float32)


def of_tf32(x: Array, kernel: Array, bias: Array) -> Float64:
    """Return x·W + b of operands with the 11 bits of TF32, added up in float64."""
    narrow = to_bits(11)
    return narrow(x.astype(np.float64)).astype(np.float64) @ narrow(kernel.astype(np.float64)) + bias


#: What is wrong in a sum of float32 -> the wrong x·W + b.
WRONG_SUMS: Final[Mapping[str, Callable[[Array, Array, Array], npt.NDArray[np.floating]]]] = {
    "toward zero": lambda x, kernel, bias: fused(x, kernel, bias, toward_zero),
    "bfloat16 sums": lambda x, kernel, bias: split(x, kernel, bias, "sequential", to_bits(8)),
    "bfloat16 blocks": lambda x, kernel, bias: bfloat16_blocks(x, kernel, bias),
    "tf32": of_tf32,
    "off by 1e-4": lambda x, kernel, bias: (1.0 + 1e-4) * (x.astype(np.float64) @ kernel + bias),
    "off by 1e-5": lambda x, kernel, bias: (1.0 + 1e-5) * (x.astype(np.float64) @ kernel + bias),
}


def bfloat16_blocks(x: Array, kernel: Array, bias: Array, blocks: int = 8) -> Float32:
    """Return x·W + b from blocks that are added up in float32, and whose sums are added up in bfloat16."""
    rounding = to_bits(8)
    total = np.zeros((len(x), kernel.shape[1]))
    for part in np.array_split(np.arange(x.shape[1]), blocks):
        product = x[:, part].astype(np.float32) @ kernel[part].astype(np.float32)
        total = rounding(total + product).astype(np.float64)
    return (total + bias.astype(np.float64)).astype(np.float32)
