"""Adapters whose fault shows on some data alone, which a search must find without being told: right everywhere else."""

from __future__ import annotations

import os

import numpy as np

from conformance.adapters.protocol import Array
from tests.support.numpy_adapter import Honest, NumPyAdapter


class _OddFeatures(Honest):
    """The last feature is left out where their number is odd, as by a loop over pairs; of one alone it is not."""

    def product(self, x: Array, kernel: Array) -> Array:
        if kernel.shape[0] % 2 and kernel.shape[0] > 1:
            return super().product(x[..., :-1], kernel[:-1])
        return super().product(x, kernel)


class _OnePosition(Honest):
    """The seventh position, and no other, is not given its bias."""

    def biased(self, p: Array, bias: Array) -> Array:
        y = super().biased(p, bias).copy()
        positions = y.reshape(int(np.prod(y.shape[:-1], dtype=np.int64)), y.shape[-1])
        if len(positions) > 6:
            positions[6] -= bias
        return positions.reshape(y.shape)


class _Past512(Honest):
    """Features past 512 are read once too often, as by a tile that is not full."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = super().product(x, kernel)
        return y + super().product(x[..., 512:], kernel[512:]) if kernel.shape[0] > 512 else y


class _AbortsOnFiveUnits(Honest):
    """The process ends where a layer has five units."""

    def product(self, x: Array, kernel: Array) -> Array:
        if kernel.shape[1] == 5:
            os.abort()
        return super().product(x, kernel)


class OddFeatures(NumPyAdapter):
    def __init__(self) -> None:
        super().__init__(_OddFeatures())


class OnePosition(NumPyAdapter):
    def __init__(self) -> None:
        super().__init__(_OnePosition())


class Past512(NumPyAdapter):
    def __init__(self) -> None:
        super().__init__(_Past512())


class AbortsOnFiveUnits(NumPyAdapter):
    def __init__(self) -> None:
        super().__init__(_AbortsOnFiveUnits())
