"""Faults that are there in some places only: from a size on, at some positions, in one element of the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.adapters.protocol import Array
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times

#: Far more than any bound, and exact in every dtype.
WRONG = 1.0


def wrong_at(y: Array, index: tuple[Any, ...]) -> Array:
    """Return y with WRONG added to part of it."""
    y = y.copy()
    y[index] += y.dtype.type(WRONG)
    return y


class _Product(Planted):
    """The product is wrong where `where` says so."""

    def where(self, x: Array, kernel: Array) -> bool:
        raise NotImplementedError

    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        return y + y.dtype.type(WRONG) if self.where(x, kernel) else y


@planted("places")
class LongSums(_Product):
    """Wrong from 512 features on."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[0] >= 512


@planted("places")
class VeryLongSums(_Product):
    """Wrong from 1000 features on."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[0] >= 1000


@planted("places")
class SingleFeature(_Product):
    """Wrong for one feature."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[0] == 1


@planted("places")
class SingleUnit(_Product):
    """Wrong for one unit."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[1] == 1


@planted("places")
class NoFeatures(_Product):
    """Wrong for no features: an empty sum is not zero."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[0] == 0


@planted("places")
class OddFeatures(_Product):
    """Wrong for an odd number of features above four."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[0] > 4 and kernel.shape[0] % 2 == 1


@planted("places")
class WideKernel(_Product):
    """Wrong from 512 units on."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[1] >= 512


@planted("places")
class SquareKernel(_Product):
    """Wrong for a square kernel above 8 by 8."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[0] == kernel.shape[1] > 8


@planted("places")
class UnitsEqualAxis(_Product):
    """Wrong where an inner axis is as long as there are units."""

    def where(self, x: Array, kernel: Array) -> bool:
        return kernel.shape[1] in x.shape[1:-1]


@planted("places")
class UnitsEqualBatch(_Product):
    """Wrong where the units equal the samples in number, and are more than two."""

    def where(self, x: Array, kernel: Array) -> bool:
        return x.ndim > 1 and x.shape[0] == kernel.shape[1] > 2


@planted("places")
class HighRank(_Product):
    """Wrong from rank 6 on, batch included."""

    def where(self, x: Array, kernel: Array) -> bool:
        return x.ndim >= 6


@planted("places")
class RankFourOnly(_Product):
    """Wrong for rank 4 alone, batch included."""

    def where(self, x: Array, kernel: Array) -> bool:
        return x.ndim == 4


@planted("places")
class NoBatchAxis(_Product):
    """Wrong without a batch axis."""

    def where(self, x: Array, kernel: Array) -> bool:
        return x.ndim == 1


@planted("places")
class BatchOfSixteen(_Product):
    """Wrong from a batch of 16 on."""

    def where(self, x: Array, kernel: Array) -> bool:
        return x.ndim > 1 and x.shape[0] >= 16


@planted("places")
class OddPositions(Planted):
    """Wrong at odd positions of the second axis."""

    def output(self, y: Array) -> Array:
        return wrong_at(y, (slice(None), slice(1, None, 2))) if y.ndim > 2 else y


@planted("places")
class OneElement(Planted):
    """Wrong in the last element of the output alone."""

    def output(self, y: Array) -> Array:
        return wrong_at(y, (-1,) * y.ndim) if y.size else y


@planted("places")
class LastUnit(Planted):
    """Wrong in the last unit alone, for units above 8 that are no multiple of 4."""

    def output(self, y: Array) -> Array:
        return wrong_at(y, (..., -1)) if y.shape[-1] > 8 and y.shape[-1] % 4 else y


@planted("places")
class LateUnits(Planted):
    """Wrong from unit 256 on."""

    def output(self, y: Array) -> Array:
        return wrong_at(y, (..., slice(256, None))) if y.shape[-1] > 256 else y


@planted("places")
class LatePositions(Planted):
    """Wrong from the 256th position of a sample on."""

    def output(self, y: Array) -> Array:
        return wrong_at(y, (slice(None), slice(256, None))) if y.ndim > 2 and y.shape[1] > 256 else y


@planted("places")
class LastSamplesOfMany(Planted):
    """Wrong beyond row 2**16, as where rows are counted in 16 bits."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        flat = y.reshape(int(np.prod(y.shape[:-1], dtype=np.int64)), y.shape[-1]).copy()
        flat[2**16 :] += flat.dtype.type(WRONG)
        return flat.reshape(y.shape)


@planted("places")
class GradientOfManyPositions(Planted):
    """db leaves out positions beyond the 256th."""

    def bias_gradient(self, dz: Array) -> Array:
        return super().bias_gradient(dz[:256])


@planted("places")
class KernelGradientOfLongSums(Planted):
    """dW is zero from feature 512 on."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        dkernel = super().kernel_gradient(a, dz).copy()
        dkernel[512:] = 0
        return dkernel


@planted("places")
class InputGradientOfOddPositions(Planted):
    """dz is doubled at odd rows before dx is formed."""

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        dz = dz.copy()
        if dz.ndim > 1:
            dz[1::2] *= 2
        return super().input_gradient(dz, kernel)
