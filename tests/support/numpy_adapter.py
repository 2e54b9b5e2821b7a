"""A stack of dense layers in NumPy: the adapter that faults are planted in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Parameter, Shape, Stack
from conformance.reference.formats import FORMATS
from tests.support.numpy_activations import BACKWARD, FORWARD


def times(left: Array, right: Array) -> Array:
    """Return left·right in their dtype, 16-bit numbers summed in float32 and rounded once."""
    if left.dtype.itemsize > 2:
        return left @ right
    return (left.astype(np.float32) @ right.astype(np.float32)).astype(left.dtype)


class Honest:
    """No fault: what a layer does, in the dtype it is asked in. A fault overrides one of these."""

    def built(self, stack: Stack) -> Stack:
        """Return the stack that is built where `stack` is asked for; what is not legal is refused after this."""
        return stack

    def used(self, stack: Stack) -> Stack:
        """Return the stack a model computes with, where it was built or given weights with `stack`."""
        return stack

    def entered(self, x: Array) -> Array:
        """Return the input of the first layer as the layer reads it from memory."""
        return x

    def kernel(self, kernel: Array) -> Array:
        """Return the kernel a layer computes with."""
        return kernel

    def operand(self, x: Array) -> Array:
        """Return an operand of a product as the product reads it."""
        return x

    def product(self, x: Array, kernel: Array) -> Array:
        """Return x·W of shape (..., m)."""
        return times(self.operand(x), self.operand(kernel))

    def biased(self, p: Array, bias: Array) -> Array:
        """Return p + b."""
        return p + bias

    def activated(self, activation: str, z: Array) -> Array:
        """Return the activation of z."""
        return np.asarray(FORWARD[activation](z))

    def output(self, y: Array) -> Array:
        """Return what the last layer gives out."""
        return y

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        """Return the gradient of z = x·W + b, given that of y = activation(z)."""
        return np.asarray(BACKWARD[activation](z, y, dy))

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        """Return dW of shape (d, m), for a of shape (P, d) and dz of shape (P, m)."""
        return times(self.operand(a.T), self.operand(dz))

    def bias_gradient(self, dz: Array) -> Array:
        """Return db of shape (m,), for dz of shape (P, m)."""
        return dz.sum(axis=0, dtype=np.float64 if dz.dtype.itemsize > 4 else np.float32).astype(dz.dtype)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        """Return the gradient of a layer's input."""
        return times(self.operand(dz), self.operand(kernel.T))

    def differentiated(self, gradients: Gradients) -> Gradients:
        """Return what is given out as the gradients."""
        return gradients

    def upstream(self, dy: Array) -> Array:
        """Return the gradient that enters the last layer."""
        return dy

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        """Return what is inferred."""
        return shapes

    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        """Return what is reported."""
        return parameters

    def count(self, parameters: Sequence[Parameter]) -> int | None:
        """Return the framework's own count of parameters."""
        return None

    def placed(self) -> str:
        """Return the device that the output is said to live on."""
        return "cpu"

    def replaced(self, old: Stack, new: Stack) -> Stack:
        """Return the stack whose weights are used after a replacement."""
        return new


class NumPyAdapter:
    """A stack of dense layers in NumPy, with one fault or none."""

    def __init__(self, fault: Honest) -> None:
        self.fault = fault

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def settings(self) -> Mapping[str, object]:
        return {}

    def devices(self) -> Sequence[str]:
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> NumPyModel:
        return NumPyModel(self.fault.built(stack), self.fault)


class NumPyModel:
    """Forward and backward by hand, in the dtype of the stack."""

    def __init__(self, stack: Stack, fault: Honest) -> None:
        self.stack, self.fault = stack, fault
        self._dtype = FORMATS[stack.dtype].dtype
        if not stack.input_shape or stack.input_shape[-1] is None:
            raise ValueError(f"no kernel has a shape for the input {stack.input_shape}")
        for layer in stack.layers:
            if not isinstance(layer.units, int) or isinstance(layer.units, bool) or layer.units < 0:
                raise ValueError(f"units is an integer of 0 or more, not {layer.units!r}")

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        shapes: list[Shape] = []
        for layer in self.stack.layers:
            assert isinstance(layer.units, int)
            shapes.append((batch, *self.stack.input_shape[:-1], layer.units))
        return self.fault.shapes(shapes, self.stack)

    def parameters(self) -> Sequence[Parameter]:
        found = []
        features = self.stack.input_shape[-1]
        for index, layer in enumerate(self.stack.layers):
            kernel = (features, layer.units) if layer.kernel is None else layer.kernel.shape
            bias = (layer.units,) if layer.bias is None else layer.bias.shape
            for name, shape in (("kernel", kernel), *([("bias", bias)] if layer.use_bias else [])):
                dtype = self.stack.dtype if layer.kernel is None else str(layer.kernel.dtype)
                found.append(Parameter(layer=index, name=name, shape=shape, dtype=dtype, trainable=True, reported=name))
            features = layer.units  # type: ignore[assignment]
        return self.fault.parameters(found)

    def parameter_count(self) -> int | None:
        return self.fault.count(self.parameters())

    @np.errstate(over="ignore", invalid="ignore")
    def forward(self, x: Array) -> Array:
        return self.fault.output(self._run(x)[-1][2])

    @np.errstate(over="ignore", invalid="ignore")
    def gradients(self, x: Array, dy: Array) -> Gradients:
        trail = self._run(x)
        da = self.fault.upstream(dy)
        layers: list[tuple[Array, Array | None]] = []
        for layer, (a, z, y) in zip(reversed(self.fault.used(self.stack).layers), reversed(trail), strict=True):
            dz = self.fault.derived(layer.activation, z, y, da)
            rows = int(np.prod(a.shape[:-1], dtype=np.int64))
            kernel = self._kernel(layer)
            flat = dz.reshape(rows, dz.shape[-1])
            dkernel = self.fault.kernel_gradient(a.reshape(rows, a.shape[-1]), flat)
            layers.insert(0, (dkernel, None if layer.bias is None else self.fault.bias_gradient(flat)))
            da = self.fault.input_gradient(dz, kernel)
        dx = None if x.dtype.kind in "biu" else da.astype(x.dtype, copy=False)
        return self.fault.differentiated(Gradients(dx=dx, layers=tuple(layers)))

    def set_weights(self, stack: Stack) -> None:
        self.stack = self.fault.replaced(self.stack, stack)

    def placement(self) -> str:
        return self.fault.placed()

    def handed_strides(self) -> tuple[int, ...] | None:
        return None

    def _kernel(self, layer: Dense) -> Array:
        assert layer.kernel is not None
        return self.fault.kernel(layer.kernel)

    def _run(self, x: Array) -> list[tuple[Array, Array, Array]]:
        """Return input, pre-activation and output of each layer."""
        trail = []
        a = self.fault.entered(x).astype(self._dtype, copy=False)
        for layer in self.fault.used(self.stack).layers:
            z = self.fault.product(a, self._kernel(layer))
            if layer.bias is not None:
                z = self.fault.biased(z, layer.bias)
            y = self.fault.activated(layer.activation, z)
            trail.append((a, z, y))
            a = y
        return trail
