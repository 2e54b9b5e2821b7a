"""Faults that change arrays of their caller: what they received, and what they returned before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Stack
from tests.power.faults.base import Planted, planted


class _Buffers(Planted):
    """Results are views of one buffer for each shape and dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: dict[tuple[tuple[int, ...], str], Array] = {}

    def view(self, array: Array) -> Array:
        """Return the buffer of the array's shape and dtype, filled with its numbers."""
        buffer = self.buffers.setdefault((array.shape, array.dtype.name), np.zeros_like(array))
        buffer[...] = array
        return buffer


@planted("state")
class ReusesOutputBuffer(_Buffers):
    """Every output is a view of a buffer that the next call overwrites."""

    def output(self, y: Array) -> Array:
        return self.view(y)


@planted("state")
class ReusesGradientBuffers(_Buffers):
    """The gradients of kernels are views of buffers that the next call overwrites."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        layers = tuple((self.view(kernel), bias) for kernel, bias in gradients.layers)
        return Gradients(dx=gradients.dx, layers=layers)


def _overwrite(array: Array) -> None:
    """Overwrite an array whose rows are not dense. No other step reads that array."""
    if not array.flags.c_contiguous and array.flags.writeable:
        array[...] = array.dtype.type(0)


@planted("state")
class WritesSparseInput(Planted):
    """An input of every second element is overwritten once it has been read."""

    def entered(self, x: Array) -> Array:
        copy = x.copy()
        if x.ndim and x.strides[-1] == 2 * x.itemsize:
            _overwrite(x)
        return copy


@planted("state")
class WritesSparseUpstream(Planted):
    """An upstream gradient that is not contiguous is overwritten once it has been read."""

    def upstream(self, dy: Array) -> Array:
        copy = dy.copy()
        _overwrite(dy)
        return copy


@planted("state")
class WritesSparseWeights(Planted):
    """Kernels that are not contiguous are overwritten once they have been copied."""

    def replaced(self, old: Stack, new: Stack) -> Stack:
        layers = []
        for layer in new.layers:
            assert layer.kernel is not None
            layers.append(replace(layer, kernel=layer.kernel.copy()))
            _overwrite(layer.kernel)
        return replace(new, layers=tuple(layers))
