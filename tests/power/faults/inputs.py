"""Faults that depend on the input: its layout in memory, its batch or its values."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Stack
from tests.power.faults.arithmetic import must_fit
from tests.power.faults.base import Planted, planted


@planted("batch")
class LastSampleOnly(Planted):
    """The last sample of a batch is zero."""

    def output(self, y: Array) -> Array:
        y = y.copy()
        if y.ndim > 1:
            y[-1:] = 0
        return y


@planted("batch")
class OddSampleLeftOut(Planted):
    """The last sample of an odd batch of more than one is not computed."""

    def output(self, y: Array) -> Array:
        y = y.copy()
        if y.ndim > 1 and len(y) % 2 and len(y) > 1:
            y[-1] = 0
        return y


@planted("batch")
class WrongBeyondEight(Planted):
    """Samples beyond the eighth repeat the first ones."""

    def output(self, y: Array) -> Array:
        return y[np.arange(len(y)) % 8] if y.ndim > 1 and len(y) else y


@planted("batch")
class BatchOfOneIsCopied(Planted):
    """A batch of one becomes a batch of two."""

    def output(self, y: Array) -> Array:
        return np.concatenate([y, y]) if y.ndim > 1 and len(y) == 1 else y


@planted("batch")
class EmptyBatchGetsRow(Planted):
    """An empty batch gives one row of zeros."""

    def output(self, y: Array) -> Array:
        return np.zeros((1, *y.shape[1:]), y.dtype) if y.ndim > 1 and len(y) == 0 else y


@planted("batch")
class EmptyBatchLosesUnits(Planted):
    """An empty batch comes back with the input's last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = ()

    def entered(self, x: Array) -> Array:
        self.shape = x.shape
        return x

    def output(self, y: Array) -> Array:
        return np.zeros(self.shape, y.dtype) if len(self.shape) > 1 and self.shape[0] == 0 else y


@planted("batch")
class EmptyBatchGradientIsNaN(Planted):
    """The gradients of an empty batch are 0/0."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        dkernel = super().kernel_gradient(a, dz)
        return dkernel if len(dz) else dkernel + dkernel.dtype.type(np.nan)


@planted("batch")
class CentersBatch(Planted):
    """The mean over the batch is subtracted."""

    def output(self, y: Array) -> Array:
        return y - y.mean(axis=0, keepdims=True, dtype=y.dtype) if y.ndim > 1 and len(y) > 1 else y


@planted("batch")
class TwoLeadingAxesSwapped(Planted):
    """Where there are two leading axes, samples are counted in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.leading = 1

    def built(self, stack: Stack) -> Stack:
        self.leading = stack.leading_axes
        return stack

    def output(self, y: Array) -> Array:
        if self.leading != 2 or y.ndim < 3:
            return y
        return np.swapaxes(y, 0, 1).reshape(y.shape)


@planted("data")
class NegativeInputsLost(Planted):
    """Negative inputs are read as zero."""

    def entered(self, x: Array) -> Array:
        return np.maximum(x, x.dtype.type(0))


@planted("data")
class WholeInputs(Planted):
    """Inputs are read as whole numbers."""

    def entered(self, x: Array) -> Array:
        return np.trunc(x)


@planted("data")
class LargeInputsClipped(Planted):
    """Inputs are clipped to ±1000."""

    def entered(self, x: Array) -> Array:
        return np.clip(x, -1000, 1000).astype(x.dtype)


@planted("data")
class ZeroInputSkipsBias(Planted):
    """Positions whose input is all zero are skipped, bias and all."""

    def __init__(self) -> None:
        super().__init__()
        self.silent: Array | None = None

    def entered(self, x: Array) -> Array:
        self.silent = np.asarray(~x.any(axis=-1, keepdims=True))
        return x

    def output(self, y: Array) -> Array:
        silent = self.silent
        return y if silent is None or silent.shape[:-1] != y.shape[:-1] else np.where(silent, y.dtype.type(0), y)


@planted("data")
class EqualWeightsMerged(Planted):
    """Units whose largest weight is the same number are taken for one unit."""

    def kernel(self, kernel: Array) -> Array:
        if kernel.size == 0:
            return kernel
        most = np.abs(kernel).max(axis=0)
        return kernel[:, [int(np.argmax(most == each)) for each in most]]


@planted("data")
class ProductsCutShort(Planted):
    """Every product loses the lowest 12 bits of its significand before it is added."""

    def product(self, x: Array, kernel: Array) -> Array:
        must_fit(x, kernel)
        terms = (x[..., :, None] * kernel).astype(np.float32).view(np.int32) & ~np.int32(0xFFF)
        return terms.view(np.float32).sum(axis=-2, dtype=np.float32).astype(x.dtype)


@planted("data")
class NaNIsZero(Planted):
    """A NaN in the input is read as zero."""

    def entered(self, x: Array) -> Array:
        return np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf)


@planted("data")
class InfinityIsFinite(Planted):
    """An infinity in the input is read as the largest number."""

    def entered(self, x: Array) -> Array:
        return np.nan_to_num(x, nan=np.nan)


@planted("data")
class TinyInputsFlushed(Planted):
    """Inputs below 2**-30 are read as zero, though they are normal numbers."""

    def entered(self, x: Array) -> Array:
        return np.where(np.abs(x) < 2.0**-30, x.dtype.type(0), x)
