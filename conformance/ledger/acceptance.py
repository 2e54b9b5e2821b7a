"""
What an implementation that accepts what the rule refuses should answer.

The input is broadcast, squeezed, expanded or flattened to what the layer was built for; units that are no count are
made one. Values are known where the model was given weights; else shape and dtype alone.
"""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Stack
from conformance.reference import Reference, answer
from conformance.reference.draw import Draw
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS


def accepted(how: str, stack: Stack, x: Array) -> Reference | None:
    """Return what a stack should answer to an input it accepts in this way, None where it is no such input."""
    if how == "int_units":
        units = [int(layer.units) for layer in stack.layers if isinstance(layer.units, int | float)]
        return _of_shape((*x.shape[:-1], units[-1])) if len(units) == len(stack.layers) else None
    taken = _taken(how, x, stack)
    if taken is None:
        return None
    if any(layer.kernel is None for layer in stack.layers):
        last = stack.layers[-1].units
        return _of_shape((*taken.shape[:-1], last)) if isinstance(last, int) else None
    kernels = tuple(layer.kernel for layer in stack.layers if layer.kernel is not None)
    draw = Draw(
        name=how,
        x=taken.astype(FORMATS[stack.dtype].dtype),
        kernels=kernels,
        biases=tuple(layer.bias for layer in stack.layers),
        dy=np.zeros((*taken.shape[:-1], kernels[-1].shape[1])),
        exact=False,
    )
    return answer(draw, [layer.activation for layer in stack.layers], stack.dtype)


def _taken(how: str, x: Array, stack: Stack) -> Array | None:
    """Return the input that the layer takes it for."""
    features = stack.input_shape[-1] if stack.input_shape else None
    if features is None or not x.ndim:
        return None
    if how == "broadcast" and (x.shape[-1] == 1 or features == 1):
        # Either operand may have the axis of length 1: a kernel of one row serves each feature.
        return np.broadcast_to(x, (*x.shape[:-1], features)) if x.shape[-1] == 1 else x.sum(axis=-1, keepdims=True)
    if how in ("squeeze", "expand"):
        other = x[..., None] if how == "expand" else x[..., 0] if x.shape[-1] == 1 else x
        built = other.ndim == stack.leading_axes + len(stack.input_shape) and other.shape[-1] == features
        return other if built and other is not x else None
    if how == "flatten" and features and x.size % features == 0:
        return x.reshape(-1, features)
    return None


def _of_shape(shape: tuple[int, ...]) -> Reference:
    """Return a reference whose output has a shape and any values."""
    anything = Enclosure(exact=np.zeros(shape), allowed=np.full(shape, np.inf))
    nothing = Enclosure(exact=np.zeros(0), allowed=np.zeros(0))
    return Reference(y=anything, dx=nothing, layers=(), line="proven")
