"""
The answer of an implementation that accepts what the rule forbids.

It broadcasts, squeezes, expands or flattens the input to the shape the layer was built for, or converts units to an
integer. If the model was given weights the values are known, otherwise only shape and dtype.
"""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Stack
from conformance.reference import Reference, answer
from conformance.reference.draw import Draw
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS


def accepted_reference(how: str, stack: Stack, x: Array) -> Reference | None:
    """
    Return the reference of a stack that accepts an input.

    Args:
        how: the way of accepting, one of `conformance.ledger.behaviour.ACCEPTANCES`.
        stack: the layers.
        x: the input.

    Returns:
        The reference, None if the input cannot be accepted in this way.
    """
    if how == "int_units":
        units = [int(layer.units) for layer in stack.layers if isinstance(layer.units, int | float)]
        return _of_shape((*x.shape[:-1], units[-1])) if len(units) == len(stack.layers) else None
    effective = _effective_input(how, x, stack)
    if effective is None:
        return None
    if any(layer.kernel is None for layer in stack.layers):
        last = stack.layers[-1].units
        return _of_shape((*effective.shape[:-1], last)) if isinstance(last, int) else None
    kernels = tuple(layer.kernel for layer in stack.layers if layer.kernel is not None)
    draw = Draw(
        name=how,
        x=effective.astype(FORMATS[stack.dtype].dtype),
        kernels=kernels,
        biases=tuple(layer.bias for layer in stack.layers),
        dy=np.zeros((*effective.shape[:-1], kernels[-1].shape[1])),
        exact=False,
    )
    return answer(draw, [layer.activation for layer in stack.layers], stack.dtype)


def _effective_input(how: str, x: Array, stack: Stack) -> Array | None:
    """Return the input with which the layer computes, None if it cannot be converted in this way."""
    features = stack.input_shape[-1] if stack.input_shape else None
    if features is None or not x.ndim:
        return None
    if how == "broadcast" and (x.shape[-1] == 1 or features == 1):
        # The axis of length 1 may be that of the kernel: its one row is multiplied with each feature.
        return np.broadcast_to(x, (*x.shape[:-1], features)) if x.shape[-1] == 1 else x.sum(axis=-1, keepdims=True)
    if how in ("squeeze", "expand"):
        other = x[..., None] if how == "expand" else x[..., 0] if x.shape[-1] == 1 else x
        built = other.ndim == stack.leading_axes + len(stack.input_shape) and other.shape[-1] == features
        return other if built and other is not x else None
    if how == "flatten" and features and x.size % features == 0:
        return x.reshape(-1, features)
    return None


def _of_shape(shape: tuple[int, ...]) -> Reference:
    """Return a reference that accepts any output of a shape."""
    anything = Enclosure(exact=np.zeros(shape), allowed=np.full(shape, np.inf))
    nothing = Enclosure(exact=np.zeros(0), allowed=np.zeros(0))
    return Reference(y=anything, dx=nothing, layers=(), line="proven")
