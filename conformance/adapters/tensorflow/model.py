"""
What the adapters on TensorFlow share: their reports of versions, flags and devices, and the eager calls of a model.

The module must not import tensorflow before an adapter is made, or compute a shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from conformance.adapters.protocol import Array, Gradients
from conformance.adapters.tensorflow.arrays import (
    devices,
    differentiate,
    from_numpy,
    placement_of,
    set_flags,
    settings,
    to_numpy,
    versions,
)

if TYPE_CHECKING:
    import tensorflow as tf


class TensorFlowAdapter:
    """Base of the adapters on TensorFlow: versions, flags and devices."""

    def __init__(self, *distributions: str) -> None:
        self._distributions = distributions
        set_flags()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of tensorflow, of what is on top of it, and of what carries arrays to it."""
        return versions(*self._distributions)

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from tensorflow."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where tensorflow sees one."""
        return devices()


class EagerModel:
    """
    Base of the models that are called eagerly on a device.

    A subclass has the layers, each with a variable `kernel` and a variable `bias`, None without bias, and their call.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._output: tf.Tensor | None = None
        self._layers: list[Any] = []

    def _call(self, x: tf.Tensor) -> tf.Tensor:
        for layer in self._layers:
            x = layer(x)
        return x

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape) from an eager call."""
        import tensorflow as tf

        with tf.device(self._device):
            self._output = self._call(from_numpy(x))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what a gradient tape over the eager call gives for sum(dy * y)."""
        import tensorflow as tf

        own = [each for layer in self._layers for each in (layer.kernel, layer.bias) if each is not None]
        with tf.device(self._device):
            self._output, dx, arrays = differentiate(self._call, from_numpy(x), own, from_numpy(dy))
        found = map(to_numpy, arrays)
        layers = tuple((next(found), None if each.bias is None else next(found)) for each in self._layers)
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def placement(self) -> str:
        """Return the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a tensor of TensorFlow has no strides."""
