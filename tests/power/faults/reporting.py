"""Faults of what is reported: parameters and their count, dtypes, the device, and what ought to be refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Parameter, Shape, Stack
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


@planted("counting")
class CountsPositions(Planted):
    """The kernel is reported with a row for every feature of every position."""

    def built(self, stack: Stack) -> Stack:
        self.positions = math.prod(axis or 1 for axis in stack.input_shape[:-1])
        return stack

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [
            replace(each, shape=(each.shape[0] * self.positions, *each.shape[1:])) if each.name == "kernel" else each
            for each in parameters
        ]


@planted("counting")
class KernelIsFlat(Planted):
    """The kernel is reported as a vector: the count is right, the shape is not."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, shape=(math.prod(each.shape),)) for each in parameters]


@planted("counting")
class BiasReportedTwice(Planted):
    """Every bias is reported twice."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [*parameters, *(each for each in parameters if each.name == "bias")]


@planted("counting")
class BiasOfFeatures(Planted):
    """A layer reports a bias for each feature instead of each unit."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        kernels = {each.layer: each.shape for each in parameters if each.name == "kernel"}
        return [replace(each, shape=kernels[each.layer][:1]) if each.name == "bias" else each for each in parameters]


@planted("counting")
class ZeroBiasWhereNone(Planted):
    """A layer without a bias reports one."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        biased = {each.layer for each in parameters if each.name == "bias"}
        added = [
            replace(each, name="bias", reported="bias", shape=each.shape[1:])
            for each in parameters
            if each.name == "kernel" and each.layer not in biased
        ]
        return [*parameters, *added]


@planted("counting")
class AllInFirstLayer(Planted):
    """Every parameter is reported to belong to the first layer."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, layer=0) for each in parameters]


@planted("counting")
class LastLayerUncounted(Planted):
    """The parameters of the last of several layers are missing."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        last = max((each.layer for each in parameters), default=0)
        return [each for each in parameters if last == 0 or each.layer != last]


@planted("counting")
class NamesSwapped(Planted):
    """Kernel and bias are called by each other's name."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        other = {"kernel": "bias", "bias": "kernel"}
        return [replace(each, name=other[each.name]) for each in parameters]


@planted("counting")
class ExtraParameter(Planted):
    """Every layer has a scale besides kernel and bias."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        kernels = [each for each in parameters if each.name == "kernel"]
        return [*parameters, *(replace(each, name="scale", reported="scale", shape=(1,)) for each in kernels)]


@planted("counting")
class BiasFrozen(Planted):
    """The bias is not trainable."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, trainable=each.name != "bias") for each in parameters]


@planted("counting")
class OwnCountWithoutBias(Planted):
    """The framework's own count leaves the biases out."""

    def count(self, parameters: Sequence[Parameter]) -> int | None:
        return sum(math.prod(each.shape) for each in parameters if each.name == "kernel")


@planted("counting")
class OwnCountOfArrays(Planted):
    """The framework's own count is that of arrays, not of numbers."""

    def count(self, parameters: Sequence[Parameter]) -> int | None:
        return len(parameters)


@planted("counting")
class EmptyParametersUnlisted(Planted):
    """Parameters without an element are not reported."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [each for each in parameters if math.prod(each.shape)]


@planted("dtype")
class ParametersReportFloat64(Planted):
    """The parameters are reported as float64, or float64 ones as float16."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, dtype="float16" if each.dtype == "float64" else "float64") for each in parameters]


@planted("dtype")
class BiasReportsFloat16(Planted):
    """The bias is reported as float16."""

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [
            replace(each, dtype="float16" if each.name == "bias" and each.dtype != "float16" else each.dtype)
            for each in parameters
        ]


@planted("dtype")
class HalfOutput(Planted):
    """The output is given out as float16."""

    def output(self, y: Array) -> Array:
        with np.errstate(over="ignore"):
            return y.astype(np.float16)


@planted("dtype")
class IntegerOutput(Planted):
    """The output is given out as integers, which on the exact lane are the right ones."""

    def output(self, y: Array) -> Array:
        return y.astype(np.int32)


@planted("dtype")
class Float64Gradients(Planted):
    """Gradients are given out as float64."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        assert gradients.dx is not None
        layers = tuple(
            (kernel.astype(np.float64), None if bias is None else bias.astype(np.float64))
            for kernel, bias in gradients.layers
        )
        return Gradients(dx=gradients.dx.astype(np.float64), layers=layers)


@planted("dtype")
class Float64BiasGradient(Planted):
    """db alone is given out as float64."""

    def bias_gradient(self, dz: Array) -> Array:
        return dz.sum(axis=0, dtype=np.float64)


@planted("device")
class ReportsGpu(Planted):
    """The output is reported to live on another device."""

    def placed(self) -> str:
        return "gpu"


@planted("device")
class ReportsNoDevice(Planted):
    """The output lives on no device that has a name."""

    def placed(self) -> str:
        return ""


def with_units(stack: Stack, layer: Dense, units: int) -> Dense:
    """Return a layer of so many units with weights of ones, for units that nobody drew weights for."""
    features = stack.input_shape[-1] or 1
    return replace(
        layer,
        units=units,
        kernel=np.ones((features, units), np.dtype(stack.dtype)),
        bias=np.ones(units, np.dtype(stack.dtype)),
    )


@planted("refusal")
class StretchesLastAxis(Planted):
    """A last axis of 1 is stretched to the features of the kernel."""

    def product(self, x: Array, kernel: Array) -> Array:
        return (
            times(np.broadcast_to(x, (*x.shape[:-1], kernel.shape[0])), kernel)
            if x.shape[-1] == 1
            else times(x, kernel)
        )


@planted("refusal")
class CutsKernel(Planted):
    """With too few features, only that many rows of the kernel are used."""

    def product(self, x: Array, kernel: Array) -> Array:
        return times(x, kernel[: x.shape[-1]]) if x.shape[-1] < kernel.shape[0] else times(x, kernel)


@planted("refusal")
class ReshapesToFit(Planted):
    """An input with the right number of elements is reshaped until it fits."""

    def product(self, x: Array, kernel: Array) -> Array:
        given, features = x.shape[-1], kernel.shape[0]
        if x.ndim > 1 and features and given > features and given % features == 0:
            x = x.reshape(x.shape[0], -1, features)
        return times(x, kernel)


@planted("refusal")
class SwapsAxesToFit(Planted):
    """Swapped axes are swapped back without a word."""

    def product(self, x: Array, kernel: Array) -> Array:
        fits = x.ndim < 3 or x.shape[-1] == kernel.shape[0] or x.shape[-2] != kernel.shape[0]
        return times(x, kernel) if fits else times(np.swapaxes(x, -1, -2), kernel)


@planted("refusal")
class TakesNegativeUnits(Planted):
    """Units of -1 are taken for 1."""

    def built(self, stack: Stack) -> Stack:
        layers = [
            with_units(stack, layer, -layer.units) if isinstance(layer.units, int) and layer.units < 0 else layer
            for layer in stack.layers
        ]
        return replace(stack, layers=tuple(layers))


@planted("refusal")
class RoundsUnits(Planted):
    """Units of 2.5 are rounded."""

    def built(self, stack: Stack) -> Stack:
        layers = [
            with_units(stack, layer, int(layer.units)) if isinstance(layer.units, float) else layer
            for layer in stack.layers
        ]
        return replace(stack, layers=tuple(layers))


@planted("refusal")
class TakesScalar(Planted):
    """A number without an axis is taken for a vector of one."""

    def built(self, stack: Stack) -> Stack:
        if stack.input_shape:
            return stack
        stack = replace(stack, input_shape=(1,))
        layers = [with_units(stack, layer, layer.units) for layer in stack.layers if isinstance(layer.units, int)]
        return replace(stack, layers=tuple(layers))

    def entered(self, x: Array) -> Array:
        return x.reshape(1) if x.ndim == 0 else x


@planted("refusal")
class GuessesLastAxis(Planted):
    """An unknown last axis is taken from what is fed."""

    def built(self, stack: Stack) -> Stack:
        if not stack.input_shape or stack.input_shape[-1] is not None:
            return stack
        stack = replace(stack, input_shape=(*stack.input_shape[:-1], 1))
        layers = [with_units(stack, layer, layer.units) for layer in stack.layers if isinstance(layer.units, int)]
        return replace(stack, layers=tuple(layers))

    def product(self, x: Array, kernel: Array) -> Array:
        if kernel.shape[0] == 1 != x.shape[-1]:
            kernel = np.broadcast_to(kernel, (x.shape[-1], kernel.shape[1]))
        return times(x, kernel)


@planted("refusal")
class RefusesVectors(Planted):
    """A vector without a batch is refused, although the rule holds for it."""

    def entered(self, x: Array) -> Array:
        if x.ndim < 2:
            raise ValueError("an input has two axes or more")
        return x


@planted("refusal")
class RefusesEmptyAxes(Planted):
    """An input without elements is refused."""

    def entered(self, x: Array) -> Array:
        if x.size == 0:
            raise ValueError("an input has elements")
        return x


@planted("refusal")
class RefusesZeroUnits(Planted):
    """A layer without units is refused."""

    def built(self, stack: Stack) -> Stack:
        if any(layer.units == 0 for layer in stack.layers):
            raise ValueError("a layer has units")
        return stack


@planted("dtype")
class Float64WhereStrided(Planted):
    """The output for an input that is not contiguous is given out as float64."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = False

    def entered(self, x: Array) -> Array:
        self.strided = not x.flags.c_contiguous
        return x

    def output(self, y: Array) -> Array:
        return y.astype(np.float64) if self.strided else y


@planted("dtype")
class Float64AfterReplacement(Planted):
    """Outputs are float64 once the weights were replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.was_replaced = False

    def replaced(self, old: Stack, new: Stack) -> Stack:
        self.was_replaced = True
        return new

    def output(self, y: Array) -> Array:
        return y.astype(np.float64) if self.was_replaced else y


@planted("counting")
class FreezesOnReplacement(Planted):
    """Parameters are not trainable once they were replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.was_replaced = False

    def replaced(self, old: Stack, new: Stack) -> Stack:
        self.was_replaced = True
        return new

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, trainable=False) for each in parameters] if self.was_replaced else parameters


@planted("inference")
class LosesKnownBatch(Planted):
    """In other dtypes than float32 a known batch is inferred to be 1."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        known = stack.dtype != "float32" and shapes[0][0] is not None
        return [(1, *each[1:]) for each in shapes] if known else shapes
