"""
What the adapters of Keras share: its backends, with their flags and their differentiation, arrays, and activations.

Of the backends only what Keras has no word for is here. The module must not import Keras or a backend before it is
asked for, know a layer, or compute a shape.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Array, Unsupported

if TYPE_CHECKING:
    import keras


def from_numpy(array: Array, device: str = "cpu") -> Any:
    """Return the backend's tensor on `device`; on torch it has the strides of `array`."""
    import keras

    with keras.device(device):
        # Given an array, Keras would copy it for torch, and with that lose its layout.
        given = array if keras.config.backend() != "torch" else torch_tensor(array, device.replace("gpu", "cuda"))
        return keras.ops.convert_to_tensor(given)


def to_numpy(tensor: Any) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def placement_of(tensor: Any) -> str:
    """Return `cpu`, `gpu`, or the backend's own word for a device that is neither."""
    return backend().placement_of(tensor)


def torch_tensor(array: Array, device: str) -> Any:
    """Return a torch tensor of the strides of `array`, on the CPU over the same memory."""
    import torch

    # torch knows no NumPy bfloat16: its bits cross as integers of the same width, which keeps the strides.
    bits = array.view(np.int16) if array.dtype == ml_dtypes.bfloat16 else array
    if not bits.flags.writeable:
        # A broadcast array is read-only, of which torch would warn. The memory is never written to here.
        interface = {**bits.__array_interface__, "data": (bits.__array_interface__["data"][0], False)}
        bits = np.asarray(SimpleNamespace(__array_interface__=interface, owner=bits))
    tensor = torch.from_numpy(bits)
    if device != "cpu":
        # A plain copy to a device closes gaps and undoes broadcasting: move the memory, then lay the same view over it.
        extent = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        memory = tensor.as_strided((extent if tensor.numel() else 0,), (1,)).to(device)
        tensor = memory.as_strided(tensor.shape, tensor.stride())
    return tensor.view(torch.bfloat16) if array.dtype == ml_dtypes.bfloat16 else tensor


@dataclass(frozen=True)
class Call:
    """
    A model's call, and the variables it reads.

    Two of equal `content`, which is all that a stack says but the values of its weights, are the same function of
    values and input: they are equal, and may share a compilation.
    """

    content: tuple[object, ...]
    function: Callable[[Any], Any] = field(compare=False)
    variables: Sequence[keras.Variable] = field(compare=False)


@cache
def activations() -> Mapping[str, str | Callable[[Any], Any]]:
    """Return what a layer is told, by name: Keras's own word, or its function where there is a parameter to pin."""
    from keras import activations as known

    words = ("linear", "relu", "sigmoid", "softmax", "tanh", "selu", "softplus", "softsign", "silu", "hard_sigmoid")
    return {
        **{each: each for each in words},
        "leaky_relu": partial(known.leaky_relu, negative_slope=0.01),
        "elu": partial(known.elu, alpha=1.0),
        "gelu": partial(known.gelu, approximate=False),
        "gelu_tanh": partial(known.gelu, approximate=True),
        "log_softmax": partial(known.log_softmax, axis=-1),
        "exponential": known.exponential,
    }


@cache
def backend() -> _Backend:
    """
    Return the library that Keras computes with, set to full float32 precision when first asked for.

    Each has `differentiate`, which returns y, dx (None where x is not floating) and the gradient of each variable, or
    raises Unsupported.
    """
    import keras

    return _BACKENDS[keras.config.backend()]()


class _TensorFlow:
    """TensorFlow, eager, with a gradient tape."""

    distributions = ("tensorflow",)

    def __init__(self) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        for each in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(each, True)
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            tf.config.threading.set_intra_op_parallelism_threads(int(threads))
            tf.config.threading.set_inter_op_parallelism_threads(int(threads))

    def settings(self) -> Mapping[str, object]:
        import tensorflow as tf
        from tensorflow.python.util import _pywrap_util_port

        return {
            "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
            "onednn": _pywrap_util_port.IsMklEnabled(),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        }

    def sees_gpu(self) -> bool:
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))

    def placement_of(self, tensor: Any) -> str:
        import tensorflow as tf

        return str(tf.DeviceSpec.from_string(tensor.device).device_type).lower()

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            if x.dtype.is_floating:
                tape.watch(x)
            y = call.function(x)
        dx, *found = tape.gradient(y, [x, *(each.value for each in call.variables)], output_gradients=dy)
        return y, dx, found


class _Jax:
    """JAX as installed, x64 off: eager calls, and gradients by one jitted vector-Jacobian product."""

    distributions = ("jax", "jaxlib")

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def settings(self) -> Mapping[str, object]:
        import jax

        return {
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "x64": jax.config.jax_enable_x64,
            "default_backend": jax.default_backend(),
            "disable_jit": jax.config.jax_disable_jit,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        }

    def sees_gpu(self) -> bool:
        import jax

        return jax.default_backend() == "gpu"

    def placement_of(self, tensor: Any) -> str:
        return "+".join(sorted({each.platform for each in tensor.devices()}))

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        y, dx, found = _pull_back(call)([each.value for each in call.variables], x, dy)
        return y, None if x.dtype.kind in "biu" else dx, found


def jitted(call: Call, x: Any) -> Any:
    """Return, on jax, the output of a call compiled as a whole, the values of its variables among its arguments."""
    return _stateless_call(call)([each.value for each in call.variables], x)


@lru_cache(maxsize=64)
def _stateless_call(call: Call) -> Callable[..., Any]:
    """Return (values, x) -> y, compiled once for all models of equal content."""
    import jax

    return jax.jit(_stateless(call))


def _stateless(call: Call) -> Callable[..., Any]:
    """Return (values, x) -> y, the variables taken to have those values."""
    import keras

    def stateless(values: Sequence[Any], x: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(call.variables, values, strict=True))):
            return call.function(x)

    return stateless


@lru_cache(maxsize=64)
def _pull_back(call: Call) -> Callable[..., Any]:
    """
    Return (values, x, dy) -> (y, dx, gradients), compiled once for all models of equal content.

    The values of the variables are arguments, so that none can be baked into what was compiled.
    """
    import jax

    stateless = _stateless(call)

    def pull_back(values: Sequence[Any], x: Any, dy: Any) -> Any:
        y, pull = jax.vjp(stateless, values, x)
        found, dx = pull(dy)
        return y, dx, found

    return jax.jit(pull_back)


class _Torch:
    """PyTorch, eager, with autograd."""

    distributions = ("torch",)

    def __init__(self) -> None:
        import torch

        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        if threads := os.environ.get("CONFORMANCE_THREADS"):
            torch.set_num_threads(int(threads))

    def settings(self) -> Mapping[str, object]:
        import torch

        return {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda.matmul.allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
            "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        }

    def sees_gpu(self) -> bool:
        import torch

        return torch.cuda.is_available()

    def placement_of(self, tensor: Any) -> str:
        return {"cuda": "gpu"}.get(tensor.device.type, tensor.device.type)

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        import torch

        wanted = [each.value for each in call.variables]
        if x.is_floating_point():
            wanted.append(x.requires_grad_())
        y = call.function(x)
        found = torch.autograd.grad(y, wanted, grad_outputs=dy)
        count = len(call.variables)
        return y, found[count] if len(found) > count else None, found[:count]


class _OpenVino:
    """OpenVINO, which infers alone: an eager call makes a graph, computed in float32 when its array is asked for."""

    distributions = ("openvino",)

    def settings(self) -> Mapping[str, object]:
        import openvino

        device = openvino.Core()
        # Keras asks for f32 whatever the device would take by itself, but not in `predict`.
        hints = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "EXECUTION_MODE_HINT")
        return {f"CPU.{each}": str(device.get_property("CPU", each)) for each in hints}

    def sees_gpu(self) -> bool:
        return False  # Keras computes on its CPU device alone

    def placement_of(self, tensor: Any) -> str:
        from keras.src.backend.openvino.core import get_device

        return get_device().lower()  # what a graph is compiled for; its nodes are on no device

    def differentiate(self, call: Call, x: Any, dy: Any) -> tuple[Any, Any, Sequence[Any]]:
        raise Unsupported("OpenVINO does not differentiate")


_Backend = _TensorFlow | _Jax | _Torch | _OpenVino
_BACKENDS: Final[Mapping[str, type[_Backend]]] = {
    "tensorflow": _TensorFlow,
    "jax": _Jax,
    "torch": _Torch,
    "openvino": _OpenVino,
}
