"""
Flax Linen: `nn.Dense` and activation functions in an `nn.Sequential`, applied eagerly.

Everything the suite knows of Flax Linen is here. The module must not import flax or jax before it is asked for, compute
a shape of its own, or check what Flax is there to check. x64 stays off, as JAX is installed.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack

if TYPE_CHECKING:
    import jax
    from flax import linen as nn
    from jax import export


class FlaxLinenAdapter:
    """Flax Linen: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        import flax.linen  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")

    def versions(self) -> Mapping[str, str]:
        """Return the versions of flax, of jax with its compiler, and of what carries arrays to them."""
        return {each: importlib.metadata.version(each) for each in ("flax", "jax", "jaxlib", "numpy", "ml_dtypes")}

    def settings(self) -> Mapping[str, object]:
        """Return the flags that bear on values, read back from jax, and what XLA was told at its start."""
        import jax

        return {
            "matmul_precision": jax.config.jax_default_matmul_precision,
            "x64": jax.config.jax_enable_x64,
            "default_backend": jax.default_backend(),
            "disable_jit": jax.config.jax_disable_jit,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        }

    def devices(self) -> Sequence[str]:
        """Return `cpu`, and `gpu` where that is what jax computes on unless told otherwise."""
        import jax

        return ("cpu", "gpu") if jax.default_backend() == "gpu" else ("cpu",)

    def build(self, stack: Stack, *, device: str) -> FlaxLinenModel:
        """Return the stack as an `nn.Sequential`, its parameters on the first device of the kind asked for."""
        import jax

        return FlaxLinenModel(stack, device=jax.devices(device)[0])


class FlaxLinenModel:
    """An `nn.Sequential` of `nn.Dense` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import jax
        from flax import linen as nn
        from jax import export

        self._stack = stack
        self._device = device
        self._output: jax.Array | None = None
        layers: list[Any] = []
        self._names: list[str] = []
        for layer in stack.layers:
            # The name nn.Sequential gives a layer: its place among layers and activations.
            self._names.append(f"layers_{len(layers)}")
            layers.append(nn.Dense(layer.units, use_bias=layer.use_bias, dtype=stack.dtype, param_dtype=stack.dtype))
            layers += _activations()[layer.activation]
        self._module = nn.Sequential(tuple(layers))
        # Linen infers the input width from a sample, whose shape is enough: drawing initial values costs a compilation.
        # Of that shape the last axis alone matters. A symbol belongs to a scope, which is why the model keeps one.
        self._scope = export.SymbolicScope()
        front = (*[None] * stack.leading_axes, *stack.input_shape[:-1])
        sample = (*(1 if size is None else size for size in front), *stack.input_shape[-1:])
        self._sample = jax.ShapeDtypeStruct(_sizes(sample, self._scope), stack.dtype)
        self._shapes = jax.eval_shape(self._module.init, jax.random.key(0), self._sample)
        self._weights: Any = None
        if all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax
        from flax import linen as nn

        def outputs(weights: Any, x: jax.Array) -> Sequence[jax.Array]:
            found: list[jax.Array] = []
            for layer in self._module.bind(weights).layers:
                x = layer(x)
                if not isinstance(layer, nn.Dense):
                    found.pop()  # an activation belongs to the layer before it
                found.append(x)
            return found

        sizes = _sizes((batch, *self._stack.input_shape), self._scope)
        found = jax.eval_shape(outputs, self._shapes, jax.ShapeDtypeStruct(sizes, self._stack.dtype))
        unknown = [size for size in sizes if not isinstance(size, int)]
        return [tuple(_axis(size, unknown) for size in each.shape) for each in found]

    def parameters(self) -> Sequence[Parameter]:
        """Return every leaf of every collection `init` made, under its path; only those of `params` are trained."""
        return [
            Parameter(
                layer=index,
                name=own,
                shape=tuple(each.shape),
                dtype=str(each.dtype),
                trainable=collection == "params",
                reported=f"{collection}/{name}/{own}",
            )
            for index, name in enumerate(self._names)
            for collection, modules in self._shapes.items()
            for own, each in modules.get(name, {}).items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the sizes jax reports for the leaves of all collections."""
        import jax

        return sum(each.size for each in jax.tree.leaves(self._shapes))

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), operation by operation."""
        self._output = self._module.apply(self._values(), from_numpy(x, self._device))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the vector-Jacobian product of `apply` gives for sum(dy * y)."""
        handed, cotangent = from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(self._module, self._values(), handed, cotangent)
        layers = tuple(
            (to_numpy(each["kernel"]), to_numpy(each["bias"]) if "bias" in each else None)
            for each in (found["params"][name] for name in self._names)
        )
        return Gradients(dx=None if x.dtype.kind in "biu" else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Fill the tree that `init` gave with new arrays; `apply` is given it at each call, and checks its shapes."""
        self._weights = {
            "params": {
                name: {own: from_numpy(getattr(layer, own), self._device) for own in self._shapes["params"][name]}
                for name, layer in zip(self._names, stack.layers, strict=True)
            }
        }

    def _values(self) -> Any:
        """Return the parameters, drawn by Flax itself where none were given."""
        import jax
        import jax.numpy as jnp

        if self._weights is None:
            drawn = self._module.init(jax.random.key(0), jnp.zeros(self._sample.shape, self._sample.dtype))
            self._weights = jax.device_put(drawn, self._device)
        return self._weights

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        if self._output is None:
            raise RuntimeError("nothing has been computed yet")
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a jax array has no strides."""


def from_numpy(array: Array, device: jax.Device | None = None) -> jax.Array:
    """Return the array on `device`; with x64 off JAX makes float64 float32, as it does for its users."""
    import jax

    return jax.device_put(array, device)


def to_numpy(array: jax.Array) -> Array:
    """Return an array of the same shape and dtype, bfloat16 as that of `ml_dtypes`."""
    return np.asarray(array)


def placement_of(array: jax.Array) -> str:
    """Return `cpu`, `gpu`, or jax's own words where an array is on other or several kinds of devices."""
    return "+".join(sorted({each.platform for each in array.devices()}))


@cache
def _activations() -> Mapping[str, Sequence[Callable[[jax.Array], jax.Array]]]:
    """Return the functions by name; always the same objects, so that equal stacks share one compilation."""
    import jax.numpy as jnp
    from flax import linen as nn

    return {
        "linear": (),
        "relu": (nn.relu,),
        "sigmoid": (nn.sigmoid,),
        "softmax": (partial(nn.softmax, axis=-1),),
        "tanh": (nn.tanh,),
        "leaky_relu": (partial(nn.leaky_relu, negative_slope=0.01),),
        "elu": (partial(nn.elu, alpha=1.0),),
        "selu": (nn.selu,),
        "softplus": (nn.softplus,),
        "softsign": (nn.soft_sign,),
        "silu": (nn.silu,),
        "gelu": (partial(nn.gelu, approximate=False),),
        "gelu_tanh": (partial(nn.gelu, approximate=True),),
        "hard_sigmoid": (nn.hard_sigmoid,),
        "log_softmax": (partial(nn.log_softmax, axis=-1),),
        "exponential": (jnp.exp,),
    }


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (module, weights, x, dy) -> (y, gradients of the weights, dx), compiled once per module and shapes."""
    import jax

    @partial(jax.jit, static_argnums=0)
    def pull_back(module: nn.Module, weights: Any, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(module.apply, weights, x)
        return y, *pull(dy)

    return pull_back


def _sizes(shape: Shape, scope: export.SymbolicScope) -> tuple[Any, ...]:
    """Return `shape` with a symbol of its own, named after its place, for each unknown axis."""
    from jax import export

    unknown = ", ".join(f"axis_{axis}" for axis, size in enumerate(shape) if size is None)
    symbols = iter(export.symbolic_shape(unknown, scope=scope) if unknown else ())
    return tuple(next(symbols) if size is None else size for size in shape)


def _axis(size: Any, unknown: Sequence[object]) -> int | None:
    """Return None for an unknown axis, else the constant; jax raises where a size is neither."""
    return None if not isinstance(size, int) and size in unknown else int(size)
