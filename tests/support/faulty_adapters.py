"""
An exact adapter, and one adapter for each fault that the suite must catch.

`-i tests.support.faulty_adapters:DropsBias` runs one. The faults are those of real layers: each changes one thing.
"""

from __future__ import annotations

import os
import time

import numpy as np

from conformance.adapters.protocol import Array, Parameter, Shape, Stack
from tests.support.numpy_adapter import Honest, NumPyAdapter, times


def Exact() -> NumPyAdapter:  # noqa: N802 - named as a class, since it stands where one does
    """Return the adapter without a fault: the suite must never find one."""
    return NumPyAdapter(Honest())


class _TransposedKernel(Honest):
    def kernel(self, kernel: Array) -> Array:
        return kernel.T if kernel.shape[0] == kernel.shape[1] else kernel


class _DropsBias(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        return p


class _AddsBiasTwice(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias + bias


class _BiasOnWrongAxis(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        if p.ndim > 2 and p.shape[1] == bias.shape[0]:
            return p + bias.reshape(-1, *(1,) * (p.ndim - 2))
        return p + bias


class _FlattensInput(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        positions = int(np.prod(x.shape[1:-1], dtype=np.int64))
        return times(x.reshape(x.shape[0], positions * x.shape[-1]), np.tile(kernel, (positions, 1)))

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], shape[-1]) for shape in shapes]


class _ContractsWrongAxis(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        if x.ndim > 2 and x.shape[-2] == kernel.shape[0]:
            return times(np.moveaxis(x, -2, -1), kernel)
        return times(x, kernel)


class _DropsLastFeature(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        return times(x[..., :-1], kernel[:-1])


class _Float16Inside(Honest):
    def operand(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            return x.astype(np.float16).astype(x.dtype)


def rounded(x: Array, bits: int) -> Array:
    """Return x rounded to a significand of `bits` bits, ties away: what a narrower operand format would hold."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(x.dtype)


class _Tf32Inside(Honest):
    def operand(self, x: Array) -> Array:
        return rounded(x, 11)


class _Bfloat16Inside(Honest):
    def operand(self, x: Array) -> Array:
        return rounded(x, 8)


class _StaleWeights(Honest):
    def replaced(self, old: Stack, new: Stack) -> Stack:
        return old


class _GradientOfSum(Honest):
    def upstream(self, dy: Array) -> Array:
        return np.ones_like(dy)


class _WrongCount(Honest):
    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [each for each in parameters if each.name == "kernel"]


class _NaNOutput(Honest):
    def output(self, y: Array) -> Array:
        y = y.copy()
        y[(-1,) * y.ndim if y.size else ()] = np.nan
        return y


class _Raises(Honest):
    def output(self, y: Array) -> Array:
        raise RuntimeError("the layer gave up")


class _Aborts(Honest):
    def output(self, y: Array) -> Array:
        os.abort()


class _Hangs(Honest):
    def output(self, y: Array) -> Array:
        while True:
            time.sleep(0.01)


class _NotTrainable(Honest):
    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [
            Parameter(layer=p.layer, name=p.name, shape=p.shape, dtype=p.dtype, trainable=False, reported=p.reported)
            for p in parameters
        ]


class _WrongInferredShape(Honest):
    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(1, *shape[1:]) for shape in shapes]


class _Unrepeatable(Honest):
    def __init__(self) -> None:
        self.calls = 0

    def output(self, y: Array) -> Array:
        self.calls += 1
        return y if self.calls % 3 else y + y.dtype.type(1)


class _MixesPositions(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        y = times(x, kernel)
        return y if y.ndim < 3 or y.shape[-2] < 2 else y + np.roll(y, 1, axis=-2)


class _Float64Output(Honest):
    def output(self, y: Array) -> Array:
        return y.astype(np.float64)


FAULTS: dict[str, type[Honest]] = {
    "TransposedKernel": _TransposedKernel,
    "DropsBias": _DropsBias,
    "AddsBiasTwice": _AddsBiasTwice,
    "BiasOnWrongAxis": _BiasOnWrongAxis,
    "FlattensInput": _FlattensInput,
    "ContractsWrongAxis": _ContractsWrongAxis,
    "DropsLastFeature": _DropsLastFeature,
    "Float16Inside": _Float16Inside,
    "Tf32Inside": _Tf32Inside,
    "Bfloat16Inside": _Bfloat16Inside,
    "StaleWeights": _StaleWeights,
    "GradientOfSum": _GradientOfSum,
    "WrongCount": _WrongCount,
    "NotTrainable": _NotTrainable,
    "WrongInferredShape": _WrongInferredShape,
    "NaNOutput": _NaNOutput,
    "Unrepeatable": _Unrepeatable,
    "MixesPositions": _MixesPositions,
    "Float64Output": _Float64Output,
    "Raises": _Raises,
    "Aborts": _Aborts,
    "Hangs": _Hangs,
}


def __getattr__(name: str) -> object:
    """Return a callable that makes the adapter with the fault of that name."""
    if name in FAULTS:
        return lambda: NumPyAdapter(FAULTS[name]())
    raise AttributeError(name)
