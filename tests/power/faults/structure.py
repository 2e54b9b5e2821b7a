"""Faults of structure: which weight meets which feature, which axis is contracted, where the bias goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Shape, Stack
from tests.power.faults.base import Planted, planted
from tests.support.faulty import times


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
    """Where features and units are as many, the input is added to the output."""

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
    """Layers of as many units share the bias of the first of them."""

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
    """Where batch and features are as many, the batch is contracted."""

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


@planted("bias")
class DropsBiasAboveRankTwo(Planted):
    """The bias is added to matrices only."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias if p.ndim < 3 else p


@planted("bias")
class DropsLastLayersBias(Planted):
    """The last of several layers adds no bias."""

    def used(self, stack: Stack) -> Stack:
        last = stack.layers[-1]
        if len(stack.layers) > 1 and last.bias is not None:
            last = replace(last, bias=np.zeros_like(last.bias))
        return replace(stack, layers=(*stack.layers[:-1], last))


@planted("bias")
class DropsBiasOfNoFeatures(Planted):
    """A sum of no products is returned without its bias."""

    def used(self, stack: Stack) -> Stack:
        layers = [
            replace(layer, bias=layer.bias * 0)
            if layer.bias is not None and layer.kernel is not None and layer.kernel.shape[0] == 0
            else layer
            for layer in stack.layers
        ]
        return replace(stack, layers=tuple(layers))


@planted("bias")
class FirstBiasForAll(Planted):
    """Every unit adds the bias of the first."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + np.broadcast_to(bias[:1], bias.shape) if bias.size else p


@planted("bias")
class ReversedBias(Planted):
    """The bias is added from the other end."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias[::-1]


@planted("bias")
class SubtractsBias(Planted):
    """The bias is subtracted."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p - bias


@planted("bias")
class BiasOnFirstSample(Planted):
    """Only the first sample gets the bias."""

    def biased(self, p: Array, bias: Array) -> Array:
        y = p.copy()
        if y.ndim == 1:
            return y + bias
        y[:1] += bias
        return y


@planted("bias")
class BiasOnFirstPosition(Planted):
    """Only the first position of each sample gets the bias."""

    def biased(self, p: Array, bias: Array) -> Array:
        if p.ndim < 3:
            return p + bias
        y = p.copy()
        y[..., :1, :] += bias
        return y


@planted("bias")
class BiasTimesBatch(Planted):
    """The bias is added once for every sample of the batch."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias * p.dtype.type(p.shape[0] if p.ndim > 1 else 1)


@planted("bias")
class BiasAfterActivation(Planted):
    """The bias is added to the activation's output."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: Array | None = None

    def biased(self, p: Array, bias: Array) -> Array:
        self.waiting = bias
        return p

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        y, self.waiting = (y if self.waiting is None else y + self.waiting), None
        return y


@planted("bias")
class BiasUnasked(Planted):
    """A layer without a bias adds one all the same."""

    def used(self, stack: Stack) -> Stack:
        layers = []
        for layer in stack.layers:
            if layer.bias is None and layer.kernel is not None:
                layer = replace(layer, bias=np.ones(layer.kernel.shape[1], layer.kernel.dtype))
            layers.append(layer)
        return replace(stack, layers=tuple(layers))


@planted("inference")
class InfersFlattened(Planted):
    """The inner axes are inferred to be flattened away."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], shape[-1]) for shape in shapes]


@planted("inference")
class InfersInput(Planted):
    """The input's last axis is inferred for the output."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(*shape[:-1], stack.input_shape[-1]) for shape in shapes]


@planted("inference")
class InfersNoBatch(Planted):
    """The batch axis is missing from what is inferred."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [shape[1:] for shape in shapes]


@planted("inference")
class InfersBatchOfTwo(Planted):
    """The unknown batch is inferred to be 2."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(2, *shape[1:]) for shape in shapes]


@planted("inference")
class InfersFirstLayer(Planted):
    """Every layer is inferred to have the units of the first."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [shapes[0]] * len(shapes)


@planted("inference")
class InfersLastLayerOnly(Planted):
    """One shape is inferred for the whole stack."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return shapes[-1:]


@planted("inference")
class InfersUnknownPositions(Planted):
    """Inner axes are inferred to be unknown although they are known."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], *(None for _ in shape[1:-1]), shape[-1]) for shape in shapes]


@planted("inference")
class InfersAxesReversed(Planted):
    """The inner axes are inferred in reverse order."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], *shape[-2:0:-1], shape[-1]) for shape in shapes]


@planted("inference")
class InfersZeroAsUnknown(Planted):
    """An axis of zero is taken for an unknown one."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [tuple(axis or None for axis in shape) for shape in shapes]


@planted("inference")
class InferenceRaises(Planted):
    """Inference raises."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        raise RuntimeError("shapes are known after the call")
