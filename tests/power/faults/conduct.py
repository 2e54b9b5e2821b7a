"""Faults of conduct: what a layer remembers, how it reads memory, and what depends on batch or data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Stack
from tests.power.faults.arithmetic import must_fit
from tests.power.faults.base import Planted, planted
from tests.support.faulty import times


@planted("state")
class StaleBias(Planted):
    """Replaced weights leave the biases as they were."""

    def replaced(self, old: Stack, new: Stack) -> Stack:
        layers = [replace(b, bias=a.bias) for a, b in zip(old.layers, new.layers, strict=True)]
        return replace(new, layers=tuple(layers))


@planted("state")
class StaleKernel(Planted):
    """Replaced weights leave the kernels as they were."""

    def replaced(self, old: Stack, new: Stack) -> Stack:
        layers = [replace(b, kernel=a.kernel) for a, b in zip(old.layers, new.layers, strict=True)]
        return replace(new, layers=tuple(layers))


@planted("state")
class StaleLastLayer(Planted):
    """Replaced weights leave the last of several layers as it was."""

    def replaced(self, old: Stack, new: Stack) -> Stack:
        return replace(new, layers=(*new.layers[:-1], old.layers[-1])) if len(new.layers) > 1 else new


@planted("state")
class AddsNewWeights(Planted):
    """Replaced weights are added to the old ones."""

    def replaced(self, old: Stack, new: Stack) -> Stack:
        layers = []
        for before, after in zip(old.layers, new.layers, strict=True):
            assert before.kernel is not None
            assert after.kernel is not None
            layers.append(replace(after, kernel=before.kernel + after.kernel))
        return replace(new, layers=tuple(layers))


@planted("state")
class TransposesNewSquareKernel(Planted):
    """A square kernel that replaces another is taken transposed."""

    def replaced(self, old: Stack, new: Stack) -> Stack:
        layers = []
        for layer in new.layers:
            assert layer.kernel is not None
            square = layer.kernel.shape[0] == layer.kernel.shape[1]
            layers.append(replace(layer, kernel=layer.kernel.T if square else layer.kernel))
        return replace(new, layers=tuple(layers))


@planted("state")
class StaleKernelInGradient(Planted):
    """dx uses the kernel of the first time it was asked for, for each shape of kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[tuple[int, ...], Array] = {}

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return times(dz, self.first.setdefault(kernel.shape, kernel).T)


@planted("state")
class AccumulatesGradients(Planted):
    """dW is added to that of the call before."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[int, ...], Array] = {}

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        dkernel = super().kernel_gradient(a, dz)
        self.held[dkernel.shape] = dkernel = dkernel + self.held.get(dkernel.shape, dkernel.dtype.type(0))
        return dkernel


@planted("state")
class RemembersByShape(Planted):
    """An output is remembered by the input's shape, and given out again."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] = ()
        self.seen: dict[tuple[int, ...], Array] = {}

    def entered(self, x: Array) -> Array:
        self.shape = x.shape
        return x

    def output(self, y: Array) -> Array:
        return self.seen.setdefault(self.shape, y)


@planted("state")
class FirstCallDiffers(Planted):
    """The first call leaves the bias out."""

    def __init__(self) -> None:
        super().__init__()
        self.called = False

    def output(self, y: Array) -> Array:
        y, self.called = (y if self.called else y + y.dtype.type(1)), True
        return y


@planted("state")
class WritesInput(Planted):
    """The input is negated in place once it has been read."""

    def entered(self, x: Array) -> Array:
        kept = x.copy()
        if x.flags.writeable:
            np.negative(x, out=x)
        return kept


@planted("state")
class LearnsWhileDifferentiating(Planted):
    """Every gradient is followed by a step of descent."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0.0

    def differentiated(self, gradients: Gradients) -> Gradients:
        self.moved += 0.125
        return gradients

    def kernel(self, kernel: Array) -> Array:
        return kernel * kernel.dtype.type(1.0 - self.moved)


@planted("state")
class DropsOut(Planted):
    """A tenth of the outputs is dropped at random, as in training."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng(0)

    def output(self, y: Array) -> Array:
        return np.where(self.generator.random(y.shape) < 0.1, y.dtype.type(0), y)


@planted("state")
class DriftsByCalls(Planted):
    """Every call adds one part in a million."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def output(self, y: Array) -> Array:
        self.calls += 1
        return y * y.dtype.type(1.0 + 1e-6 * self.calls)


@planted("layout")
class IgnoresStrides(Planted):
    """The input's memory is read as if it were contiguous."""

    def entered(self, x: Array) -> Array:
        if not x.size:
            return x
        # No more than there is of it: an input with a stride of 0 has less memory than elements, the rest reads as 0.
        extent = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.strides, strict=True)) // x.itemsize
        flat = np.zeros(x.size, x.dtype)
        memory = np.lib.stride_tricks.as_strided(x, shape=(extent,), strides=(x.itemsize,))[: x.size]
        flat[: memory.size] = memory
        return flat.reshape(x.shape)


@planted("layout")
class ReadsInMemoryOrder(Planted):
    """Permuted axes are read in the order of memory."""

    def entered(self, x: Array) -> Array:
        return x.ravel(order="K").reshape(x.shape)


@planted("layout")
class WrongWhereStrided(Planted):
    """An input whose last axis is not dense is read one element off."""

    def entered(self, x: Array) -> Array:
        return np.roll(x, 1, axis=-1) if x.ndim and x.size and x.strides[-1] != x.itemsize else x


@planted("layout")
class PairsAtOneAddress(Planted):
    """Two vectors at one address are read as one, and the second as zero."""

    def entered(self, x: Array) -> Array:
        if x.ndim != 2 or len(x) != 2 or x.strides[0] or not x.size:
            return x
        x = x.copy()
        x[1] = 0
        return x


@planted("layout")
class ManyAxesOfStrideZero(Planted):
    """From rank 5 on, a first axis of stride 0 is stepped along by one element."""

    def entered(self, x: Array) -> Array:
        if x.ndim < 5 or x.strides[0] or len(x) < 2 or not x.size:
            return x
        return np.stack([np.roll(each.reshape(-1), -index).reshape(each.shape) for index, each in enumerate(x)])


@planted("layout")
class RefusesStrides(Planted):
    """An input that is not contiguous is refused."""

    def entered(self, x: Array) -> Array:
        if not x.flags.c_contiguous:
            raise ValueError("the input is not contiguous")
        return x


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


@planted("state")
class ModelsShareWeights(Planted):
    """A model computes with the weights that were last given to any model with as many parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[tuple[object, ...], Stack] = {}

    @staticmethod
    def key(stack: Stack) -> tuple[object, ...]:
        return tuple(
            (layer.kernel.shape if layer.kernel is not None else None, layer.use_bias) for layer in stack.layers
        )

    def built(self, stack: Stack) -> Stack:
        self.last[self.key(stack)] = stack
        return stack

    def replaced(self, old: Stack, new: Stack) -> Stack:
        return self.built(new)

    def used(self, stack: Stack) -> Stack:
        return self.last.get(self.key(stack), stack)

    def parameters(self, parameters: list[Parameter]) -> Sequence[Parameter]:  # type: ignore[override]
        return parameters
