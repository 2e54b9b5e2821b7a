"""Memory layouts of arrays, built in the process of the implementation: they do not survive a pipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array

#: The alignment of the first byte of an array (bytes).
ALIGNMENT: Final = 64
#: Elements between the rows of a padded array: an odd number, so that no row but the first starts on a boundary.
GAP: Final = 3


def arrange(x: Array, layout: str) -> Array:
    """
    Return an array equal to `x` in a memory layout, its first byte on a 64-byte boundary unless that is the layout.

    - `contiguous`: rows follow each other, the last axis varies fastest.
    - `unaligned`: contiguous, the first byte one element behind a boundary.
    - `padded`: each row is followed by a gap of `GAP` elements.
    - `strided`: every second element of a wider last axis.
    - `transposed`: the axes before the last in reverse order; the last axis varies fastest.
    - `column_major`: all axes in reverse order; the first axis varies fastest.
    - `broadcast`: stride 0 on the first axis, along which `x` must be equal.
    - `expanded`: stride 0 on every axis: one element, to which all of `x` must be equal.

    Elements in gaps are NaN, or the largest number of an integer dtype: a layer that reads them shows it.

    Raises:
        ValueError: `layout` is unknown, or `x` is not equal along its first axis for `broadcast`, or not at all for
            `expanded`.
    """
    if layout not in _LAYOUTS:
        raise ValueError(f"no such layout: {layout!r}")
    return _LAYOUTS[layout](x)


def _padded(x: Array) -> Array:
    wide = _aligned((*x.shape[:-1], x.shape[-1] + GAP), x.dtype, _filler(x.dtype))
    wide[..., : x.shape[-1]] = x
    return wide[..., : x.shape[-1]]


def _strided(x: Array) -> Array:
    wide = _aligned((*x.shape[:-1], 2 * x.shape[-1]), x.dtype, _filler(x.dtype))
    wide[..., ::2] = x
    return wide[..., ::2]


def _transposed(x: Array) -> Array:
    leading = x.ndim - 1
    reverse = (*range(leading - 1, -1, -1), *range(leading, x.ndim))
    return _aligned(tuple(x.shape[axis] for axis in reverse), x.dtype, x.transpose(reverse)).transpose(reverse)


def _broadcast(x: Array) -> Array:
    if x.shape[0] > 1 and not _is_equal(x[:1], x[1:]):
        raise ValueError("a broadcast layout needs an array that is equal along its first axis")
    return np.broadcast_to(_aligned(x.shape[1:], x.dtype, x[0] if x.shape[0] else None), x.shape)


def _expanded(x: Array) -> Array:
    first = x.reshape(-1)[0] if x.size else x.dtype.type(0)
    if not _is_equal(first, x):
        raise ValueError("an expanded layout needs an array whose elements are all equal")
    return np.broadcast_to(_aligned((), x.dtype, first), x.shape)


_LAYOUTS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "contiguous": lambda x: _aligned(x.shape, x.dtype, x),
    "unaligned": lambda x: _aligned(x.shape, x.dtype, x, offset=x.itemsize),
    "padded": _padded,
    "strided": _strided,
    "transposed": _transposed,
    "column_major": lambda x: _aligned(x.shape[::-1], x.dtype, x.T).T,
    "broadcast": _broadcast,
    "expanded": _expanded,
}


def _is_equal(one: Array, other: Array) -> bool:
    """Return whether arrays that broadcast are equal, NaN to NaN."""
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _filler(dtype: np.dtype[np.generic]) -> Array:
    """Return what stands in gaps: NaN, or the largest number of an integer dtype."""
    if dtype.kind == "b":
        return np.array(True)
    return np.array(np.iinfo(dtype.name).max if dtype.kind in "iu" else np.nan, dtype)


def _aligned(shape: tuple[int, ...], dtype: np.dtype[np.generic], values: Array | None, *, offset: int = 0) -> Array:
    """Return a C-contiguous array `offset` bytes behind a 64-byte boundary, filled with `values` or with zeros."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = np.zeros(size + ALIGNMENT + offset, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT + offset
    array: Array = buffer[start : start + size].view(dtype).reshape(shape)
    if values is not None:
        array[...] = values
    return array
