"""Faults of wiring: which weight meets which feature, and which axis is contracted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Stack
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


@planted("wiring")
class ReadsKernelInOtherOrder(Planted):
    """The kernel's numbers are read column by column into a shape filled row by row."""

    def kernel(self, kernel: Array) -> Array:
        return kernel.T.reshape(kernel.shape)


@planted("wiring")
class SwapsTwoUnits(Planted):
    """The first two units are swapped in the kernel."""

    def kernel(self, kernel: Array) -> Array:
        order = np.arange(kernel.shape[1])
        order[:2] = order[:2][::-1]
        return kernel[:, order]


@planted("wiring")
class SwapsTwoFeatures(Planted):
    """The first two features are swapped in the kernel."""

    def kernel(self, kernel: Array) -> Array:
        order = np.arange(kernel.shape[0])
        order[:2] = order[:2][::-1]
        return kernel[order]


@planted("wiring")
class ReversesFeatures(Planted):
    """The features meet the kernel from the other end."""

    def kernel(self, kernel: Array) -> Array:
        return kernel[::-1]


@planted("wiring")
class ReversesUnits(Planted):
    """The units of the kernel run backwards, those of the bias do not."""

    def kernel(self, kernel: Array) -> Array:
        return kernel[:, ::-1]


@planted("wiring")
class DropsFirstFeature(Planted):
    """The first feature has no part in the sum."""

    def product(self, x: Array, kernel: Array) -> Array:
        return times(x[..., 1:], kernel[1:])


@planted("wiring")
class SilencesLastUnit(Planted):
    """The last unit's kernel is zero."""

    def kernel(self, kernel: Array) -> Array:
        kernel = kernel.copy()
        kernel[:, -1:] = 0
        return kernel


@planted("wiring")
class RepeatsUnit(Planted):
    """The last unit uses the kernel of the one before it."""

    def kernel(self, kernel: Array) -> Array:
        kernel = kernel.copy()
        if kernel.shape[1] > 1:
            kernel[:, -1] = kernel[:, -2]
        return kernel


@planted("wiring")
class AbsoluteKernel(Planted):
    """The kernel loses its signs."""

    def kernel(self, kernel: Array) -> Array:
        return np.abs(kernel)


@planted("wiring")
class SymmetricKernel(Planted):
    """A square kernel uses its upper triangle for the lower one too."""

    def kernel(self, kernel: Array) -> Array:
        if kernel.shape[0] != kernel.shape[1]:
            return kernel
        upper = np.triu(kernel)
        return upper + np.triu(kernel, 1).T


@planted("wiring")
class ResidualWhereSquare(Planted):
    """Where features and units are equal in number, the input is added to the output."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        return y + x if kernel.shape[0] == kernel.shape[1] else y


@planted("wiring")
class SharesEqualKernels(Planted):
    """Layers of one shape share the kernel of the first of them."""

    def used(self, stack: Stack) -> Stack:
        first: dict[tuple[int, ...], Array] = {}
        layers = []
        for layer in stack.layers:
            assert layer.kernel is not None
            layers.append(replace(layer, kernel=first.setdefault(layer.kernel.shape, layer.kernel)))
        return replace(stack, layers=tuple(layers))


@planted("wiring")
class SharesEqualBiases(Planted):
    """Layers with the same number of units share the bias of the first of them."""

    def used(self, stack: Stack) -> Stack:
        first: dict[tuple[int, ...], Array] = {}
        layers = []
        for layer in stack.layers:
            if layer.bias is not None:
                layer = replace(layer, bias=first.setdefault(layer.bias.shape, layer.bias))
            layers.append(layer)
        return replace(stack, layers=tuple(layers))


@planted("wiring")
class SwapsEqualLayers(Planted):
    """The last two of more than two layers of one shape change places."""

    def used(self, stack: Stack) -> Stack:
        layers = list(stack.layers)
        if len(layers) > 2:
            one, other = layers[-2:]
            assert one.kernel is not None
            assert other.kernel is not None
            if one.kernel.shape == other.kernel.shape:
                layers[-2:] = [other, one]
        return replace(stack, layers=tuple(layers))


@planted("axis")
class SqueezesInnerAxes(Planted):
    """Inner axes of 1 vanish from the output."""

    def output(self, y: Array) -> Array:
        axes = tuple(axis for axis in range(1, y.ndim - 1) if y.shape[axis] == 1)
        return y.squeeze(axes)


@planted("axis")
class SqueezesOneUnit(Planted):
    """The last axis vanishes where there is one unit."""

    def output(self, y: Array) -> Array:
        return y[..., 0] if y.shape[-1] == 1 else y


@planted("axis")
class SqueezesBatchOfOne(Planted):
    """A batch of one loses its axis."""

    def output(self, y: Array) -> Array:
        return y[0] if y.ndim > 1 and y.shape[0] == 1 else y


@planted("axis")
class MergesLeadingAxes(Planted):
    """All axes but the last are merged into one."""

    def output(self, y: Array) -> Array:
        return y.reshape(int(np.prod(y.shape[:-1], dtype=np.int64)), y.shape[-1])


@planted("axis")
class SwapsEqualOutputAxes(Planted):
    """The last two axes of the output are swapped where they are equal."""

    def output(self, y: Array) -> Array:
        return np.swapaxes(y, -1, -2) if y.ndim > 1 and y.shape[-1] == y.shape[-2] else y


@planted("axis")
class SwapsInnerAxes(Planted):
    """Two inner axes of one length are swapped."""

    def output(self, y: Array) -> Array:
        return np.swapaxes(y, 1, 2) if y.ndim > 3 and y.shape[1] == y.shape[2] else y


@planted("axis")
class ContractsAxisOne(Planted):
    """Where the first inner axis is as long as the last it is contracted instead."""

    def product(self, x: Array, kernel: Array) -> Array:
        if x.ndim > 3 and x.shape[1] == kernel.shape[0]:
            return times(np.moveaxis(x, 1, -1), kernel)
        return times(x, kernel)


@planted("axis")
class ContractsBatch(Planted):
    """Where batch and features have one length, the batch is contracted."""

    def product(self, x: Array, kernel: Array) -> Array:
        return times(x.T, kernel) if x.ndim == 2 and x.shape[0] == x.shape[1] else times(x, kernel)


@planted("axis")
class FirstPositionForAll(Planted):
    """Every position is given the output of the first."""

    def output(self, y: Array) -> Array:
        return np.broadcast_to(y[:, :1], y.shape).copy() if y.ndim > 2 else y


@planted("axis")
class OrderOfPositions(Planted):
    """Positions are flattened in one order and unflattened in another."""

    def output(self, y: Array) -> Array:
        leading = y.shape[:-1]
        flat = y.reshape(int(np.prod(leading, dtype=np.int64)), y.shape[-1])
        order = np.arange(len(flat)).reshape(leading, order="F").ravel()
        return flat[order].reshape(y.shape)


@planted("axis")
class RoomForFewPositions(Planted):
    """An axis of more than 48 positions of two to seven features begins again at the first."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        return y[:, np.arange(y.shape[1]) % 48] if y.ndim == 3 and x.shape[1] > 48 and 1 < x.shape[-1] < 8 else y


@planted("axis")
class SkipsAxisOfOne(Planted):
    """An axis of one before an odd one is skipped, and with it every second position."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        if y.ndim == 4 and y.shape[1] == 1 and y.shape[2] > 1 and y.shape[2] % 2:
            y[:, :, 1::2] = 0
        return y


@planted("axis")
class OtherDtypesOfManyAxes(Planted):
    """Products in another dtype than float32 are wrong from rank 5 on."""

    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        return y + y.dtype.type(1) if y.ndim >= 5 and y.dtype != np.float32 else y


@planted("axis")
class TanhOfManyAxes(Planted):
    """From rank 5 on, tanh is left out at the first inner position."""

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        if y.ndim >= 5 and activation == "tanh":
            y = y.copy()
            y[:, :1] = z[:, :1]
        return y


@planted("axis")
class AddsBatchAxis(Planted):
    """A vector without a batch comes back as a batch of one."""

    def output(self, y: Array) -> Array:
        return y[None] if y.ndim == 1 else y
