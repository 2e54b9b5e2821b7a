"""
The layers of Keras that promise to be a dense layer: Dense itself, and those that are one by their arguments.

Each is built as its users would build it. The module must not import Keras before an adapter is made, or compute a
shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.protocol import Dense

if TYPE_CHECKING:
    import keras

#: Modes whose layer is not `Dense`.
EQUIVALENTS: Final = ("einsum-dense", "time-distributed", "conv1d", "conv2d")
#: Mode -> ranks of a sample that its layer takes, the lowest first.
RANKS: Final = {"time-distributed": tuple(range(2, 9)), "conv1d": (2,), "conv2d": (3,)}


def layer_of(kind: str | None, dense: Dense, name: str, options: Mapping[str, Any]) -> keras.layers.Layer:
    """Return the layer of a kind, None for Dense; `options` are its activation, initializers and dtype."""
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
            # The outer layer casts its input too, to its own dtype.
            dtype=options["dtype"],
        ),
        "conv1d": lambda: keras.layers.Conv1D(dense.units, 1, use_bias=dense.use_bias, name=name, **options),
        "conv2d": lambda: keras.layers.Conv2D(dense.units, 1, use_bias=dense.use_bias, name=name, **options),
    }
    return makers[kind]()


def inner(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer with kernel and bias: the one inside, if a layer is around another."""
    return getattr(layer, "layer", layer)
