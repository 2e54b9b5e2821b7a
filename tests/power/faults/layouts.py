"""Faults of memory layouts: how a layer reads the memory of x, dy and weights."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Stack
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


def in_memory_order(array: Array) -> Array:
    """Return an array of the same shape whose elements are read in the order of memory, gaps included."""
    if not array.size:
        return array
    # No more than there is: an array with a stride of 0 has less memory than elements, the rest reads as 0.
    extent = 1 + sum((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)) // array.itemsize
    flat = np.zeros(array.size, array.dtype)
    memory = np.lib.stride_tricks.as_strided(array, shape=(extent,), strides=(array.itemsize,))[: array.size]
    flat[: memory.size] = memory
    return flat.reshape(array.shape)


@planted("layout")
class IgnoresStrides(Planted):
    """The input's memory is read as if it were contiguous."""

    def entered(self, x: Array) -> Array:
        return in_memory_order(x)


@planted("layout")
class ReadsInMemoryOrder(Planted):
    """Permuted axes are read in the order of memory."""

    def entered(self, x: Array) -> Array:
        return x.ravel(order="K").reshape(x.shape)


@planted("layout")
class WrongWhereStrided(Planted):
    """An input whose last axis is not dense is read one element off."""

    def entered(self, x: Array) -> Array:
        return np.roll(x, 1, axis=-1) if x.ndim and x.size and x.strides[-1] != x.itemsize else x


@planted("layout")
class PairsAtOneAddress(Planted):
    """Two vectors at one address are read as one, and the second as zero."""

    def entered(self, x: Array) -> Array:
        if x.ndim != 2 or len(x) != 2 or x.strides[0] or not x.size:
            return x
        x = x.copy()
        x[1] = 0
        return x


@planted("layout")
class ManyAxesOfStrideZero(Planted):
    """From rank 5 on, a first axis of stride 0 is stepped along by one element."""

    def entered(self, x: Array) -> Array:
        if x.ndim < 5 or x.strides[0] or len(x) < 2 or not x.size:
            return x
        return np.stack([np.roll(each.reshape(-1), -index).reshape(each.shape) for index, each in enumerate(x)])


@planted("layout")
class RefusesStrides(Planted):
    """An input that is not contiguous is refused."""

    def entered(self, x: Array) -> Array:
        if not x.flags.c_contiguous:
            raise ValueError("the input is not contiguous")
        return x


@planted("layout")
class ReadsColumnMajorAsRowMajor(Planted):
    """An input of two axes whose first varies fastest is read as if its last did."""

    def entered(self, x: Array) -> Array:
        fortran = x.ndim == 2 and x.flags.f_contiguous and not x.flags.c_contiguous
        return x.ravel(order="K").reshape(x.shape) if fortran else x


@planted("layout")
class IgnoresGapsBetweenRows(Planted):
    """Rows whose last axis is dense are read as if they followed each other."""

    def entered(self, x: Array) -> Array:
        gaps = x.ndim > 1 and x.size and x.strides[-1] == x.itemsize and x.strides[-2] > x.shape[-1] * x.itemsize
        return in_memory_order(x) if gaps and x.strides[-2] > 0 else x


@planted("layout")
class ReadsFromTheBoundaryBefore(Planted):
    """An input that starts off a boundary of 32 bytes is read from one element further on, its last element as 0."""

    def entered(self, x: Array) -> Array:
        if not x.size or x.ctypes.data % 32 == 0 or not x.flags.c_contiguous:
            return x
        flat = x.reshape(-1)
        return np.append(flat[1:], x.dtype.type(0)).reshape(x.shape)


@planted("layout")
class RefusesExpandedGradients(Planted):
    """An upstream gradient whose last axis has stride 0 is refused, as kernels do that a sum calls."""

    def upstream(self, dy: Array) -> Array:
        if dy.size > 1 and dy.strides[-1] == 0:
            raise RuntimeError("the last axis of the gradient must be dense")
        return dy


@planted("layout")
class ReadsGradientsInMemoryOrder(Planted):
    """An upstream gradient is read in the order of memory, whatever its strides."""

    def upstream(self, dy: Array) -> Array:
        return in_memory_order(dy)


@planted("layout")
class SkipsAlongStridedGradients(Planted):
    """An upstream gradient whose last axis is not dense is read one element off in the gradient of the bias."""

    def __init__(self) -> None:
        super().__init__()
        self.is_strided = False

    def upstream(self, dy: Array) -> Array:
        self.is_strided = bool(dy.size) and dy.strides[-1] > dy.itemsize
        return dy

    def bias_gradient(self, dz: Array) -> Array:
        found = super().bias_gradient(dz)
        return np.roll(found, 1) if self.is_strided else found


@planted("layout")
class ReadsKernelsInMemoryOrder(Planted):
    """A kernel is read in the order of memory, whatever its strides."""

    def kernel(self, kernel: Array) -> Array:
        return in_memory_order(kernel)


@planted("layout")
class TransposesColumnMajorKernels(Planted):
    """A square kernel whose first axis varies fastest is taken transposed by the gradient of the input."""

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        transposed = kernel.shape[0] == kernel.shape[1] and not kernel.flags.c_contiguous and kernel.flags.f_contiguous
        return times(dz, kernel if transposed else kernel.T)


@planted("layout")
class ReadsBiasesInMemoryOrder(Planted):
    """A bias is read in the order of memory, whatever its stride."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + in_memory_order(bias)


@planted("state")
class ForgetsThatTheFirstWeightsReturned(Planted):
    """Weights that were the first ones before are taken for known: those that replaced them stay."""

    def __init__(self) -> None:
        super().__init__()
        self.first: bytes | None = None

    def replaced(self, old: Stack, new: Stack) -> Stack:
        kernel = old.layers[0].kernel
        self.first = self.first or (None if kernel is None else kernel.tobytes())
        again = new.layers[0].kernel
        return old if again is not None and again.tobytes() == self.first else new
