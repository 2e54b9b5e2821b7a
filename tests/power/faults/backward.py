"""Faults of activations, forward and backward, and of gradients."""

from __future__ import annotations

import numpy as np

from conformance.adapters.protocol import Array, Gradients
from tests.power.faults.base import Planted, planted
from tests.support.numpy_adapter import times


def softmax(z: Array, axis: int) -> Array:
    """Return softmax over an axis."""
    if z.size == 0:
        return z
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True, dtype=z.dtype)


@planted("activation")
class LinearAlways(Planted):
    """No activation is applied."""

    def activated(self, activation: str, z: Array) -> Array:
        return z


@planted("activation")
class ActivatesTwice(Planted):
    """Every activation is applied twice."""

    def activated(self, activation: str, z: Array) -> Array:
        return super().activated(activation, super().activated(activation, z))


@planted("activation")
class SoftmaxOverPositions(Planted):
    """Softmax goes over the axis before the last."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "softmax" and z.ndim > 2:
            return softmax(z, -2)
        return super().activated(activation, z)


@planted("activation")
class SoftmaxOverSample(Planted):
    """Softmax goes over all that belongs to a sample."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "softmax" and z.ndim > 2:
            return softmax(z.reshape(z.shape[0], -1), -1).reshape(z.shape)
        return super().activated(activation, z)


@planted("activation")
class SoftmaxOverBatch(Planted):
    """Softmax of a matrix goes over the batch."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "softmax" and z.ndim == 2:
            return softmax(z, 0)
        return super().activated(activation, z)


@planted("activation")
class SoftmaxUnscaled(Planted):
    """Softmax is not divided by its sum."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "softmax" and z.size:
            return np.exp(z - z.max(axis=-1, keepdims=True))
        return super().activated(activation, z)


@planted("activation")
class SoftmaxOfOneIsInput(Planted):
    """Softmax over one unit is left out."""

    def activated(self, activation: str, z: Array) -> Array:
        return z if activation == "softmax" and z.shape[-1] == 1 else super().activated(activation, z)


@planted("activation")
class LeakyRelu(Planted):
    """relu lets a hundredth of what is negative through."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "relu":
            return np.where(z > 0, z, z * z.dtype.type(0.01))
        return super().activated(activation, z)


@planted("activation")
class Relu6(Planted):
    """relu is cut off at 6."""

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        return np.minimum(y, z.dtype.type(6)) if activation == "relu" else y


@planted("activation")
class HardSigmoid(Planted):
    """sigmoid is replaced by a ramp."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "sigmoid":
            return np.clip(z / 6 + z.dtype.type(0.5), 0, 1).astype(z.dtype)
        return super().activated(activation, z)


@planted("activation")
class RationalTanh(Planted):
    """tanh is replaced by a quotient of polynomials that is good to a few digits."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "tanh":
            square = z * z
            return np.clip(z * (27 + square) / (27 + 9 * square), -1, 1).astype(z.dtype)
        return super().activated(activation, z)


@planted("activation")
class SoftmaxWithoutMaximum(Planted):
    """Softmax does not subtract the maximum, so it overflows for large inputs."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation != "softmax" or not z.size:
            return super().activated(activation, z)
        with np.errstate(over="ignore", invalid="ignore"):
            e = np.exp(z)
            return e / e.sum(axis=-1, keepdims=True, dtype=z.dtype)


@planted("activation")
class SigmoidClipped(Planted):
    """sigmoid clips its input to ±8, so that its tail is wrong."""

    def activated(self, activation: str, z: Array) -> Array:
        if activation == "sigmoid":
            z = np.clip(z, -8, 8).astype(z.dtype)
        return super().activated(activation, z)


@planted("gradient")
class NoInputGradient(Planted):
    """dx is zero."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        return Gradients(dx=np.zeros_like(gradients.dx), layers=gradients.layers)


@planted("gradient")
class NoKernelGradient(Planted):
    """dW is zero."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return np.zeros_like(super().kernel_gradient(a, dz))


@planted("gradient")
class NoBiasGradient(Planted):
    """db is zero."""

    def bias_gradient(self, dz: Array) -> Array:
        return np.zeros_like(super().bias_gradient(dz))


@planted("gradient")
class MissingBiasGradient(Planted):
    """There is no db."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        return Gradients(dx=gradients.dx, layers=tuple((kernel, None) for kernel, _ in gradients.layers))


@planted("gradient")
class MeanOverPositions(Planted):
    """dW and db are averaged over positions instead of summed."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return super().kernel_gradient(a, dz) / dz.dtype.type(max(len(dz), 1))

    def bias_gradient(self, dz: Array) -> Array:
        return super().bias_gradient(dz) / dz.dtype.type(max(len(dz), 1))


@planted("gradient")
class MeanBiasGradient(Planted):
    """db alone is averaged over positions."""

    def bias_gradient(self, dz: Array) -> Array:
        return super().bias_gradient(dz) / dz.dtype.type(max(len(dz), 1))


@planted("gradient")
class BiasGradientOfFirst(Planted):
    """db is that of the first position."""

    def bias_gradient(self, dz: Array) -> Array:
        return dz[0].copy() if len(dz) else super().bias_gradient(dz)


@planted("gradient")
class BiasGradientSummedOver(Planted):
    """db is the same for every unit: the sum over units is taken as well."""

    def bias_gradient(self, dz: Array) -> Array:
        db = super().bias_gradient(dz)
        return np.full_like(db, db.sum())


@planted("gradient")
class SquareKernelGradientTransposed(Planted):
    """dW of a square kernel is transposed."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        dkernel = super().kernel_gradient(a, dz)
        return dkernel.T if dkernel.shape[0] == dkernel.shape[1] else dkernel


@planted("gradient")
class SquareInputGradientUntransposed(Planted):
    """dx uses a square kernel without transposing it."""

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return times(dz, kernel) if kernel.shape[0] == kernel.shape[1] else times(dz, kernel.T)


@planted("gradient")
class InputGradientFlattened(Planted):
    """dx comes back as a matrix."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        dx = gradients.dx
        assert dx is not None
        flat = dx.reshape(int(np.prod(dx.shape[:-1], dtype=np.int64)), dx.shape[-1])
        return Gradients(dx=flat, layers=gradients.layers)


@planted("gradient")
class InputGradientOfFirstSample(Planted):
    """dx of every sample but the first is zero."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        dx = np.array(gradients.dx)
        if dx.ndim > 1:
            dx[1:] = 0
        return Gradients(dx=dx, layers=gradients.layers)


@planted("gradient")
class DoublesInputGradient(Planted):
    """dx is counted twice."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        assert gradients.dx is not None
        return Gradients(dx=gradients.dx + gradients.dx, layers=gradients.layers)


@planted("gradient")
class LayersReversed(Planted):
    """The gradients of the layers come in reverse order."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        return Gradients(dx=gradients.dx, layers=gradients.layers[::-1])


@planted("gradient")
class StopsAtLastLayer(Planted):
    """No gradient passes below the last layer."""

    def differentiated(self, gradients: Gradients) -> Gradients:
        below = tuple(
            (np.zeros_like(kernel), None if bias is None else np.zeros_like(bias))
            for kernel, bias in gradients.layers[:-1]
        )
        return Gradients(dx=gradients.dx, layers=(*below, gradients.layers[-1]))


@planted("gradient")
class ClipsGradient(Planted):
    """dW is clipped to ±1."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return np.clip(super().kernel_gradient(a, dz), -1, 1).astype(dz.dtype)


@planted("gradient")
class IgnoresUpstream(Planted):
    """The sign alone of the gradient that comes in is used."""

    def upstream(self, dy: Array) -> Array:
        return np.sign(dy)


@planted("gradient")
class StraightThrough(Planted):
    """The derivative of every activation is taken to be 1."""

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy


@planted("gradient")
class SigmoidDerivativeOfInput(Planted):
    """The derivative of sigmoid is formed from its input instead of its output."""

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * z * (1 - z) if activation == "sigmoid" else super().derived(activation, z, y, dy)


@planted("gradient")
class TanhDerivativeUnsquared(Planted):
    """The derivative of tanh is taken to be 1 - y."""

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * (1 - y) if activation == "tanh" else super().derived(activation, z, y, dy)


@planted("gradient")
class SoftmaxDiagonal(Planted):
    """Only the diagonal of softmax's Jacobian is used."""

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * y * (1 - y) if activation == "softmax" else super().derived(activation, z, y, dy)


@planted("gradient")
class ReluLeaksGradient(Planted):
    """relu lets a hundredth of the gradient through where it is off."""

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        if activation == "relu":
            return dy * np.where(z > 0, z.dtype.type(1), z.dtype.type(0.01))
        return super().derived(activation, z, y, dy)


@planted("gradient")
class ReluGradientOfSign(Planted):
    """relu gives the gradient the sign of its input."""

    def derived(self, activation: str, z: Array, y: Array, dy: Array) -> Array:
        return dy * np.sign(z) if activation == "relu" else super().derived(activation, z, y, dy)
