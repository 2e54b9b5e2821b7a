"""
A draw, the shapes and the seed from which it is drawn, and the conditions that it must meet.

A draw follows from the content of the case: the hash of its canonical form is the key of the streams of
`conformance.stream`. `conformance.reference.lanes` draws.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from conformance.reference.formats import FORMATS, Format, dtype_of
from conformance.table.case import Case

#: An array of any dtype of a draw.
Array = npt.NDArray[Any]
Number = TypeVar("Number", bound=np.generic)
Integers = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

#: Attempts after which a draw with a pre-activation on a kink is accepted; the reference then allows both sides.
ATTEMPTS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfWidths:
    """The half-widths a of the intervals (-a, a) from which independent numbers are drawn uniformly."""

    #: Of each kernel.
    kernels: tuple[float, ...]
    dy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """The numbers for one case, all of the dtype of the case."""

    #: What is special about these numbers.
    name: str
    #: The input, of the shape of the call.
    x: Array
    #: For each layer an array (d, m).
    kernels: tuple[Array, ...]
    #: For each layer an array (m,), or None for a layer without a bias.
    biases: tuple[Array | None, ...]
    #: The gradient of the output, of the shape of the output.
    dy: Array
    #: Whether every partial sum is exact in any order.
    exact: bool
    #: How the kernels and dy are drawn on the lane `uniform`, whose bounds follow from it; None on other lanes.
    half_widths: HalfWidths | None = None
    #: Whether all numbers are positive and some below the normal range: every answer from 0 to the exact one is right.
    denormal: bool = False


class NoDraw(ValueError):
    """No draw of the lane exists for the case; the message has the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The shapes and the seed of a case: all that a lane needs to draw."""

    digest: bytes
    x_shape: tuple[int, ...]
    units: tuple[int, ...]
    activations: tuple[str, ...]
    use_bias: tuple[bool, ...]
    format: Format
    broadcast: bool
    input_dtype: str | None = None

    @classmethod
    def of(cls, case: Case, index: int) -> Plan:
        """
        Return the plan of a case for the `index`-th of its runs.

        Raises:
            NoDraw: a layer cannot have these units or axes.
        """
        units = [each.units for each in case.layers]
        legal = [each for each in units if isinstance(each, int) and not isinstance(each, bool) and each >= 0]
        if len(legal) != len(units) or not case.call_shape:
            raise NoDraw(f"{case.id}: no values can be drawn for units {units} on {case.call_shape}")
        digest = case.digest if index == 0 else hashlib.sha256(case.digest + f"draw {index}".encode()).digest()
        return cls(
            digest=digest,
            x_shape=case.call_shape,
            units=tuple(legal),
            activations=tuple(each.activation for each in case.layers),
            use_bias=tuple(each.use_bias for each in case.layers),
            format=FORMATS[case.dtype],
            broadcast=case.layout == "broadcast",
            input_dtype=case.input_dtype,
        )

    @property
    def features(self) -> tuple[int, ...]:
        """The number of input features of each layer."""
        return (self.x_shape[-1], *self.units[:-1])

    @property
    def dtype(self) -> str:
        """The name of the format."""
        return _name(self.format.dtype)

    @property
    def is_short(self) -> bool:
        """Whether results have fewer bits than the sums from which they are rounded."""
        return self.format.accumulator != self.dtype

    @property
    def positions(self) -> int:
        """The number of positions to which a layer is applied, of all samples together."""
        return math.prod(self.x_shape[:-1])

    @property
    def dy_shape(self) -> tuple[int, ...]:
        """The shape of the output and of its gradient."""
        return (*self.x_shape[:-1], self.units[-1])

    def as_input(self, x: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """
        Return x as the layout and the dtype of the input need it.

        In the layout `broadcast` all elements along the first axis are equal. The numbers are rounded to those that the
        dtype of the input represents.
        """
        if self.broadcast and x.shape[0] > 1:
            x = np.broadcast_to(x[:1], x.shape).copy()
        if self.input_dtype is None:
            return x
        numbers = np.abs(x) if self.input_dtype in ("bool", "uint8") else x
        return numbers.astype(dtype_of(self.input_dtype)).astype(x.dtype)


@functools.cache
def _name(dtype: np.dtype[np.generic]) -> str:
    return dtype.name  # NumPy composes the name again each time


def is_exact(draw: Draw, activations: Sequence[str], form: Format) -> bool:
    """
    Return whether every product and partial sum of forward and backward is exact in `form`, in any order.

    All numbers are multiples of a grid step. A sum is exact in any order if the sum of the magnitudes of its terms is
    at most 2**significand grid steps. |a||W| + |b| bounds the magnitudes through the stack, so that no cancellation is
    assumed.

    The significand is that of the format, also if its accumulator has a longer one: some implementations add up a
    gradient in the format.
    """
    limit = 2.0 ** min(FORMATS[form.accumulator].significand, form.significand)
    # This function adds in float64, where 2**53 + 1 is 2**53.
    limit -= limit == 2.0**53
    a = np.abs(as_matrix(draw.x).astype(np.float64))
    dz = np.abs(as_matrix(draw.dy).astype(np.float64))
    inputs, grids, grid = [], [], 1.0
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        inputs.append(a)
        grids.append(grid)
        if activation == "relu" and bias is not None:
            grid *= 2.0
        a = a @ np.abs(kernel.astype(np.float64))
        if bias is not None:
            a = a + np.abs(bias.astype(np.float64))
        if _largest(a) * grid > limit:
            return False
    for kernel, x, scale in zip(reversed(draw.kernels), reversed(inputs), reversed(grids), strict=True):
        sums = (x.T @ dz * scale, dz.sum(axis=0), dz @ np.abs(kernel.astype(np.float64)).T)
        if any(_largest(each) > limit for each in sums):
            return False
        dz = sums[2]
    return True


def _largest(array: Float64) -> float:
    return float(array.max()) if array.size else 0.0


def as_matrix(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return the array as (positions, features), also if it is empty."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def is_powerless(draw: Draw, activations: Sequence[str]) -> bool:
    """
    Return whether a draw cannot distinguish a right layer from a wrong one.

    So it is if an operand that is not empty is all zero, if a square kernel is symmetric, or if an activation is
    saturated everywhere, so that its gradient is 0.
    """
    operands = (draw.x, draw.dy, *draw.kernels, *(bias for bias in draw.biases if bias is not None))
    if any(each.size and not each.any() for each in operands):
        return True
    if any(each.shape[0] == each.shape[1] > 1 and (each == each.T).all() for each in draw.kernels):
        return True
    saturated = zip(_pre_activations(draw, activations), activations, strict=True)
    return any(z.size > 0 and _SATURATED[activation](z) for z, activation in saturated)


def _never(z: Float64) -> bool:
    return False


def _far_below(z: Float64) -> bool:
    """Return whether 1 + exp(z) is 1 in float32 for all z."""
    return bool((z < -17.0).all())


#: Whether the function is flat in float32 at all pre-activations (P, m). softmax of one unit always is, and is allowed.
#: exponential is also refused near its overflow: float16 overflows beyond exp(11), and gradients multiply the value.
_SATURATED: Final[dict[str, Callable[[Float64], bool]]] = {
    "linear": _never,
    "relu": lambda z: bool((z < 0.0).all()),
    "sigmoid": lambda z: bool((np.abs(z) > 17.0).all()),
    "tanh": lambda z: bool((np.abs(z) > 9.0).all()),
    "softmax": lambda z: z.shape[1] > 1 and bool((np.sort(z, axis=1)[:, -1] - np.sort(z, axis=1)[:, -2] > 17.0).all()),
    "leaky_relu": _never,
    "elu": _far_below,
    "selu": _far_below,
    "softplus": _far_below,
    "softsign": lambda z: bool((np.abs(z) > 2.0**12).all()),
    "silu": _far_below,
    "gelu": lambda z: bool((z < -6.0).all()),
    "gelu_tanh": lambda z: bool((z < -6.0).all()),
    "hard_sigmoid": lambda z: bool((np.abs(z) >= 3.0).all()),
    "log_softmax": _never,
    "exponential": lambda z: _far_below(z) or bool((z > 10.0).any()),
}


def is_on_kink(draw: Draw, activations: Sequence[str]) -> bool:
    """Return whether some pre-activation of a relu layer is exactly 0."""
    pre_activations = zip(_pre_activations(draw, activations), activations, strict=True)
    return any(activation == "relu" and bool((z == 0.0).any()) for z, activation in pre_activations)


def _pre_activations(draw: Draw, activations: Sequence[str]) -> Iterator[Float64]:
    """Yield z of each layer, (P, m), in float64. Functions other than relu are approximate."""
    functions: dict[str, Callable[[Float64], Float64]] = {
        "linear": lambda z: z,
        "relu": lambda z: np.maximum(z, 0.0),
        "tanh": np.tanh,
        "sigmoid": _logistic,
        "softmax": _logistic,
        "leaky_relu": lambda z: np.maximum(z, z / 100.0),
        "elu": lambda z: np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0))),
        "selu": lambda z: np.where(z > 0.0, z, 1.7 * np.expm1(np.minimum(z, 0.0))),
        "softplus": lambda z: np.logaddexp(z, 0.0),
        "softsign": lambda z: z / (1.0 + np.abs(z)),
        "silu": lambda z: z * _logistic(z),
        "gelu": lambda z: z * _logistic(1.7 * z),
        "gelu_tanh": lambda z: z * _logistic(1.7 * z),
        "hard_sigmoid": lambda z: np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        "log_softmax": lambda z: z - np.logaddexp.reduce(z, axis=1, keepdims=True),
        "exponential": lambda z: np.exp(np.minimum(z, 11.0)),
    }
    a = as_matrix(draw.x).astype(np.float64)
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        z = a @ kernel.astype(np.float64)
        if bias is not None:
            z = z + bias.astype(np.float64)
        yield z
        a = functions[activation](z)


def _logistic(z: Float64) -> Float64:
    # Beyond 700 exp would overflow, and the result is 0 long before.
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -700.0, 700.0))))
