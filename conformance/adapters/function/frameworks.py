"""
The frameworks whose arrays a function may be written for: NumPy, PyTorch, JAX and TensorFlow.

Each carries arrays to and from the framework and differentiates a call. The module must not import a framework before
it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, Protocol

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Unsupported

Weights = Sequence[Sequence[Any]]
"""For each layer its kernel and its bias or None, as arrays of a framework."""
Call = Callable[[Any, Weights], Any]


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


FRAMEWORKS: Final[Mapping[str, Callable[[], Framework]]] = {
    "numpy": _NumPy,
    "torch": _Torch,
    "jax": _Jax,
    "tensorflow": _TensorFlow,
}
