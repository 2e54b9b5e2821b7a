"""
Arrays as short NumPy expressions: few numbers as literals, many numbers drawn again from the case's seed.

An array that cannot be drawn again is packed as text. Every expression is evaluated here and equals its array bit for
bit, so that this module can try the streams of `conformance.reference.draw` without knowing how a lane draws. A
bfloat16 array, which NumPy alone does not have, becomes the float32 array of the same values.
"""

from __future__ import annotations

import base64
import functools
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array
from conformance.reference.draw import ATTEMPTS
from conformance.stream import stream_key

#: The most numbers of a literal, the most if all are integers, and the most characters.
FEW: Final = 24
FEW_WHOLE: Final = 64
MOST_CHARACTERS: Final = 600
#: The most numbers that differ from a drawn array and are replaced one by one.
MOST_PATCHED: Final = 24

#: The functions that expressions call, by name. A script defines those that it calls.
HELPERS: Final = {
    "uniform": """\
def uniform(key, *shape):  # odd multiples of 2**-24 in (-1, 1)
    bits = np.random.Philox(key=key).random_raw(int(np.prod(shape))) >> np.uint64(40)
    return ((2.0 * bits + 1.0) * 2.0**-24 - 1.0).reshape(shape)
""",
    "spread": """\
def spread(key, size):  # one number from each of `size` equal parts of (-1, 1), in random order
    bits = np.random.Philox(key=key).random_raw(2 * size)
    within = ((2.0 * (bits[:size] >> np.uint64(40)) + 1.0) * 2.0**-24 - 1.0 + 1.0) / 2.0
    return 2.0 * (np.argsort(bits[size:], kind="stable") + within) / size - 1.0
""",
    "integers": """\
def integers(key, low, high, *shape):
    bits = np.random.Philox(key=key).random_raw(int(np.prod(shape))) >> np.uint64(32)
    return (bits * np.uint64(high - low + 1) >> np.uint64(32)).astype(int).reshape(shape) + low
""",
    "patched": """\
def patched(array, places, values):
    array.flat[places] = values
    return array
""",
    "packed": """\
def packed(text, dtype, *shape):
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype).reshape(shape).copy()
""",
}


@dataclass
class Arrays:
    """The arrays of one script, and the helpers that their expressions call."""

    #: The seed of the case; without it no array is drawn again.
    digest: bytes | None
    helpers: dict[str, str] = field(default_factory=dict)

    def expression(self, array: Array, part: str) -> str:
        """
        Return a NumPy expression for the array, or for the float32 array of a bfloat16 one.

        `part` is the name of the array in its draw: `x`, `dy`, `kernel L` or `bias L`.
        """
        array = array.astype(np.float32) if array.dtype.name == "bfloat16" else np.ascontiguousarray(array)
        found = _expression(self.digest, part, array.dtype.str, array.shape, array.tobytes())
        self.helpers |= {name: code for name, code in HELPERS.items() if f"{name}(" in found}
        return found


@functools.lru_cache(maxsize=256)
def _expression(digest: bytes | None, part: str, dtype: str, shape: tuple[int, ...], contents: bytes) -> str:
    """Return an expression for an array. Cached, because every implementation receives the same arrays."""
    array = np.frombuffer(contents, dtype).reshape(shape)
    return next(each for each in _candidates(array, part, digest) if _is_equal(each, array))


def _candidates(array: Array, part: str, digest: bytes | None) -> Iterator[str]:
    """Yield expressions that may equal the array, the most readable first; the last one always does."""
    dtype = repr(array.dtype.name)
    if array.size == 0:
        yield f"np.zeros({array.shape}, {dtype})"
        return
    if array.size > 1 and len(np.unique(array)) == 1:
        yield f"np.full({array.shape}, {_number(array.flat[0])}, {dtype})"
    if array.size <= (FEW_WHOLE if _narrow(array) is not array else FEW):
        written = f"np.array({_written(array)}, {dtype})"
        if len(written) <= MOST_CHARACTERS:
            yield written
    if digest is not None and np.isfinite(array.astype(np.float64)).all():
        yield from _drawn(array, part, digest)
    text = base64.b85encode(zlib.compress(_narrow(array).tobytes(), 3)).decode()
    shape = ", ".join(map(str, array.shape))
    again = f".astype({dtype})" if _narrow(array).dtype != array.dtype else ""
    yield f'packed("{text}", "{_narrow(array).dtype.name}", {shape}){again}'


@functools.cache
def _scope() -> dict[str, object]:
    scope: dict[str, object] = {"np": np, "zlib": zlib, "base64": base64}
    for code in HELPERS.values():
        exec(code, scope)
    return scope


def _value(expression: str) -> Array:
    """Return the array of one of this module's own expressions."""
    with np.errstate(over="ignore"):
        found: Array = eval(expression, _scope())
    return found


def _is_equal(expression: str, array: Array) -> bool:
    """Return whether an expression evaluates to the array, bit for bit."""
    found = _value(expression)
    return bool(found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes())


def _number(value: float | np.generic) -> str:
    if isinstance(value, np.bool_ | np.integer):
        return str(value)
    plain = float(value)
    if plain.is_integer() and abs(plain) < 2**53 and not (plain == 0.0 and np.signbit(plain)):
        return str(int(plain))
    return str(value) if np.isfinite(value) else f'float("{value}")'


def _written(array: Array) -> str:
    if array.ndim == 0:
        return _number(array.flat[0])
    return "[" + ", ".join(map(_written, array)) + "]"


def _narrow(array: Array) -> Array:
    """Return the array in the narrowest dtype that holds its values: small integers take few characters."""
    if array.dtype.kind == "f" and np.isfinite(array).all() and not np.signbit(array[array == 0]).any():
        for dtype in ("int8", "int16", "int32"):
            limits = np.iinfo(dtype)
            if (array == np.round(array)).all() and array.min() >= limits.min and array.max() <= limits.max:
                return array.astype(dtype)
    return array


def _drawn(array: Array, part: str, digest: bytes) -> Iterator[str]:
    """Yield expressions that draw from the streams of the case, as `lanes.draws` does for most arrays of most lanes."""
    kind, _, layer = part.partition(" ")
    purpose: tuple[object, ...] = (kind, int(layer)) if layer else (kind,)
    shape = ", ".join(map(str, array.shape))
    dtype = repr(array.dtype.name)
    yield from _uniform(array, purpose, digest, shape, dtype)
    whole = array.astype(np.float64)
    if not (whole == np.round(whole)).all() or np.abs(whole).max() >= 2.0**53:
        return
    for wide in ("x", "dy", "kernel 0", "kernel 1", "kernel 2", "kernel 3"):
        for attempt in range(ATTEMPTS):
            key = stream_key(digest, "exact", wide, attempt, *purpose)
            for low, high in ((-2, 2), (-1, 1)):
                base = f"integers({key:#x}, {low}, {high}, {shape}).astype({dtype})"
                yield from _patched(base, array)
            if kind == "kernel":
                yield from _signs(array, key, shape, dtype)


def _uniform(array: Array, purpose: Sequence[object], digest: bytes, shape: str, dtype: str) -> Iterator[str]:
    features = array.shape[0]
    if purpose[0] == "bias":
        for number in ("first", "second"):
            for attempt in range(ATTEMPTS):
                key = stream_key(digest, "uniform", number, attempt, *purpose)
                yield from _patched(f"spread({key:#x}, {array.size}).astype({dtype})", array)
        return
    scales = {
        "x": " * np.sqrt(3.0)",
        "kernel": f" * np.sqrt(3.0 / {max(features, 1)})",
        "dy": " * np.sqrt(0.75)" if array.dtype == np.float64 else "",
    }
    scale = scales.get(str(purpose[0]))
    if scale is None:
        return
    for number in ("first", "second"):
        for attempt in range(ATTEMPTS):
            key = stream_key(digest, "uniform", number, attempt, *purpose)
            base = f"(uniform({key:#x}, {shape}){scale}).astype({dtype})"
            yield from _patched(base, array)


def _signs(array: Array, key: int, shape: str, dtype: str) -> Iterator[str]:
    """Yield expressions for a dense kernel of the exact lane: signs, an eighth of them 0, from one stream."""
    count = math.prod(array.shape)
    both = f"integers({key:#x}, 0, 255, {2 * count})"
    yield from _patched(
        f"(lambda n: (n[:{count}] // 128 * 2 - 1) * (n[{count}:] // 32 > 0))({both}).reshape({shape}).astype({dtype})",
        array,
    )


def _patched(base: str, array: Array) -> Iterator[str]:
    """Yield an expression with the few numbers replaced in which the array differs from it; none if they are many."""
    found = _value(base)
    if found.shape != array.shape:
        return
    places = np.flatnonzero(found.ravel() != array.ravel())
    if not places.size:
        yield base
    elif places.size <= min(MOST_PATCHED, array.size // 8):
        values = ", ".join(_number(each) for each in array.ravel()[places])
        yield f"patched({base}, {places.tolist()}, [{values}])"
