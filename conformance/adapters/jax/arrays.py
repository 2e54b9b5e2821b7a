"""
What the adapters on JAX share: arrays, devices, flags, activations, unknown axes.

Nothing here knows of a layer, or computes a shape. The module must not import jax before an adapter is made. x64 stays
off, as JAX is installed.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.protocol import Array, Shape

if TYPE_CHECKING:
    import jax
    from jax import export

Activation = Callable[[Any], Any]


def set_flags() -> None:
    """Let jax compute float32 products in float32 on every device."""
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")


def versions(*distributions: str) -> Mapping[str, str]:
    """Return the versions of the distributions, of jax with its compiler, and of what carries arrays to them."""
    return {each: importlib.metadata.version(each) for each in (*distributions, "jax", "jaxlib", "numpy", "ml_dtypes")}


def settings() -> Mapping[str, object]:
    """Return the flags that bear on values, read back from jax, and the flags of XLA."""
    import jax

    return {
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "x64": jax.config.jax_enable_x64,
        "default_backend": jax.default_backend(),
        "disable_jit": jax.config.jax_disable_jit,
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def devices() -> Sequence[str]:
    """Return `cpu`, and `gpu` where that is what jax computes on by default."""
    import jax

    return ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",)


def first_device(kind: str) -> jax.Device:
    """
    Return the first device of a kind, `cpu` or `gpu`.

    Raises:
        RuntimeError: jax has no device of the kind.
    """
    import jax

    return jax.devices(kind)[0]


def from_numpy(array: Array | None, device: jax.Device | None = None) -> jax.Array:
    """Return the array on `device`; with x64 off JAX makes float64 float32, as it does for its users."""
    import jax

    return jax.device_put(array, device)


def to_numpy(array: jax.Array) -> Array:
    """Return an array of the same shape and dtype, bfloat16 as that of `ml_dtypes`."""
    return np.asarray(array)


def placement_of(array: jax.Array | None) -> str:
    """
    Return `cpu`, `gpu`, or jax's own words where an array is on other or several kinds of devices.

    Raises:
        RuntimeError: there is no array, since nothing has been computed.
    """
    if array is None:
        raise RuntimeError("nothing has been computed yet")
    return "+".join(sorted({each.platform for each in array.devices()}))


@cache
def activations(functions: Any) -> Mapping[str, Sequence[Activation]]:
    """
    Return what follows a layer by the name of its activation: nothing, or one function of the module `functions`.

    Always the same objects, so that equal stacks share one compilation.
    """
    import jax.numpy as jnp

    return {
        "linear": (),
        "relu": (functions.relu,),
        "sigmoid": (functions.sigmoid,),
        "softmax": (partial(functions.softmax, axis=-1),),
        "tanh": (functions.tanh,),
        "leaky_relu": (partial(functions.leaky_relu, negative_slope=0.01),),
        "elu": (partial(functions.elu, alpha=1.0),),
        "selu": (functions.selu,),
        "softplus": (functions.softplus,),
        "softsign": (functions.soft_sign,),
        "silu": (functions.silu,),
        "gelu": (partial(functions.gelu, approximate=False),),
        "gelu_tanh": (partial(functions.gelu, approximate=True),),
        "hard_sigmoid": (functions.hard_sigmoid,),
        "log_softmax": (partial(functions.log_softmax, axis=-1),),
        "exponential": (jnp.exp,),
    }


def layer_outputs(layers: Iterable[Callable[[Any], Any]], kind: type[Any], x: Any) -> list[Any]:
    """Return what leaves each layer of a `kind`, each with the activation after it, which is of no such kind."""
    found: list[Any] = []
    for layer in layers:
        x = layer(x)
        if not isinstance(layer, kind):
            found.pop()  # an activation belongs to the layer before it
        found.append(x)
    return found


def symbolic(shape: Shape, scope: export.SymbolicScope | None = None) -> tuple[Any, ...]:
    """Return `shape` with a symbol of its own, named after its place, for each unknown axis."""
    from jax import export

    unknown = ", ".join(f"axis_{axis}" for axis, size in enumerate(shape) if size is None)
    symbols = iter(export.symbolic_shape(unknown, scope=scope or export.SymbolicScope()) if unknown else ())
    return tuple(next(symbols) if size is None else size for size in shape)


def shapes_of(arrays: Iterable[Any], sizes: Sequence[Any]) -> Sequence[Shape]:
    """Return the shapes of `arrays`, with None where a symbol of `sizes` stands; jax raises for what is neither."""
    symbols = [size for size in sizes if not isinstance(size, int)]
    return [
        tuple(None if not isinstance(size, int) and size in symbols else int(size) for size in each.shape)
        for each in arrays
    ]
