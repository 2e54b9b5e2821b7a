"""
The frameworks whose arrays a function may be written for: NumPy, PyTorch, JAX and TensorFlow.

Each carries arrays to and from the framework and differentiates a call. The module must not import a framework before
an adapter is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from conformance.adapters.jax import arrays as jax_arrays
from conformance.adapters.protocol import Array, Unsupported
from conformance.adapters.tensorflow import arrays as tensorflow_arrays
from conformance.adapters.torch import arrays as torch_arrays

#: For each layer its kernel and its bias or None, as arrays of a framework.
Weights = Sequence[Sequence[Any]]
Call = Callable[[Any, Weights], Any]


class Framework(Protocol):
    """A framework for whose arrays a function is written."""

    #: Its distributions, besides NumPy and ml_dtypes.
    distributions: tuple[str, ...]
    #: The flags that bear on values, as they were set.
    settings: Mapping[str, object]
    #: The type of an array.
    kind: type[Any]
    #: The framework's own function.
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

        torch_arrays.set_flags()
        self.settings: Mapping[str, object] = torch_arrays.settings()
        self.kind: type[Any] = torch.Tensor
        self.relu: Callable[[Any], Any] = torch.relu

    def from_numpy(self, array: Array | None) -> Any:
        assert array is not None, "a stack without arrays was not built"
        return torch_arrays.from_numpy(array)

    def to_numpy(self, array: Any) -> Array:
        return torch_arrays.to_numpy(array)

    def strides(self, array: Any) -> tuple[int, ...]:
        return torch_arrays.strides_of(array)

    def placement_of(self, array: Any) -> str:
        return torch_arrays.placement_of(array)

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        own = [tuple(each if each is None else each.detach().requires_grad_() for each in layer) for layer in weights]
        _, dx, found = torch_arrays.differentiate(lambda z: call(z, own), x.detach(), _present(own), dy)
        return dx, _by_layer(own, found)


class _Jax:
    """JAX at full precision, operation by operation."""

    distributions: tuple[str, ...] = ("jax", "jaxlib")

    def __init__(self) -> None:
        import jax

        jax_arrays.set_flags()
        self.settings: Mapping[str, object] = jax_arrays.settings()
        self.kind: type[Any] = jax.Array
        self.relu: Callable[[Any], Any] = jax.nn.relu

    def from_numpy(self, array: Array | None) -> Any:
        return jax_arrays.from_numpy(array, jax_arrays.first_device("cpu"))

    def to_numpy(self, array: Any) -> Array:
        return jax_arrays.to_numpy(array)

    def strides(self, array: Any) -> None:
        return None

    def placement_of(self, array: Any) -> str:
        return jax_arrays.placement_of(array)

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

        tensorflow_arrays.set_flags()
        self.settings: Mapping[str, object] = tensorflow_arrays.settings()
        self.kind: type[Any] = tf.Tensor
        self.relu: Callable[[Any], Any] = tf.nn.relu

    def from_numpy(self, array: Array | None) -> Any:
        import tensorflow as tf

        with tf.device(tensorflow_arrays.device_name("cpu")):
            return tensorflow_arrays.from_numpy(array)

    def to_numpy(self, array: Any) -> Array:
        return tensorflow_arrays.to_numpy(array)

    def strides(self, array: Any) -> None:
        return None

    def placement_of(self, array: Any) -> str:
        return tensorflow_arrays.placement_of(array)

    def differentiate(self, call: Call, x: Any, weights: Weights, dy: Any) -> tuple[Any, Weights]:
        import tensorflow as tf

        with tf.device(tensorflow_arrays.device_name("cpu")):
            own = _present(weights)
            _, dx, found = tensorflow_arrays.differentiate(lambda z: call(z, weights), x, own, dy)
        if any(each is None for each in found):
            raise ValueError("TensorFlow finds no way from the output back to a kernel or a bias")
        return dx, _by_layer(weights, found)


def _present(weights: Weights) -> Sequence[Any]:
    """Return the kernel of each layer, and its bias where it has one."""
    return [each for layer in weights for each in layer if each is not None]


def _by_layer(weights: Weights, found: Sequence[Any]) -> Weights:
    """Return `found`, one for each array of `weights`, in the places of those arrays."""
    remaining = iter(found)
    return [tuple(each if each is None else next(remaining) for each in layer) for layer in weights]


FRAMEWORKS: Final[Mapping[str, Callable[[], Framework]]] = {
    "numpy": _NumPy,
    "torch": _Torch,
    "jax": _Jax,
    "tensorflow": _TensorFlow,
}
