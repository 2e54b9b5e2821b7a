"""Faults of what a process keeps from one model to the next: plans that are found by too little, and buffers."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


@planted("state")
class PlansByShapes(Planted):
    """A product is computed in the dtype of the first product of its shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: dict[tuple[tuple[int, ...], ...], np.dtype[np.generic]] = {}

    def product(self, x: Array, kernel: Array) -> Array:
        dtype = self.plans.setdefault((x.shape, kernel.shape), x.dtype)
        return times(x.astype(dtype), kernel.astype(dtype)).astype(x.dtype)


@planted("state")
class FusesFirstActivation(Planted):
    """The activation of the first output of a shape is applied to all outputs of that shape."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: dict[tuple[int, ...], str] = {}

    def activated(self, activation: str, z: Array) -> Array:
        return super().activated(self.plans.setdefault(z.shape, activation), z)


@planted("state")
class LeavesWorkspace(Planted):
    """Features are padded to 8 in buffers that are never cleared."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: dict[str, Array] = {}

    def padded(self, name: str, array: Array) -> Array:
        """Return the matrix with its rows padded in a buffer."""
        buffer = self.buffers.setdefault(name, np.zeros((2**12, 2**8)))
        rows, columns = array.shape
        if rows > buffer.shape[0] or columns + 8 > buffer.shape[1]:
            return array
        buffer[:rows, :columns] = array
        return buffer[:rows, : -(-columns // 8) * 8].astype(array.dtype)

    def product(self, x: Array, kernel: Array) -> Array:
        flat = x.reshape(int(np.prod(x.shape[:-1], dtype=np.int64)), x.shape[-1])
        left, right = self.padded("x", flat), self.padded("kernel", kernel.T)
        if left.shape[1] != right.shape[1]:
            return times(x, kernel)
        return times(left, right.T).reshape(*x.shape[:-1], kernel.shape[1])
