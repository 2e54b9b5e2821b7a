"""Layers in NumPy, each with one declared behaviour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack
from conformance.reference.formats import FORMATS
from tests.support.numpy_activations import STEP_BY_STEP
from tests.support.numpy_adapter import Honest, times

BFLOAT16 = FORMATS["bfloat16"].dtype


class CastsInput(Honest):
    def entered(self, x: Array) -> Array:
        return x.astype(np.float32).astype(x.dtype)


class ComputesInFloat32(Honest):
    def entered(self, x: Array) -> Array:
        return x

    def product(self, x: Array, kernel: Array) -> Array:
        return self.operand(x.astype(np.float32)) @ self.operand(kernel.astype(np.float32))

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias.astype(np.float32)

    def upstream(self, dy: Array) -> Array:
        return dy.astype(np.float32)

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return self.operand(a.astype(np.float32).T) @ self.operand(dz)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return self.operand(dz) @ self.operand(kernel.astype(np.float32).T)

    def bias_gradient(self, dz: Array) -> Array:
        return dz.sum(axis=0)

    def differentiated(self, gradients: Gradients) -> Gradients:
        dx = None if gradients.dx is None else gradients.dx.astype(np.float32)
        return Gradients(dx=dx, layers=gradients.layers)


class ProductsInFloat32(Honest):
    def _times(self, left: Array, right: Array) -> Array:
        short = self.operand(left.astype(np.float32)), self.operand(right.astype(np.float32))
        return (short[0] @ short[1]).astype(np.float64)

    def product(self, x: Array, kernel: Array) -> Array:
        return self._times(x, kernel)

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return self._times(a.T, dz)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return self._times(dz, kernel.T)


class SumsBiasGradientInBfloat16(Honest):
    def bias_gradient(self, dz: Array) -> Array:
        total = np.zeros(dz.shape[1], BFLOAT16)
        for row in dz:
            total = (total.astype(np.float32) + row.astype(np.float32)).astype(BFLOAT16)
        return total


class RoundsEachProduct(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        products = x.astype(np.float32)[..., :, None] * kernel.astype(np.float32)
        return products.astype(BFLOAT16).astype(np.float32).sum(axis=-2).astype(BFLOAT16)


class RoundsTowardZero(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        exact = x.astype(np.float32) @ kernel.astype(np.float32)
        cut = (exact.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return cut.astype(BFLOAT16)


class LosesBias(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        return p


class ClipsInfinities(Honest):
    def used(self, stack: Stack) -> Stack:
        largest = np.finfo(np.float32).max

        def clipped(weight: Array | None) -> Array | None:
            return None if weight is None else np.where(np.isinf(weight), np.copysign(largest, weight), weight)

        layers = tuple(replace(each, kernel=clipped(each.kernel), bias=clipped(each.bias)) for each in stack.layers)
        return replace(stack, layers=layers)


class ReadsBitsAsIntegers(Honest):
    def _read(self, array: Array) -> Array:
        if array.dtype != np.float16 or array.flags.c_contiguous:
            return array
        return np.ascontiguousarray(array).view(np.int16).astype(np.float16)

    def entered(self, x: Array) -> Array:
        return self._read(x)

    def kernel(self, kernel: Array) -> Array:
        return self._read(kernel)

    def biased(self, p: Array, bias: Array) -> Array:
        return p + self._read(bias)


class MultipliesPadding(Honest):
    def product(self, x: Array, kernel: Array) -> Array:
        p = times(x, kernel)
        if x.shape[-1] % 2:
            p[~np.isfinite(x[..., -1].astype(np.float32))] = np.nan
        return p

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        gradient = super().kernel_gradient(a, dz)
        if len(a) % 2:
            gradient[~np.isfinite(a[-1].astype(np.float32))] = np.nan
        return gradient


class MultipliesPaddingOfPositions(Honest):
    """Of samples of 2 positions: the gradient of the kernel is a sum over samples for each of them."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        gradient = super().kernel_gradient(a, dz)
        gradient[~np.isfinite(a[-2:].astype(np.float32)).all(axis=0)] = np.nan
        return gradient


class LeakySlopeOfFloat32(Honest):
    slope = float(np.float32(0.01))

    def activated(self, activation: str, z: Array) -> Array:
        return np.where(z > 0, z, self.slope * z)

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * np.where(z > 0, 1.0, self.slope)


class SoftplusLinearFrom20(Honest):
    def activated(self, activation: str, z: Array) -> Array:
        return np.where(z > 20.0, z, np.log1p(np.exp(np.minimum(z, 20.0))))

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * np.where(z > 20.0, 1.0, 1.0 / (1.0 + np.exp(-np.minimum(z, 20.0))))


class TanhOfFewDigits(Honest):
    def activated(self, activation: str, z: Array) -> Array:
        return np.tanh(z) * np.float32(1 + 40 * 2.0**-24)


class GeluStepByStep(Honest):
    def activated(self, activation: str, z: Array) -> Array:
        return np.asarray(STEP_BY_STEP[activation](z))


class OutputOfFloat64(Honest):
    def output(self, y: Array) -> Array:
        return y.astype(np.float64)


class ShapeOfInput(Honest):
    def output(self, y: Array) -> Array:
        return np.zeros((*y.shape[:-1], 0), y.dtype)


class InfersReversed(Honest):
    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], *reversed(shape[1:-1]), shape[-1]) for shape in shapes]


class ParametersOfFloat32(Honest):
    def parameters(self, parameters: list[Parameter]) -> list[Parameter]:
        return [replace(each, dtype="float32") for each in parameters]


class UndefinedOutput(Honest):
    def output(self, y: Array) -> Array:
        return np.full_like(y, 12345)


class Refuses(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        raise ValueError("got 8 samples where at most 7 are taken")


class OneElement(Honest):
    """One element of the first step that computes."""

    def __init__(self) -> None:
        self.calls = 0

    def output(self, y: Array) -> Array:
        self.calls += 1
        if self.calls > 1:
            return y
        y = y.copy()
        y[0, 3] = 2.0
        return y
