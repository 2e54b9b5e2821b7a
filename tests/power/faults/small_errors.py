"""Small errors of one element, one weight or one factor; each has a size."""

from __future__ import annotations

from conformance.adapters.protocol import Array, Gradients
from tests.power.faults.base import Sized, planted, powers
from tests.support.numpy_adapter import times

#: Relative errors, from a half down to one unit roundoff of float32.
RELATIVE = powers(2.0, -1, -24)


def at_end(x: Array, factor: float) -> Array:
    """Return x with its last element multiplied."""
    x = x.copy()
    if x.size:
        x[(-1,) * x.ndim] *= x.dtype.type(factor)
    return x


@planted("small error")
class OneWeightOff(Sized):
    """The last weight is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def kernel(self, kernel: Array) -> Array:
        return at_end(kernel, 1.0 + self.size)


@planted("small error")
class LastFeatureFaded(Sized):
    """The last feature's weights are too small by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def kernel(self, kernel: Array) -> Array:
        kernel = kernel.copy()
        kernel[-1:] *= kernel.dtype.type(1.0 - self.size)
        return kernel


@planted("small error")
class KernelScaled(Sized):
    """The whole kernel is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def kernel(self, kernel: Array) -> Array:
        return kernel * kernel.dtype.type(1.0 + self.size)


@planted("small error")
class BiasScaled(Sized):
    """The bias is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias * bias.dtype.type(1.0 + self.size)


@planted("small error")
class OneOutputOff(Sized):
    """The last element of the output is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def output(self, y: Array) -> Array:
        return at_end(y, 1.0 + self.size)


@planted("small error")
class OutputShifted(Sized):
    """The output is too large by that much everywhere."""

    sizes, meaning = powers(2.0, 0, -24), "absolute"

    def output(self, y: Array) -> Array:
        return y + y.dtype.type(self.size)


@planted("small error")
class InputGradientScaled(Sized):
    """dx is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def differentiated(self, gradients: Gradients) -> Gradients:
        assert gradients.dx is not None
        return Gradients(dx=gradients.dx * gradients.dx.dtype.type(1.0 + self.size), layers=gradients.layers)


@planted("small error")
class OneGradientOff(Sized):
    """The last element of every dW is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return at_end(times(a.T, dz), 1.0 + self.size)


@planted("small error")
class ActivationOff(Sized):
    """What a function other than linear gives is too large by that fraction."""

    sizes, meaning = RELATIVE, "relative"

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        return y if activation == "linear" else y * y.dtype.type(1.0 + self.size)
