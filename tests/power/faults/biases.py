"""Faults of the bias: where it is added, and how often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array, Stack
from tests.power.faults.base import Planted, planted


@planted("bias")
class DropsBiasAboveRankTwo(Planted):
    """The bias is added to matrices only."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias if p.ndim < 3 else p


@planted("bias")
class DropsLastLayersBias(Planted):
    """The last of several layers adds no bias."""

    def used(self, stack: Stack) -> Stack:
        last = stack.layers[-1]
        if len(stack.layers) > 1 and last.bias is not None:
            last = replace(last, bias=np.zeros_like(last.bias))
        return replace(stack, layers=(*stack.layers[:-1], last))


@planted("bias")
class DropsBiasOfNoFeatures(Planted):
    """A sum of no products is returned without its bias."""

    def used(self, stack: Stack) -> Stack:
        layers = [
            replace(layer, bias=layer.bias * 0)
            if layer.bias is not None and layer.kernel is not None and layer.kernel.shape[0] == 0
            else layer
            for layer in stack.layers
        ]
        return replace(stack, layers=tuple(layers))


@planted("bias")
class FirstBiasForAll(Planted):
    """Every unit adds the bias of the first."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + np.broadcast_to(bias[:1], bias.shape) if bias.size else p


@planted("bias")
class ReversedBias(Planted):
    """The bias is added from the other end."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias[::-1]


@planted("bias")
class SubtractsBias(Planted):
    """The bias is subtracted."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p - bias


@planted("bias")
class BiasOnFirstSample(Planted):
    """Only the first sample gets the bias."""

    def biased(self, p: Array, bias: Array) -> Array:
        y = p.copy()
        if y.ndim == 1:
            return y + bias
        y[:1] += bias
        return y


@planted("bias")
class BiasOnFirstPosition(Planted):
    """Only the first position of each sample gets the bias."""

    def biased(self, p: Array, bias: Array) -> Array:
        if p.ndim < 3:
            return p + bias
        y = p.copy()
        y[..., :1, :] += bias
        return y


@planted("bias")
class BiasTimesBatch(Planted):
    """The bias is added once for every sample of the batch."""

    def biased(self, p: Array, bias: Array) -> Array:
        return p + bias * p.dtype.type(p.shape[0] if p.ndim > 1 else 1)


@planted("bias")
class BiasAfterActivation(Planted):
    """The bias is added to the activation's output."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: Array | None = None

    def biased(self, p: Array, bias: Array) -> Array:
        self.waiting = bias
        return p

    def activated(self, activation: str, z: Array) -> Array:
        y = super().activated(activation, z)
        y, self.waiting = (y if self.waiting is None else y + self.waiting), None
        return y


@planted("bias")
class BiasUnasked(Planted):
    """A layer without a bias adds one all the same."""

    def used(self, stack: Stack) -> Stack:
        layers = []
        for layer in stack.layers:
            if layer.bias is None and layer.kernel is not None:
                layer = replace(layer, bias=np.ones(layer.kernel.shape[1], layer.kernel.dtype))
            layers.append(layer)
        return replace(stack, layers=tuple(layers))
