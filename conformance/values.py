"""
The deterministic inputs and weights of a case: what every implementation is asked, on every machine.

A draw follows from the case's content alone. Its canonical form, hashed, keys a counter-based generator (Philox), whose
raw bits are mapped to numbers by this module. The mapping is pinned by tests, since NumPy's distributions may change.
This module knows no expected value and no implementation.

Lanes:

`exact`: numbers on a grid, chosen so that every product and partial sum is exact in the arithmetic used, whatever the
order; that is checked on the drawn data (`is_exact`), not assumed. A right layer then has no error at all. One draw for
each operand that is made wide: x, each kernel, and dy. The wide operand has odd entries of 12 bits and more, up to the
full significand, against small ones elsewhere, so that no format with a shorter significand can hold it (TF32 has 11
bits, bfloat16 8).

`uniform`: mixed signs, pre-activations of standard deviation about 1; two draws, so that weights can be replaced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from conformance.case import Case
from conformance.formats import FORMATS, Format

Array = npt.NDArray[Any]
Number = TypeVar("Number", bound=np.generic)
Integers = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

#: Bits an odd integer needs so that TF32, with a significand of 11 bits, cannot represent it.
MEDIUM_BITS: Final = 12
#: How many entries of the wide operand are wide, at most; the sums they enter must stay exact.
MOST_WIDE: Final = 256
#: Redraws before a draw with a kink is accepted; the reference then allows both sides of it.
ATTEMPTS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """
    Numbers for one case.

    `x` has the shape fed, `kernels[l]` shape (d, m) of layer l, `biases[l]` shape (m,) or None, `dy` that of the
    output; all of the case's dtype. `exact` says that every partial sum is exact in any order; `name` what is special.
    """

    name: str
    x: Array
    kernels: tuple[Array, ...]
    biases: tuple[Array | None, ...]
    dy: Array
    exact: bool


class NoDraw(ValueError):
    """No draw of the lane exists for the case; says why."""


class Stream:
    """
    Numbers from the raw bits of a Philox generator keyed by SHA-256 of a digest and a purpose.

    Every purpose has a stream of its own, so that adding one changes no other.
    """

    def __init__(self, digest: bytes, *purpose: object) -> None:
        key = hashlib.sha256(digest + "/".join(map(str, purpose)).encode()).digest()
        self._philox = np.random.Philox(key=int.from_bytes(key[:16], "little"))

    def bits(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
        """Return uniformly distributed 64-bit numbers."""
        size = int(np.prod(shape, dtype=np.int64))
        raw = np.asarray(self._philox.random_raw(size) if size else np.zeros(0), dtype=np.uint64)
        return raw.reshape(shape)

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Integers:
        """Return integers in [low, high], by multiplying 32 bits with the number of values (2**21 at most)."""
        span = np.uint64(high - low + 1)
        return ((self.bits(shape) >> np.uint64(32)) * span >> np.uint64(32)).astype(np.int64) + low

    def odd(self, bits: int, shape: tuple[int, ...]) -> Integers:
        """Return odd integers of exactly `bits` bits (2 to 53), with random sign."""
        raw = self.bits(shape)
        body = (raw >> np.uint64(65 - bits) << np.uint64(1)).astype(np.int64) if bits > 1 else np.zeros(shape, np.int64)
        magnitude = (body | 1 | (1 << (bits - 1))) & ((1 << bits) - 1)
        return np.where(raw & np.uint64(1), magnitude, -magnitude)

    def uniform(self, shape: tuple[int, ...]) -> Float64:
        """Return odd multiples of 2**-24 in (-1, 1): symmetric about 0 and never 0."""
        body = (self.bits(shape) >> np.uint64(40)).astype(np.float64)
        return (2.0 * body + 1.0) * 2.0**-24 - 1.0

    def permutation(self, size: int) -> Integers:
        """Return a permutation of range(size)."""
        return np.argsort(self.bits((size,)), kind="stable").astype(np.int64)


def draws(case: Case, index: int = 0) -> tuple[Draw, ...]:
    """
    Return the draws of a case; `index` counts the times the case is asked (`--draws`).

    Raises:
        NoDraw: the case's units or axes are not numbers a layer can have, or its numbers cannot be made exact.
    """
    plan = _Plan.of(case, index)
    return tuple(_exact_draws(plan) if case.lane == "exact" else _uniform_draws(plan))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """The shapes and the seed of a case, all that a draw needs."""

    digest: bytes
    x_shape: tuple[int, ...]
    units: tuple[int, ...]
    activations: tuple[str, ...]
    use_bias: tuple[bool, ...]
    format: Format
    broadcast: bool

    @classmethod
    def of(cls, case: Case, index: int) -> _Plan:
        units = [each.units for each in case.layers]
        legal = [each for each in units if isinstance(each, int) and not isinstance(each, bool) and each >= 0]
        if len(legal) != len(units) or not case.fed_shape:
            raise NoDraw(f"{case.id}: no values can be drawn for units {units} on {case.fed_shape}")
        digest = case.digest if index == 0 else hashlib.sha256(case.digest + f"draw {index}".encode()).digest()
        return cls(
            digest=digest,
            x_shape=case.fed_shape,
            units=tuple(legal),
            activations=tuple(each.activation for each in case.layers),
            use_bias=tuple(each.use_bias for each in case.layers),
            format=FORMATS[case.dtype],
            broadcast=case.layout == "broadcast",
        )

    @property
    def features(self) -> tuple[int, ...]:
        """The number of input features of each layer."""
        return (self.x_shape[-1], *self.units[:-1])

    @property
    def positions(self) -> int:
        return int(np.prod(self.x_shape[:-1], dtype=np.int64))

    @property
    def dy_shape(self) -> tuple[int, ...]:
        return (*self.x_shape[:-1], self.units[-1])

    def repeated(self, x: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Return x, made equal along its first axis where the layout asks for it."""
        return np.broadcast_to(x[:1], x.shape).copy() if self.broadcast and x.shape[0] > 1 else x


def _uniform_draws(plan: _Plan) -> Iterator[Draw]:
    """Yield two draws with inputs of variance 1, kernels of variance 1/K, and distinct biases in (-1, 1)."""
    for number in ("first", "second"):
        candidates = (_uniform_draw(plan, number, attempt) for attempt in range(ATTEMPTS))
        accepted = next((each for each in candidates if not is_powerless(each, plan.activations)), None)
        if accepted is None:
            raise NoDraw(f"every draw for {plan.x_shape} and units {plan.units} is all zero, symmetric or saturated")
        yield accepted


def _uniform_draw(plan: _Plan, number: str, attempt: int) -> Draw:
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
        dy=stream("dy").uniform(plan.dy_shape).astype(dtype),
        exact=False,
    )


def _distinct(stream: Stream, size: int) -> Float64:
    """Return one number from each of `size` equal parts of (-1, 1), in random order."""
    within = (stream.uniform((size,)) + 1.0) / 2.0
    return (2.0 * (stream.permutation(size) + within) / max(size, 1) - 1.0).astype(np.float64)


def _exact_draws(plan: _Plan) -> Iterator[Draw]:
    """Yield a draw for each operand made wide: x, every kernel, and dy."""
    for wide in ("x", *(f"kernel {layer}" for layer in range(len(plan.units))), "dy"):
        yield _exact_draw(plan, wide)


def _exact_draw(plan: _Plan, wide: str) -> Draw:
    """
    Return a draw with one operand as wide as the sums it enters allow.

    The width of the widest entry is found by bisection over the number of bits, each candidate checked on its data.
    """
    fallback: Draw | None = None
    for attempt in range(ATTEMPTS):
        small = _Small.drawn(plan, wide, attempt)
        # From the full significand down to no wide entry at all, which is always exact for shapes a row may have.
        widths = [0, *range(MEDIUM_BITS, plan.format.significand + 1)]
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
        if not _on_kink(best, plan.activations):
            return best
        fallback = fallback or best
    if fallback is None:
        raise NoDraw(f"no exact draw exists for {plan.x_shape} and units {plan.units}: sums do not fit, or all is zero")
    return fallback


@dataclass(frozen=True, kw_only=True, slots=True)
class _Small:
    """A draw of small numbers, in units of the grid, into which wide entries can be put."""

    plan: _Plan
    wide: str
    stream_key: tuple[object, ...]
    x: Integers
    kernels: tuple[Integers, ...]
    biases: tuple[Integers | None, ...]
    grids: tuple[int, ...]
    dy: Integers

    @classmethod
    def drawn(cls, plan: _Plan, wide: str, attempt: int) -> _Small:
        key = ("exact", wide, attempt)

        def stream(*purpose: object) -> Stream:
            return Stream(plan.digest, *key, *purpose)

        kernels: list[Integers] = []
        biases: list[Integers | None] = []
        grids: list[int] = []
        grid = 1
        for layer, (features, units) in enumerate(zip(plan.features, plan.units, strict=True)):
            dense = len(plan.units) == 1 or (layer == 0 and wide in ("x", "kernel 0"))
            kernel = _few(stream("kernel", layer), features, units, dense=dense)
            bias = None
            relu = plan.activations[layer] == "relu"
            if plan.use_bias[layer]:
                bias = stream("bias", layer).permutation(units) - units // 2
                if any(wide == f"kernel {later}" for later in range(layer + 1, len(plan.units))):
                    # What feeds a wide kernel has to be small; the other draws have distinct biases here.
                    bias = bias % 3
                if relu:
                    # Between the points of the grid, so that no z is 0.
                    grid *= 2
                    bias = 2 * bias + 1
                else:
                    bias = bias + (bias >= 0)
            kernels.append(kernel)
            biases.append(bias)
            grids.append(grid)
        x = stream("x").integers(-2, 2, plan.x_shape)
        if plan.activations[0] == "relu" and not plan.use_bias[0] and plan.features[0] > 0:
            # Without a bias: an odd first product and even ones elsewhere give an odd sum, which is never 0.
            x, kernels[0] = 2 * x, 2 * kernels[0]
            x[..., 0] = stream("odd x").odd(2, x.shape[:-1])
            kernels[0][0, :] = stream("odd kernel").odd(2, (plan.units[0],))
        dy = stream("dy").integers(-1, 1, (plan.positions, plan.units[-1]))
        if plan.positions > MOST_WIDE:
            # Positions beyond these have no part in the gradients of this draw, so that wide sums over them stay exact.
            dy[np.sort(stream("silent").permutation(plan.positions)[MOST_WIDE:])] = 0
        return cls(
            plan=plan,
            wide=wide,
            stream_key=key,
            x=plan.repeated(x),
            kernels=tuple(kernels),
            biases=tuple(biases),
            grids=tuple(grids),
            dy=dy,
        )

    def widened(self, bits: int) -> Draw:
        """Return the draw whose widest entry has `bits` bits, its fellows 12; with 0 there is no wide entry."""
        stream = Stream(self.plan.digest, *self.stream_key, "wide")
        x, dy = as_matrix(self.x).copy(), self.dy.copy()
        kernels = [each.copy() for each in self.kernels]
        if bits:
            if self.wide == "x":
                speaking = np.flatnonzero(np.any(dy != 0, axis=1))
                _widen(stream, x, bits, rows=speaking)
                if self.plan.broadcast and len(self.plan.x_shape) > 1:
                    x = self.plan.repeated(x.reshape(self.plan.x_shape)).reshape(x.shape)
            elif self.wide == "dy":
                _widen(stream, dy, bits, rows=np.flatnonzero(np.any(dy != 0, axis=1)))
            else:
                layer = int(self.wide.split()[1])
                _widen(stream, kernels[layer].T, bits, rows=np.arange(kernels[layer].shape[1]))
        dtype = self.plan.format.dtype
        biases = [
            None if bias is None else (bias / grid).astype(dtype)
            for bias, grid in zip(self.biases, self.grids, strict=True)
        ]
        return Draw(
            name=f"{self.wide} wide" if bits else f"{self.wide} narrow",
            x=x.reshape(self.plan.x_shape).astype(dtype),
            kernels=tuple(each.astype(dtype) for each in kernels),
            biases=tuple(biases),
            dy=dy.reshape(self.plan.dy_shape).astype(dtype),
            exact=True,
        )


def _few(stream: Stream, features: int, units: int, *, dense: bool) -> Integers:
    """
    Return a kernel of 0 and ±1: mostly nonzero, or with two nonzero entries a column so that sums stay small.

    Where it is sparse every feature is used by some unit as long as there are enough units.
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


def _widen(stream: Stream, operand: Integers, bits: int, *, rows: Integers) -> None:
    """
    Put one wide odd entry into each of the given rows of a (rows, columns) operand, in place.

    The first has `bits` bits, the others 12. Columns are taken in turn, so that no column gets more than its share.
    """
    if operand.size == 0 or rows.size == 0:
        return
    chosen = rows[stream.permutation(rows.size)][:MOST_WIDE]
    columns = stream.permutation(operand.shape[1])[np.arange(chosen.size) % operand.shape[1]]
    entries = stream.odd(MEDIUM_BITS, (chosen.size,))
    entries[0] = stream.odd(bits, (1,))[0]
    operand[chosen, columns] = entries


def is_exact(draw: Draw, activations: Sequence[str], form: Format) -> bool:
    """
    Return whether every product and partial sum of forward and backward is exact in `form`, in any order.

    All numbers are multiples of a grid; a sum of terms is exact in any order when the sum of their magnitudes, in units
    of the grid, is at most 2**significand of the accumulator. Results must fit the format itself. The magnitudes are
    bounded through the stack by |a||W| + |b|, so that cancellation is never relied upon.
    """
    most = 2.0 ** FORMATS[form.accumulator].significand
    held = 2.0**form.significand
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
        if _largest(a) * grid > min(most, held):
            return False
    for kernel, x, scale in zip(reversed(draw.kernels), reversed(inputs), reversed(grids), strict=True):
        sums = (x.T @ dz * scale, dz.sum(axis=0), dz @ np.abs(kernel.astype(np.float64)).T)
        if any(_largest(each) > min(most, held) for each in sums):
            return False
        dz = sums[2]
    return True


def _largest(array: Float64) -> float:
    return float(array.max()) if array.size else 0.0


def as_matrix(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return the array as (positions, features), also where it is empty."""
    return array.reshape(int(np.prod(array.shape[:-1], dtype=np.int64)), array.shape[-1])


def is_powerless(draw: Draw, activations: Sequence[str]) -> bool:
    """
    Return whether a draw could not tell a right layer from a wrong one.

    It cannot when an operand that is not empty is all zero, a square kernel symmetric, or an activation saturated
    everywhere, so that no gradient passes.
    """
    operands = (draw.x, draw.dy, *draw.kernels, *(bias for bias in draw.biases if bias is not None))
    if any(each.size and not each.any() for each in operands):
        return True
    if any(each.shape[0] == each.shape[1] > 1 and (each == each.T).all() for each in draw.kernels):
        return True
    saturated = zip(_pre_activations(draw, activations), activations, strict=True)
    return any(z.size > 0 and _SATURATED[activation](z) for z, activation in saturated)


#: Whether all of the pre-activations (P, m) lie where the function is flat in float32. One unit's softmax always is.
_SATURATED: Final[dict[str, Callable[[Float64], bool]]] = {
    "linear": lambda z: False,
    "relu": lambda z: bool((z < 0.0).all()),
    "sigmoid": lambda z: bool((np.abs(z) > 17.0).all()),
    "tanh": lambda z: bool((np.abs(z) > 9.0).all()),
    "softmax": lambda z: z.shape[1] > 1 and bool((np.sort(z, axis=1)[:, -1] - np.sort(z, axis=1)[:, -2] > 17.0).all()),
}


def _on_kink(draw: Draw, activations: Sequence[str]) -> bool:
    """Return whether some pre-activation of a relu layer is exactly 0."""
    pre_activations = zip(_pre_activations(draw, activations), activations, strict=True)
    return any(activation == "relu" and bool((z == 0.0).any()) for z, activation in pre_activations)


def _pre_activations(draw: Draw, activations: Sequence[str]) -> Iterator[Float64]:
    """Yield z of each layer, (P, m), in float64; functions other than relu are taken as they are, roughly."""
    functions: dict[str, Callable[[Float64], Float64]] = {
        "linear": lambda z: z,
        "relu": lambda z: np.maximum(z, 0.0),
        "tanh": np.tanh,
        "sigmoid": _logistic,
        "softmax": _logistic,
    }
    a = as_matrix(draw.x).astype(np.float64)
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        z = a @ kernel.astype(np.float64)
        if bias is not None:
            z = z + bias.astype(np.float64)
        yield z
        a = functions[activation](z)


def _logistic(z: Float64) -> Float64:
    return 1.0 / (1.0 + np.exp(-z))
