"""
A plain function `(x, kernel, bias) -> y` on arrays of NumPy, PyTorch, JAX or TensorFlow, held as if it were a layer.

For the author of a kernel, who has no layer yet: the function is handed x of shape (..., d), a kernel of shape (d, m)
and a bias of shape (m,), or None for a layer without, and returns y of shape (..., m). Layers are fed by the ones
before, and relu is the framework's own. Gradients are those of the framework's own differentiation of the function. It
infers no shapes and holds no parameters, which is declined. Nothing here computes a shape.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, Protocol

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported

Function = Callable[[Any, Any, Any], Any]
Weights = Sequence[Sequence[Any]]
"""For each layer its kernel and its bias or None, as arrays of a framework."""
Call = Callable[[Any, Weights], Any]


class FunctionAdapter:
    """
    One function on the CPU; `mode` is `module:function@framework`.

    Raises:
        TypeError: what is named so cannot be called with x, kernel and bias.
        KeyError: the framework is none of `numpy`, `torch`, `jax` and `tensorflow`.
    """

    def __init__(self, *, mode: str) -> None:
        self._path, _, framework = mode.partition("@")
        self._framework = _FRAMEWORKS[framework]()
        module, _, name = self._path.partition(":")
        self._function: Function = getattr(importlib.import_module(module), name)
        try:
            inspect.signature(self._function).bind("x", "kernel", "bias")
        except TypeError as error:
            raise TypeError(f"{self._path} cannot be called with x, kernel and bias: {error}") from None

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the framework and of what carries arrays to it."""
        taking_part = dict.fromkeys((*self._framework.distributions, "numpy", "ml_dtypes"))
        return {each: importlib.metadata.version(each) for each in taking_part}

    def settings(self) -> Mapping[str, object]:
        """Return what is held, and the framework's flags as the adapter set them."""
        return {"function": self._path, **self._framework.settings}

    def devices(self) -> Sequence[str]:
        """Return `cpu`: a function is handed arrays there."""
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> FunctionModel:
        """
        Return the function with the kernels and biases it will be handed.

        Raises:
            Unsupported: there are none; a function is not there to make them, or to refuse to.
        """
        if any(layer.kernel is None for layer in stack.layers):
            raise Unsupported("a function is handed its kernel, and does not make one")
        return FunctionModel(stack, self._function, self._framework)


class FunctionModel:
    """One function called for each layer, with that layer's arrays."""

    def __init__(self, stack: Stack, function: Function, framework: Framework) -> None:
        self._function = function
        self._framework = framework
        self._output: Any = None
        self._handed: tuple[int, ...] | None = None
        self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Raise: a function knows a shape when it has computed the array."""
        raise Unsupported("a function infers no shape without computing")

    def parameters(self) -> Sequence[Parameter]:
        """Raise: a function holds nothing."""
        raise Unsupported("a function holds no parameters: its caller does")

    def parameter_count(self) -> None:
        """Return None: there is nothing to count."""

    def forward(self, x: Array) -> Array:
        """Return the output of the last layer for x (*leading, *input_shape)."""
        handed = self._framework.from_numpy(x)
        self._handed = self._framework.strides(handed)
        self._output = self._call(handed, self._weights)
        return self._framework.to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """
        Return what the framework's differentiation of the function gives for sum(dy * y).

        Raises:
            Unsupported: the framework has none.
        """
        given = self._framework
        dx, found = given.differentiate(self._call, given.from_numpy(x), self._weights, given.from_numpy(dy))
        layers = tuple(
            (given.to_numpy(kernel), None if bias is None else given.to_numpy(bias)) for kernel, bias in found
        )
        return Gradients(dx=None if x.dtype.kind in "biu" else given.to_numpy(dx), layers=layers)

    def _call(self, x: Any, weights: Weights) -> Any:
        for (kernel, bias), activation in zip(weights, self._activations, strict=True):
            y = self._function(x, kernel, bias)
            if not isinstance(y, self._framework.kind):
                wanted = f"{self._framework.kind.__module__}.{self._framework.kind.__name__}"
                raise TypeError(f"the function returned {type(y).__name__}, not {wanted}")
            x = self._framework.relu(y) if activation == "relu" else y
        return x

    def set_weights(self, stack: Stack) -> None:
        """
        Take the arrays that the function is handed from now on.

        Raises:
            Unsupported: an activation is neither linear nor relu, which are what a function is asked.
        """
        self._activations = [layer.activation for layer in stack.layers]
        if not {*self._activations} <= {"linear", "relu"}:
            raise Unsupported("a function is asked linear and relu alone")
        hand = self._framework.from_numpy
        self._weights = [
            (hand(layer.kernel), None if layer.bias is None else hand(layer.bias)) for layer in stack.layers
        ]

    def placement(self) -> str:
        """Return the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return self._framework.placement_of(self._output)

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the array the function was handed, None where arrays have none."""
        return self._handed


class Framework(Protocol):
    """
    Whose arrays a function is written for.

    `kind` is the type of its arrays, `settings` are its flags as they were set.
    """

    distributions: tuple[str, ...]
    settings: Mapping[str, object]
    kind: type[Any]
    relu: Callable[[Any], Any]

    def from_numpy(self, array: Array | None) -> Any:
        """Return the framework's array of the shape and dtype of `array`, and of its strides where it has strides."""
        ...

    def to_numpy(self, array: Any) -> Array:
        """Return an array of the same shape and dtype, bfloat16 as that of `ml_dtypes`."""
        ...

    def strides(self, array: Any) -> tuple[int, ...] | None:
        """Return the strides of an array in bytes, or None: it has none."""
        ...

    def placement_of(self, array: Any) -> str:
        """Return `cpu`, `gpu`, or the framework's own word for a device that is neither."""
        ...

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        """Return dx, None for an input that is not floating, and for each layer the gradients of kernel and bias."""
        ...


class _NumPy:
    """NumPy, which does not differentiate."""

    distributions: tuple[str, ...] = ("numpy",)

    def __init__(self) -> None:
        self.settings: Mapping[str, object] = {}
        self.kind: type[Any] = np.ndarray
        self.relu: Callable[[Any], Any] = lambda z: np.maximum(z, 0)

    def from_numpy(self, array: Array | None) -> Any:
        return array

    def to_numpy(self, array: Any) -> Array:
        return array

    def strides(self, array: Any) -> tuple[int, ...]:
        return array.strides

    def placement_of(self, array: Any) -> str:
        return str(getattr(array, "device", "cpu"))  # releases before 2.0 know no devices

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        raise Unsupported("NumPy does not differentiate")


class _Torch:
    """PyTorch, eager, with autograd; float32 products at full precision."""

    distributions: tuple[str, ...] = ("torch",)

    def __init__(self) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            torch.set_num_threads(int(threads))
        self.settings: Mapping[str, object] = {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "threads": torch.get_num_threads(),
        }
        self.kind: type[Any] = torch.Tensor
        self.relu: Callable[[Any], Any] = torch.relu

    def from_numpy(self, array: Array | None) -> Any:
        import torch

        assert array is not None, "a stack without arrays was not built"
        # torch knows no NumPy bfloat16: its bits cross as integers of the same width, which keeps the strides.
        bits = array.view(np.int16) if array.dtype == ml_dtypes.bfloat16 else array
        if not bits.flags.writeable:
            # A broadcast array is read-only, of which torch would warn.
            interface = {**bits.__array_interface__, "data": (bits.__array_interface__["data"][0], False)}
            bits = np.asarray(SimpleNamespace(__array_interface__=interface, owner=bits))
        tensor = torch.from_numpy(bits)
        return tensor.view(torch.bfloat16) if array.dtype == ml_dtypes.bfloat16 else tensor

    def to_numpy(self, array: Any) -> Array:
        import torch

        here = array.detach().cpu()
        if here.dtype == torch.bfloat16:
            return here.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return here.numpy()

    def strides(self, array: Any) -> tuple[int, ...]:
        return tuple(step * array.element_size() for step in array.stride())

    def placement_of(self, array: Any) -> str:
        return {"cuda": "gpu"}.get(array.device.type, array.device.type)

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        import torch

        floating = x.is_floating_point()
        x = x.detach().requires_grad_(floating)
        weights = [tuple(each if each is None else each.detach().requires_grad_() for each in own) for own in weights]
        wanted = [each for own in weights for each in own if each is not None] + ([x] if floating else [])
        found = iter(torch.autograd.grad(call(x, weights), wanted, grad_outputs=dy))
        layers = [tuple(each if each is None else next(found) for each in own) for own in weights]
        return next(found) if floating else None, layers


class _Jax:
    """JAX at full precision, operation by operation."""

    distributions: tuple[str, ...] = ("jax", "jaxlib")

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
        self.settings: Mapping[str, object] = {
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "x64": jax.config.jax_enable_x64,
        }
        self.kind: type[Any] = jax.Array
        self.relu: Callable[[Any], Any] = jax.nn.relu

    def from_numpy(self, array: Array | None) -> Any:
        import jax

        return jax.device_put(array, jax.devices("cpu")[0])

    def to_numpy(self, array: Any) -> Array:
        return np.asarray(array)

    def strides(self, array: Any) -> None:
        return None

    def placement_of(self, array: Any) -> str:
        return "+".join(sorted({each.platform for each in array.devices()}))

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        import jax

        _, pull = jax.vjp(call, x, weights)
        dx, found = pull(dy)
        return dx, found


class _TensorFlow:
    """TensorFlow, eager, with a gradient tape; TF32 off."""

    distributions: tuple[str, ...] = ("tensorflow",)

    def __init__(self) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            tf.config.threading.set_intra_op_parallelism_threads(int(threads))
            tf.config.threading.set_inter_op_parallelism_threads(int(threads))
        self.settings: Mapping[str, object] = {
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }
        self.kind: type[Any] = tf.Tensor
        self.relu: Callable[[Any], Any] = tf.nn.relu

    def from_numpy(self, array: Array | None) -> Any:
        import tensorflow as tf

        with tf.device("/device:CPU:0"):
            return tf.convert_to_tensor(array)

    def to_numpy(self, array: Any) -> Array:
        return np.asarray(array)

    def strides(self, array: Any) -> None:
        return None

    def placement_of(self, array: Any) -> str:
        import tensorflow as tf

        return str(tf.DeviceSpec.from_string(array.device).device_type).lower()

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        import tensorflow as tf

        with tf.GradientTape() as tape, tf.device("/device:CPU:0"):
            tape.watch([each for own in weights for each in own if each is not None])
            if x.dtype.is_floating:
                tape.watch(x)
            y = call(x, weights)
        own = [each for layer in weights for each in layer if each is not None]
        dx, *arrays = tape.gradient(y, [x, *own], output_gradients=dy)
        if any(each is None for each in arrays):
            raise ValueError("TensorFlow finds no way from the output back to a kernel or a bias")
        found = iter(arrays)
        return dx, [tuple(each if each is None else next(found) for each in layer) for layer in weights]


_FRAMEWORKS: Final[Mapping[str, Callable[[], Framework]]] = {
    "numpy": _NumPy,
    "torch": _Torch,
    "jax": _Jax,
    "tensorflow": _TensorFlow,
}
