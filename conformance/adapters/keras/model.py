"""
A functional model of Keras 3, to be exported or converted.

The module must not import Keras before an adapter is made, or compute a shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.adapters.keras.arrays import activations
from conformance.adapters.protocol import Shape, Stack

if TYPE_CHECKING:
    import keras


def functional_model(stack: Stack, shape: Shape, *, every_layer: bool) -> keras.Model:
    """
    Return a model of `keras.layers.Dense` layers with the weights of a stack.

    Its input has `shape`, batch included, None for an unknown axis. Its output is that of the last layer, or with
    `every_layer` that of each.
    """
    import keras

    # Named, since the names that Keras makes up count the layers of a process and stand in messages.
    entry = keras.Input(batch_shape=shape, dtype=stack.dtype, name="x")
    denses, outputs = [], [entry]
    for index, layer in enumerate(stack.layers):
        dense = keras.layers.Dense(
            layer.units,
            activation=activations()[layer.activation],
            use_bias=layer.use_bias,
            dtype=stack.dtype,
            name=f"dense_{index}",
        )
        denses.append(dense)
        outputs.append(dense(outputs[-1]))
    for dense, layer in zip(denses, stack.layers, strict=True):
        if layer.kernel is not None:
            dense.set_weights([layer.kernel, *([] if layer.bias is None else [layer.bias])])
    return keras.Model(entry, outputs[1:] if every_layer else outputs[-1], name="stack")
