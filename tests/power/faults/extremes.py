"""Faults at the extremes: infinities, NaN, denormals, numbers far smaller than others, and inputs of other dtypes."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Gradients
from conformance.reference.formats import FORMATS
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


def largest_of(x: Array) -> float:
    """Return the largest finite number of an array's dtype."""
    return FORMATS[str(x.dtype)].maximum


def smallest_normal_of(x: Array) -> float:
    """Return the smallest normal number of an array's dtype."""
    return FORMATS[str(x.dtype)].smallest_normal


def where(condition: Array, replaced: float | Array, x: Array) -> Array:
    """Return x with what meets a condition replaced, in its own dtype."""
    return np.where(condition, np.asarray(replaced, x.dtype), x)


@planted("data")
class NaNSwallowedByMaximum(Planted):
    """The output is the larger of itself and the smallest number there is, by a maximum that passes over NaN."""

    def output(self, y: Array) -> Array:
        return np.fmax(y, np.asarray(-np.inf, y.dtype))


@planted("data")
class ZeroTimesInfinityIsZero(Planted):
    """A product is left out where one of its factors is 0, also if the other is infinite or NaN."""

    def product(self, x: Array, kernel: Array) -> Array:
        if np.isfinite(x.astype(np.float64)).all() and np.isfinite(kernel.astype(np.float64)).all():
            return super().product(x, kernel)
        terms = x.astype(np.float64)[..., :, None] * kernel.astype(np.float64)
        nought = (x[..., :, None] == 0) | (kernel == 0)
        return np.where(nought, 0.0, terms).sum(axis=-2).astype(x.dtype)


@planted("data")
class SparseInputShortcut(Planted):
    """A feature that is 0 is skipped, with a kernel that is NaN or infinite there."""

    def product(self, x: Array, kernel: Array) -> Array:
        if np.isfinite(kernel.astype(np.float64)).all():
            return super().product(x, kernel)
        terms = x.astype(np.float64)[..., :, None] * kernel.astype(np.float64)
        return np.where((x == 0)[..., :, None], 0.0, terms).sum(axis=-2).astype(x.dtype)


@planted("data")
class InfinityLosesSign(Planted):
    """-inf comes out as +inf."""

    def output(self, y: Array) -> Array:
        return where(np.isneginf(y.astype(np.float64)), np.inf, y)


@planted("data")
class NaNInBiasIsZero(Planted):
    """A NaN in the bias is read as zero."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + where(np.isnan(bias), 0.0, bias)


@planted("data")
class NaNInKernelIsZero(Planted):
    """A NaN in the kernel is read as zero."""

    def kernel(self, kernel: Array) -> Array:
        return where(np.isnan(kernel), 0.0, kernel)


@planted("data")
class NaNSpreadsToNeighbours(Planted):
    """Positions next to one that is NaN are NaN as well."""

    def output(self, y: Array) -> Array:
        rows = y.reshape(-1, y.shape[-1]) if y.size else y
        spoilt = np.isnan(rows).any(axis=-1)
        return where((spoilt | np.roll(spoilt, 1)).reshape(*y.shape[:-1], 1), np.nan, y) if y.size else y


@planted("data")
class OneNaNSpoilsAll(Planted):
    """A NaN anywhere in the output makes all of it NaN, as a check of finiteness by a sum would."""

    def output(self, y: Array) -> Array:
        return np.full_like(y, np.nan) if np.isnan(y).any() else y


@planted("rounding")
class OverflowSaturates(Planted):
    """What overflows is the largest number instead of an infinity."""

    def product(self, x: Array, kernel: Array) -> Array:
        p = super().product(x, kernel)
        over = np.isinf(p.astype(np.float64)) & np.isfinite(x.astype(np.float64)).all(axis=-1, keepdims=True)
        over = over & np.isfinite(kernel.astype(np.float64)).all(axis=0)
        return where(over, np.sign(p.astype(np.float64)) * largest_of(p), p)


@planted("gradient")
class NonFiniteGradientZeroed(Planted):
    """What is not finite in dW is set to zero, as some training loops do."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        dkernel = super().kernel_gradient(a, dz)
        return where(~np.isfinite(dkernel.astype(np.float64)), 0.0, dkernel)


@planted("gradient")
class NonFiniteInputGradientZeroed(Planted):
    """What is not finite in dx is set to zero."""

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        dx = super().input_gradient(dz, kernel)
        return where(~np.isfinite(dx.astype(np.float64)), 0.0, dx)


@planted("gradient")
class SmallNormalsFlushedInKernelGradient(Planted):
    """In dW alone, numbers below 2**-40 are set to zero, though they are normal."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        dkernel = super().kernel_gradient(a, dz)
        return where(np.abs(dkernel) < 2.0**-40, 0.0, dkernel)


@planted("gradient")
class SmallNormalsFlushedInInputGradient(Planted):
    """In dx alone, numbers below 2**-40 are set to zero, though they are normal."""

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        dx = super().input_gradient(dz, kernel)
        return where(np.abs(dx) < 2.0**-40, 0.0, dx)


@planted("rounding")
class SmallOutputFlushed(Planted):
    """Outputs below 2**-36 are set to zero, though they are normal."""

    def output(self, y: Array) -> Array:
        return where(np.abs(y) < 2.0**-36, 0.0, y)


@planted("rounding")
class DenormalsRoundedUp(Planted):
    """What lies below the normal range is rounded away from zero, to the smallest normal number."""

    def output(self, y: Array) -> Array:
        smallest = smallest_normal_of(y)
        return where((y != 0) & (np.abs(y) < smallest), np.copysign(smallest, y.astype(np.float64)), y)


@planted("rounding")
class DenormalsNegative(Planted):
    """A denormal result has the other sign."""

    def output(self, y: Array) -> Array:
        return where(np.abs(y) < smallest_normal_of(y), -y, y)


@planted("operand precision")
class ScaledByLargest(Planted):
    """Operands are integers of 32 bits, scaled by the largest of each: block floating point."""

    def operand(self, x: Array) -> Array:
        wide = x.astype(np.float64)
        most = np.abs(wide[np.isfinite(wide)]).max(initial=0.0)
        if most == 0.0:
            return x
        step = 2.0 ** (np.ceil(np.log2(most)) - 32)
        return where(np.isfinite(wide), np.round(wide / step) * step, x)


@planted("operand precision")
class RangeOfFloat16(Planted):
    """Operands keep their precision and are clipped to the range of float16."""

    def operand(self, x: Array) -> Array:
        clipped = np.clip(x, np.asarray(-65504, x.dtype), np.asarray(65504, x.dtype))
        return where(np.abs(x) < 2.0**-24, 0.0, clipped)


@planted("bias")
class SmallBiasDropped(Planted):
    """A bias is left out where it is less than 2**-28 of the largest product."""

    def biased(self, p: Array, bias: Array) -> Array:
        most = np.abs(p).max(initial=0.0)
        return p + where(np.abs(bias) < most * 2.0**-28, 0.0, bias)


@planted("bias")
class BiasCancelsToZero(Planted):
    """A result of less than 2**-12 of its bias is taken for zero."""

    def biased(self, p: Array, bias: Array) -> Array:
        y = p + bias
        return where(np.abs(y) < np.abs(bias) * 2.0**-12, 0.0, y)


@planted("activation")
class LogOfSoftmax(Planted):
    """log_softmax is the logarithm of softmax, -inf for a unit far below the others."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation != "log_softmax" or not z.size:
            return super().activated(activation, z)
        return np.log(super().activated("softmax", z))


@planted("activation")
class SoftplusOverflows(Planted):
    """softplus is log(1 + exp(z)) for every z, which overflows."""

    def activated(self, activation: str, z: Array) -> Array:
        return np.log1p(np.exp(z)) if activation == "softplus" else super().activated(activation, z)


@planted("activation")
class TanhFromExp(Planted):
    """tanh is a quotient of exponentials, NaN where both overflow."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation != "tanh":
            return super().activated(activation, z)
        up, down = np.exp(z), np.exp(-z)
        return (up - down) / (up + down)


@planted("activation")
class GeluClipped(Planted):
    """gelu is 0 below -3 and z above 3."""

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        return where(z > 3, z, where(z < -3, 0.0, y)) if activation.startswith("gelu") else y


@planted("activation")
class EluOfTinyIsZero(Planted):
    """elu and selu are 0 for a small negative input, where exp(z) rounds to 1."""

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        return where((z < 0) & (z > -1e-3), 0.0, y) if activation in ("elu", "selu") else y


@planted("activation")
class SiluOverflows(Planted):
    """silu is z exp(z)/(1 + exp(z)), NaN where exp overflows."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation != "silu":
            return super().activated(activation, z)
        up = np.exp(z)
        return z * up / (1 + up)


@planted("dtype")
class SignedReadAsUnsigned(Planted):
    """An input of signed integers is read as unsigned."""

    def entered(self, x: Array) -> Array:
        return x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else x


@planted("dtype")
class TrueIs255(Planted):
    """True is read as 255, as in an image."""

    def entered(self, x: Array) -> Array:
        return x.astype(np.float32) * 255 if x.dtype == bool else x


@planted("dtype")
class IntegersScaledToOne(Planted):
    """An input of uint8 is divided by 255."""

    def entered(self, x: Array) -> Array:
        return x / np.float32(255) if x.dtype == np.uint8 else x


@planted("dtype")
class OutputOfInputsDtype(Planted):
    """The output has the dtype of a floating-point input, and not that of the layer."""

    def entered(self, x: Array) -> Array:
        self.fed = x.dtype
        return x

    def output(self, y: Array) -> Array:
        return y.astype(self.fed) if self.fed.kind not in "biu" else y


@planted("dtype")
class InputGradientOfOwnDtype(Planted):
    """dx has the dtype of the layer and not that of the input."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        dx, dtype = gradients.dx, gradients.layers[0][0].dtype
        return Gradients(dx=None if dx is None else dx.astype(dtype), layers=gradients.layers)


@planted("dtype")
class IntegersHaveGradient(Planted):
    """An input of integers has a gradient."""

    def entered(self, x: Array) -> Array:
        self.fed = x
        return x

    def differentiated(self, gradients: Gradients) -> Gradients:
        if gradients.dx is not None:
            return gradients
        return Gradients(dx=np.zeros(self.fed.shape, gradients.layers[0][0].dtype), layers=gradients.layers)


@planted("dtype")
class ComputesInInputsDtype(Planted):
    """A float16 or bfloat16 input is multiplied in its own dtype."""

    short = False

    def entered(self, x: Array) -> Array:
        self.short = x.dtype.itemsize == 2 and x.dtype.kind not in "iu"
        return x

    def product(self, x: Array, kernel: Array) -> Array:
        if not self.short or x.dtype.itemsize == 2:
            return super().product(x, kernel)
        return times(x.astype(np.float16), kernel.astype(np.float16)).astype(x.dtype)
