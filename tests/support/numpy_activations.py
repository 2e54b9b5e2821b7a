"""
Activations as an honest implementation computes them, with the formulas in real use.

`FORWARD` and `BACKWARD` compute 16-bit numbers in float32 and round once. `STEP_BY_STEP` and `STEP_BY_STEP_BACKWARD`
round each operation to the dtype they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from conformance.reference.activations.piecewise import SELU_ALPHA, SELU_SCALE
from conformance.reference.activations.smooth import GELU_CUBIC, GELU_INNER

Array = Any
_erf = np.vectorize(math.erf, otypes=[np.float64])


def in_dtype_of_z(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return the function with its result in the dtype of z."""
    return lambda z, *rest: np.asarray(function(z, *rest)).astype(z.dtype)


def in_float32(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return the function of 16-bit numbers as float32 computes it, rounded once."""

    def computed(*given: Array) -> Array:
        if given[0].dtype.itemsize > 2:
            return function(*given)
        return np.asarray(function(*(each.astype(np.float32) for each in given))).astype(given[0].dtype)

    return computed


def of(z: Array, constant: float) -> Array:
    """Return the constant, rounded to the dtype of z."""
    return z.dtype.type(constant)


def sigmoid(z: Array) -> Array:
    # By the exponential of what is not positive, which is infinite in no format.
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, of(z, 1)) / (of(z, 1) + e)


def erf(z: Array) -> Array:
    return _erf(z).astype(z.dtype)


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True, dtype=z.dtype)


def log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True, dtype=z.dtype))


def exponential_linear(z: Array, scale: float, alpha: float) -> Array:
    # exp(z) - 1: the form that cancels.
    below = of(z, alpha) * (np.exp(np.minimum(z, of(z, 0))) - of(z, 1))
    return of(z, scale) * np.where(z > 0, z, below)


def exponential_linear_slope(z: Array, y: Array, scale: float, alpha: float) -> Array:
    return np.where(z > 0, of(z, scale), y + of(z, scale) * of(z, alpha))


def normal_cdf(z: Array) -> Array:
    return of(z, 0.5) * (of(z, 1) + erf(z * of(z, math.sqrt(0.5))))


def gelu_slope(z: Array) -> Array:
    density = np.exp(-z * z * of(z, 0.5)) * of(z, 1 / math.sqrt(2 * math.pi))
    return normal_cdf(z) + z * density


def inner(z: Array) -> Array:
    return of(z, GELU_INNER) * (z + of(z, GELU_CUBIC) * z * z * z)


def gelu_tanh_slope(z: Array) -> Array:
    tanh, one, half = np.tanh(inner(z)), of(z, 1), of(z, 0.5)
    inside = of(z, GELU_INNER) * (one + of(z, 3) * of(z, GELU_CUBIC) * z * z)
    return half * (one + tanh) + half * z * (one - tanh * tanh) * inside


def silu_slope(z: Array) -> Array:
    s = sigmoid(z)
    return s * (of(z, 1) + z * (of(z, 1) - s))


STEP_BY_STEP: Final[dict[str, Callable[[Array], Array]]] = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, of(z, 0)),
    "tanh": np.tanh,
    "sigmoid": in_dtype_of_z(sigmoid),
    "softmax": in_dtype_of_z(lambda z: softmax(z) if z.size else z),
    "leaky_relu": in_dtype_of_z(lambda z: np.where(z > 0, z, of(z, 0.01) * z)),
    "elu": in_dtype_of_z(lambda z: exponential_linear(z, 1, 1)),
    "selu": in_dtype_of_z(lambda z: exponential_linear(z, SELU_SCALE, SELU_ALPHA)),
    "softplus": in_dtype_of_z(lambda z: np.maximum(z, of(z, 0)) + np.log1p(np.exp(-np.abs(z)))),
    "softsign": in_dtype_of_z(lambda z: z / (of(z, 1) + np.abs(z))),
    "silu": in_dtype_of_z(lambda z: z * sigmoid(z)),
    "gelu": in_dtype_of_z(lambda z: z * normal_cdf(z)),
    "gelu_tanh": in_dtype_of_z(lambda z: of(z, 0.5) * z * (of(z, 1) + np.tanh(inner(z)))),
    "hard_sigmoid": in_dtype_of_z(lambda z: np.minimum(np.maximum(z + of(z, 3), of(z, 0)), of(z, 6)) / of(z, 6)),
    "log_softmax": in_dtype_of_z(lambda z: log_softmax(z) if z.size else z),
    "exponential": np.exp,
}
STEP_BY_STEP_BACKWARD: Final[dict[str, Callable[[Array, Array, Array], Array]]] = {
    "linear": lambda z, y, dy: dy,
    "relu": lambda z, y, dy: dy * (z > 0),
    "tanh": in_dtype_of_z(lambda z, y, dy: dy * (of(z, 1) - y * y)),
    "sigmoid": in_dtype_of_z(lambda z, y, dy: dy * y * (of(z, 1) - y)),
    "softmax": in_dtype_of_z(lambda z, y, dy: y * (dy - (y * dy).sum(axis=-1, keepdims=True, dtype=z.dtype))),
    "leaky_relu": in_dtype_of_z(lambda z, y, dy: dy * np.where(z > 0, of(z, 1), of(z, 0.01))),
    "elu": in_dtype_of_z(lambda z, y, dy: dy * exponential_linear_slope(z, y, 1, 1)),
    "selu": in_dtype_of_z(lambda z, y, dy: dy * exponential_linear_slope(z, y, SELU_SCALE, SELU_ALPHA)),
    # exp(z - y): from the rounded y.
    "softplus": in_dtype_of_z(lambda z, y, dy: dy * np.exp(z - y)),
    "softsign": in_dtype_of_z(lambda z, y, dy: dy / (of(z, 1) + np.abs(z)) / (of(z, 1) + np.abs(z))),
    "silu": in_dtype_of_z(lambda z, y, dy: dy * silu_slope(z)),
    "gelu": in_dtype_of_z(lambda z, y, dy: dy * gelu_slope(z)),
    "gelu_tanh": in_dtype_of_z(lambda z, y, dy: dy * gelu_tanh_slope(z)),
    "hard_sigmoid": in_dtype_of_z(lambda z, y, dy: dy * np.where(np.abs(z) < 3, of(z, 1) / of(z, 6), of(z, 0))),
    "log_softmax": in_dtype_of_z(lambda z, y, dy: dy - np.exp(y) * dy.sum(axis=-1, keepdims=True, dtype=z.dtype)),
    "exponential": in_dtype_of_z(lambda z, y, dy: dy * y),
}
FORWARD: Final = {name: in_float32(each) for name, each in STEP_BY_STEP.items()}
BACKWARD: Final = {name: in_float32(each) for name, each in STEP_BY_STEP_BACKWARD.items()}
