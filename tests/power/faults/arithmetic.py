"""Faults of arithmetic: how products are summed, in which precision, and how results are rounded; most have a size."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Stack
from tests.power.faults.base import Planted, Sized, planted, powers
from tests.support.faulty_adapters import rounded
from tests.support.numpy_adapter import times

#: Bits of a significand, from two up to float32's own 24.
BITS = tuple(float(bits) for bits in range(2, 25))


def must_fit(x: Array, kernel: Array) -> None:
    """Refuse what a product would refuse, where a fault multiplies by broadcasting."""
    if x.shape[-1] != kernel.shape[0]:
        raise ValueError(f"{x.shape[-1]} features do not fit a kernel for {kernel.shape[0]}")


def summed(x: Array, kernel: Array, bits: int) -> Array:
    """Return x·W summed feature after feature, every partial sum rounded to `bits` bits."""
    must_fit(x, kernel)
    total = np.zeros((*x.shape[:-1], kernel.shape[1]), x.dtype)
    for feature in range(x.shape[-1]):
        total = rounded(total + x[..., feature, None] * kernel[feature], bits)
    return total


@planted("accumulation")
class AccumulatorBits(Sized):
    """Partial sums are kept in a significand of that many bits."""

    sizes, meaning = BITS, "bits"

    def product(self, x: Array, kernel: Array) -> Array:
        return summed(x, kernel, int(self.size))


@planted("accumulation")
class BatchAccumulatorBits(Sized):
    """The sum of db over positions is kept in a significand of that many bits."""

    sizes, meaning = BITS, "bits"

    def bias_gradient(self, dz: Array) -> Array:
        return summed(np.ones((1, dz.shape[0]), dz.dtype), dz, int(self.size))[0]


@planted("accumulation")
class DropsTail(Planted):
    """What is left of the features beyond blocks of eight is not added."""

    def product(self, x: Array, kernel: Array) -> Array:
        terms = kernel.shape[0]
        whole = terms - terms % 8 if terms > 8 else terms
        return times(x[..., :whole], kernel[:whole])


@planted("accumulation")
class AddsTailTwice(Planted):
    """What is left of the features beyond blocks of eight is added twice."""

    def product(self, x: Array, kernel: Array) -> Array:
        terms = kernel.shape[0]
        whole = terms - terms % 8 if terms > 8 else terms
        return times(x, kernel) + times(x[..., whole:], kernel[whole:])


@planted("accumulation")
class StopsAtThousand(Planted):
    """Only the first thousand features are added."""

    def product(self, x: Array, kernel: Array) -> Array:
        return times(x[..., :1000], kernel[:1000])


@planted("accumulation")
class DropsSmallProducts(Planted):
    """Products below a 4096th of the largest of their sum are not added."""

    def product(self, x: Array, kernel: Array) -> Array:
        must_fit(x, kernel)
        terms = x[..., :, None] * kernel
        most = np.abs(terms).max(axis=-2, keepdims=True, initial=0)
        return np.where(np.abs(terms) < most / 4096, 0, terms).sum(axis=-2, dtype=x.dtype)


@planted("accumulation")
class MeanInsteadOfSum(Planted):
    """The products are averaged."""

    def product(self, x: Array, kernel: Array) -> Array:
        return (times(x, kernel)) / x.dtype.type(max(kernel.shape[0], 1))


@planted("operand precision")
class OperandBits(Sized):
    """Both operands of every product have that many bits (TF32: 11, bfloat16: 8)."""

    sizes, meaning = BITS, "bits"

    def operand(self, x: Array) -> Array:
        return rounded(x, int(self.size))


@planted("operand precision")
class KernelBits(Sized):
    """The kernel alone has that many bits."""

    sizes, meaning = BITS, "bits"

    def kernel(self, kernel: Array) -> Array:
        return rounded(kernel, int(self.size))


@planted("operand precision")
class InputBits(Sized):
    """The input alone has that many bits."""

    sizes, meaning = BITS, "bits"

    def entered(self, x: Array) -> Array:
        return rounded(x, int(self.size))


@planted("operand precision")
class UpstreamBits(Sized):
    """The gradient that comes in alone has that many bits."""

    sizes, meaning = BITS, "bits"

    def upstream(self, dy: Array) -> Array:
        return rounded(dy, int(self.size))


@planted("operand precision")
class BiasBits(Sized):
    """The bias alone has that many bits."""

    sizes, meaning = BITS, "bits"

    def biased(self, p: Array, bias: Array) -> Array:
        return p + rounded(bias, int(self.size))


@planted("operand precision")
class Tf32ForLongSums(Planted):
    """Operands are read as TF32 from 512 features on."""

    def product(self, x: Array, kernel: Array) -> Array:
        return times(rounded(x, 11), rounded(kernel, 11)) if kernel.shape[0] >= 512 else times(x, kernel)


@planted("operand precision")
class Tf32Backward(Planted):
    """Operands are read as TF32 in the gradients alone."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return times(rounded(a.T, 11), rounded(dz, 11))

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return times(rounded(dz, 11), rounded(kernel.T, 11))


@planted("operand precision")
class Tf32InLaterLayers(Planted):
    """The kernel of every layer but the first is read as TF32."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Array | None = None

    def used(self, stack: Stack) -> Stack:
        self.first = stack.layers[0].kernel
        return stack

    def kernel(self, kernel: Array) -> Array:
        return kernel if kernel is self.first else rounded(kernel, 11)


@planted("operand precision")
class EightBitKernel(Planted):
    """The kernel is quantized to 8 bits with one scale for all of it."""

    def kernel(self, kernel: Array) -> Array:
        scale = np.abs(kernel).max(initial=0) / 127 or kernel.dtype.type(1)
        return (np.round(kernel / scale) * scale).astype(kernel.dtype)


@planted("rounding")
class OutputBits(Sized):
    """The output is rounded to that many bits."""

    sizes, meaning = BITS, "bits"

    def output(self, y: Array) -> Array:
        return rounded(y, int(self.size))


@planted("rounding")
class ProductBits(Sized):
    """The product is rounded to that many bits before the bias is added."""

    sizes, meaning = BITS, "bits"

    def product(self, x: Array, kernel: Array) -> Array:
        return rounded(times(x, kernel), int(self.size))


@planted("rounding")
class GradientBits(Sized):
    """dW is rounded to that many bits."""

    sizes, meaning = BITS, "bits"

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return rounded(times(a.T, dz), int(self.size))


@planted("rounding")
class Float16Output(Planted):
    """The output has passed through float16."""

    def output(self, y: Array) -> Array:
        with np.errstate(over="ignore"):
            return y.astype(np.float16).astype(y.dtype)


@planted("rounding")
class WholeNumbers(Planted):
    """The output is rounded to whole numbers."""

    def output(self, y: Array) -> Array:
        return np.round(y)


@planted("rounding")
class FixedPoint(Sized):
    """The output is rounded to multiples of that step."""

    sizes, meaning = powers(2.0, 0, -40), "step"

    def output(self, y: Array) -> Array:
        return (np.round(y.astype(np.float64) / self.size) * self.size).astype(y.dtype)


@planted("rounding")
class FlushesBelow(Sized):
    """Outputs below that magnitude are flushed to zero."""

    sizes, meaning = powers(2.0, 0, -24), "magnitude"

    def output(self, y: Array) -> Array:
        return np.where(np.abs(y) < self.size, y.dtype.type(0), y)


@planted("rounding")
class SaturatesAbove(Sized):
    """Outputs beyond that magnitude are clipped to it."""

    sizes, meaning = powers(2.0, 0, 26), "magnitude"

    def output(self, y: Array) -> Array:
        return np.clip(y, -self.size, self.size).astype(y.dtype)
