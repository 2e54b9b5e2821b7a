"""Faults of state: what a layer remembers of weights and of earlier calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Stack
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


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
    """dx uses the kernel of its first call, for each shape of kernel."""

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


@planted("state")
class ModelsShareWeights(Planted):
    """A model computes with the weights last given to any model with the same number of parameters."""

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
