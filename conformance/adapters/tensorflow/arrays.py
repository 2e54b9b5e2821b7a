"""
What the adapters on TensorFlow share: arrays, devices, flags, activations, differentiation.

Nothing here knows of a layer, or computes a shape. The module must not import tensorflow before an adapter is made.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.protocol import Array

if TYPE_CHECKING:
    import tensorflow as tf


def set_flags() -> None:
    """Turn TF32 off, let GPU memory grow, and set as many threads as the suite grants."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    for each in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(each, True)
    if threads := os.environ.get("CONFORMANCE_THREADS"):
        tf.config.threading.set_intra_op_parallelism_threads(int(threads))
        tf.config.threading.set_inter_op_parallelism_threads(int(threads))


def versions(*distributions: str) -> Mapping[str, str]:
    """Return the versions of the distributions, of tensorflow, and of what carries arrays to it."""
    return {each: importlib.metadata.version(each) for each in (*distributions, "tensorflow", "numpy", "ml_dtypes")}


def settings() -> Mapping[str, object]:
    """Return the flags that bear on values, read back from tensorflow."""
    import tensorflow as tf
    from tensorflow.python.util import _pywrap_util_port

    return {
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "onednn": _pywrap_util_port.IsMklEnabled(),
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def devices() -> Sequence[str]:
    """Return `cpu`, and `gpu` where tensorflow sees one."""
    import tensorflow as tf

    return ("cpu", "gpu") if tf.config.list_physical_devices("GPU") else ("cpu",)


def device_name(device: str) -> str:
    """Return TensorFlow's name for the first device of a kind, `cpu` or `gpu`."""
    return f"/device:{device.upper()}:0"


def from_numpy(array: Array | None) -> tf.Tensor:
    """Return a tensor of the shape and dtype of `array` on the device in force; TensorFlow copies it in."""
    import tensorflow as tf

    return tf.convert_to_tensor(array)


def to_numpy(tensor: tf.Tensor) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    return np.asarray(tensor)


def placement_of(tensor: tf.Tensor | None) -> str:
    """
    Return `cpu`, `gpu`, or TensorFlow's own word for a device that is neither.

    Raises:
        RuntimeError: there is no tensor, since nothing has been computed.
    """
    if tensor is None:
        raise RuntimeError("nothing has been computed yet")
    return kind_of(tensor.device)


def kind_of(device: str) -> str:
    """Return `cpu`, `gpu`, or TensorFlow's own word, from a device's full name."""
    import tensorflow as tf

    return str(tf.DeviceSpec.from_string(device).device_type).lower()


def differentiate(
    call: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, operands: Sequence[Any], dy: tf.Tensor
) -> tuple[tf.Tensor, Any, Sequence[Any]]:
    """
    Return the output y of `call(x)`, dx, and the gradient of each operand, by a gradient tape over sum(dy * y).

    `operands` are variables or tensors. dx is None for an input that is not floating, and the gradient of an operand is
    None where the call does not use it.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        # A tape watches variables by itself.
        tape.watch([each for each in operands if tf.is_tensor(each) and not isinstance(each, tf.Variable)])
        if x.dtype.is_floating:
            tape.watch(x)
        y = call(x)
    dx, *found = tape.gradient(y, [x, *operands], output_gradients=dy)
    return y, dx, found


@cache
def activations() -> Mapping[str, Callable[[tf.Tensor], tf.Tensor]]:
    """Return TensorFlow's function for each activation, by its name."""
    import tensorflow as tf

    return {
        "linear": lambda z: z,
        "relu": tf.nn.relu,
        "sigmoid": tf.nn.sigmoid,
        "softmax": partial(tf.nn.softmax, axis=-1),
        "tanh": tf.nn.tanh,
        "leaky_relu": partial(tf.nn.leaky_relu, alpha=0.01),
        "elu": tf.nn.elu,
        "selu": tf.nn.selu,
        "softplus": tf.nn.softplus,
        "softsign": tf.nn.softsign,
        "silu": partial(tf.nn.silu, beta=1.0),
        "gelu": partial(tf.nn.gelu, approximate=False),
        "gelu_tanh": partial(tf.nn.gelu, approximate=True),
        # TensorFlow has no function of this name, and legacy Keras another, of slope 0.2.
        "hard_sigmoid": lambda z: tf.nn.relu6(z + 3.0) / 6.0,
        "log_softmax": partial(tf.nn.log_softmax, axis=-1),
        "exponential": tf.exp,
    }
