"""
The layers of Keras that promise to be a dense layer: Dense itself, and those that are one by their arguments.

Each is built as its users would build it. The module must not import Keras before it is asked for, or compute a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.protocol import Dense

if TYPE_CHECKING:
    import keras

#: What is put around the arguments of a dense layer, by the name of the mode.
EQUIVALENTS: Final = ("einsum-dense", "time-distributed", "conv1d", "conv2d")
#: The ranks of a sample that some of them are for, the lowest first.
RANKS: Final = {"time-distributed": tuple(range(2, 9)), "conv1d": (2,), "conv2d": (3,)}


def layer_of(kind: str | None, dense: Dense, name: str, options: Mapping[str, Any]) -> keras.layers.Layer:
    """Return the layer that stands for a dense one; `options` hold its activation, initializers and dtype."""
    import keras

    makers: Mapping[str | None, Callable[[], keras.layers.Layer]] = {
        None: lambda: keras.layers.Dense(dense.units, use_bias=dense.use_bias, name=name, **options),
        "einsum-dense": lambda: keras.layers.EinsumDense(
            "...x,xy->...y",
            output_shape=(dense.units,),
            bias_axes="y" if dense.use_bias else None,
            name=name,
            **options,
        ),
        "time-distributed": lambda: keras.layers.TimeDistributed(
            keras.layers.Dense(dense.units, use_bias=dense.use_bias, name=name, **options),
            name=f"{name}_in_time",
            # The layer around casts its input too, and to its own dtype.
            dtype=options["dtype"],
        ),
        "conv1d": lambda: keras.layers.Conv1D(dense.units, 1, use_bias=dense.use_bias, name=name, **options),
        "conv2d": lambda: keras.layers.Conv2D(dense.units, 1, use_bias=dense.use_bias, name=name, **options),
    }
    return makers[kind]()


def own(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer that holds kernel and bias: the one inside, where a layer is around another."""
    return getattr(layer, "layer", layer)
