"""Layouts of an input in memory, built in the process that is asked: they do not survive a pipe."""

from __future__ import annotations

from typing import Final

import numpy as np

from conformance.adapters.protocol import Array

#: What the first byte of an input is aligned to (bytes).
ALIGNMENT: Final = 64


def arrange(x: Array, layout: str) -> Array:
    """
    Return an array equal to `x` in the memory layout named, its first byte on a 64-byte boundary.

    `transposed` permutes the leading axes in memory (the
    last axis stays fastest), `strided` skips every second element of a wider last axis, `broadcast` has stride 0 on the
    first axis and therefore asks that `x` be equal along it.

    Raises:
        ValueError: `layout` is unknown, or `x` is not equal along its first axis for `broadcast`.
    """
    if layout == "contiguous":
        return _aligned(x.shape, x.dtype, x)
    if layout == "transposed":
        leading = x.ndim - 1
        reverse = (*range(leading - 1, -1, -1), *range(leading, x.ndim))
        return _aligned(tuple(x.shape[axis] for axis in reverse), x.dtype, x.transpose(reverse)).transpose(reverse)
    if layout == "strided":
        wide = _aligned((*x.shape[:-1], 2 * x.shape[-1]), x.dtype, None)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "broadcast":
        # A number that is not equal to itself is NaN.
        if x.shape[0] > 1 and not ((x[:1] == x[1:]) | ((x[:1] != x[:1]) & (x[1:] != x[1:]))).all():
            raise ValueError("a broadcast layout needs an input that is equal along its first axis")
        return np.broadcast_to(_aligned(x.shape[1:], x.dtype, x[0] if x.shape[0] else None), x.shape)
    raise ValueError(f"no such layout: {layout!r}")


def _aligned(shape: tuple[int, ...], dtype: np.dtype[np.generic], values: Array | None) -> Array:
    """Return a C-contiguous array on a 64-byte boundary, filled with `values` or with zeros."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    array: Array = buffer[start : start + size].view(dtype).reshape(shape)
    if values is not None:
        array[...] = values
    return array
