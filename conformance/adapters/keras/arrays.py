"""
What the adapters on Keras 3 share: arrays and activations.

The module must not import Keras or a backend before an adapter is made, know a layer, or compute a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from conformance.adapters.jax.arrays import from_numpy as jax_array
from conformance.adapters.protocol import Array
from conformance.adapters.torch.arrays import from_numpy as torch_tensor


def from_numpy(array: Array, device: str = "cpu") -> Any:
    """Return the backend's tensor on `device`; on torch it has the strides of `array`."""
    import keras

    with keras.device(device):
        given: Any = array
        match keras.config.backend():
            case "torch":
                # Given an array, Keras would copy it, and with that lose its layout.
                given = torch_tensor(array, device.replace("gpu", "cuda"))
            case "jax":
                # Given an array, Keras would compile a program for its shape.
                given = jax_array(array)
        return keras.ops.convert_to_tensor(given)


def initializers() -> Mapping[str, str | Callable[..., Any]]:
    """Return a layer's arguments for initial values of zero, which given weights replace."""
    import keras

    if keras.config.backend() != "jax":
        return {"kernel_initializer": "zeros"}

    def zeros(shape: tuple[int, ...], dtype: str | None = None) -> Any:
        # JAX would compile its own zeros, and random values, for each shape.
        return jax_array(np.zeros(shape, dtype))

    return {"kernel_initializer": zeros, "bias_initializer": zeros}


def to_numpy(tensor: Any) -> Array:
    """Return an array of the tensor's shape and dtype, bfloat16 as that of `ml_dtypes`."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


@cache
def activations() -> Mapping[str, str | Callable[[Any], Any]]:
    """Return the argument of a layer for each activation: Keras's name, or its function with its parameters set."""
    from keras import activations as known

    names = ("linear", "relu", "sigmoid", "softmax", "tanh", "selu", "softplus", "softsign", "silu", "hard_sigmoid")
    return {
        **{each: each for each in names},
        "leaky_relu": partial(known.leaky_relu, negative_slope=0.01),
        "elu": partial(known.elu, alpha=1.0),
        "gelu": partial(known.gelu, approximate=False),
        "gelu_tanh": partial(known.gelu, approximate=True),
        "log_softmax": partial(known.log_softmax, axis=-1),
        "exponential": known.exponential,
    }
