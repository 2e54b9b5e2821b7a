"""
Numbers from a seed: the same bits on every machine and with every version of NumPy.

A digest and a purpose key a counter-based generator (Philox), whose raw bits this module maps to numbers. A test pins
the mapping, since NumPy's distributions may change.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


def stream_key(digest: bytes, *purpose: object) -> int:
    """Return the key of the Philox generator of a digest and a purpose."""
    key = hashlib.sha256(digest + "/".join(map(str, purpose)).encode()).digest()
    return int.from_bytes(key[:16], "little")


class _Key(np.random.bit_generator.ISeedSequence):
    """A key as what a generator takes one from: given the key itself, NumPy also draws entropy it has no use for."""

    __slots__ = ("_words",)

    def __init__(self, key: int) -> None:
        self._words = np.array([key & (2**64 - 1), key >> 64], np.uint64)

    def generate_state(self, n_words: int, dtype: npt.DTypeLike = np.uint64) -> npt.NDArray[Any]:
        """Return the two words of 64 bits that a Philox generator asks for."""
        assert (n_words, np.dtype(dtype)) == (2, np.dtype(np.uint64)), "only a Philox generator is keyed so"
        return self._words


class Stream:
    """
    Numbers from the raw bits of a Philox generator keyed by SHA-256 of a digest and a purpose.

    Every purpose has a stream of its own, so that adding one changes no other.
    """

    def __init__(self, digest: bytes, *purpose: object) -> None:
        # The stub of NumPy names one class that is such a sequence; its documentation, any.
        self._philox = np.random.Philox(cast(Any, _Key(stream_key(digest, *purpose))))

    def bits(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
        """Return uniformly distributed 64-bit numbers."""
        size = math.prod(shape)
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
