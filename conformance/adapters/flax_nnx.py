"""
Flax NNX: `nnx.Linear` and activation functions in an `nnx.Sequential`, called eagerly.

Everything the suite knows of Flax NNX is here. The module must not import flax or jax before it is asked for, compute a
shape of its own, or check what Flax is there to check. x64 stays off, as JAX is installed.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack
from conformance.case import Units

if TYPE_CHECKING:
    import jax
    from flax import nnx


class FlaxNnxAdapter:
    """Flax NNX: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        import flax.nnx  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's
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

    def build(self, stack: Stack, *, device: str) -> FlaxNnxModel:
        """Return the stack as an `nnx.Sequential`, its parameters on the first device of the kind asked for."""
        import jax

        return FlaxNnxModel(stack, device=jax.devices(device)[0])


class FlaxNnxModel:
    """An `nnx.Sequential` of `nnx.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import jax
        from flax import nnx

        self._stack = stack
        self._device = device
        self._output: jax.Array | None = None
        # The shapes of the parameters are enough: drawing initial values costs a compilation.
        self._module = nnx.eval_shape(self._construct)
        # A copy of what Flax made: `nnx.update` takes arrays of any shape, and would leave those in its place.
        self._made = jax.tree.map(lambda each: each, nnx.state(self._module))
        self._has_values = False
        if all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)

    def _construct(self) -> nnx.Sequential:
        from flax import nnx

        stack, layers, streams = self._stack, [], nnx.Rngs(0)
        # nnx.Linear is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            layers.append(
                nnx.Linear(
                    width,
                    layer.units,
                    use_bias=layer.use_bias,
                    dtype=stack.dtype,
                    param_dtype=stack.dtype,
                    rngs=streams,
                )
            )
            layers += _activations()[layer.activation]
            width = layer.units
        return nnx.Sequential(*layers)

    def _linears(self) -> Mapping[int, nnx.Linear]:
        """Return the layers by their place in the `nnx.Sequential`, among activations."""
        from flax import nnx

        return {place: each for place, each in enumerate(self._module.layers) if isinstance(each, nnx.Linear)}

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax
        from flax import nnx

        definition, shapes = nnx.split(self._module)

        def outputs(weights: Any, x: jax.Array) -> Sequence[jax.Array]:
            found: list[jax.Array] = []
            for layer in nnx.merge(definition, weights).layers:
                x = layer(x)
                if not isinstance(layer, nnx.Linear):
                    found.pop()  # an activation belongs to the layer before it
                found.append(x)
            return found

        sizes = _sizes((batch, *self._stack.input_shape))
        found = jax.eval_shape(outputs, shapes, jax.ShapeDtypeStruct(sizes, self._stack.dtype))
        unknown = [size for size in sizes if not isinstance(size, int)]
        return [tuple(_axis(size, unknown) for size in each.shape) for each in found]

    def parameters(self) -> Sequence[Parameter]:
        """Return every variable made by each `nnx.Linear`, under its path; only an `nnx.Param` is trained."""
        from flax import nnx

        return [
            Parameter(
                layer=index,
                name=own,
                shape=tuple(each.shape),
                dtype=str(each.dtype),
                trainable=isinstance(each, nnx.Param),
                reported=f"layers.{place}.{own}",
            )
            for index, place in enumerate(self._linears())
            for own, each in self._made["layers"][place].items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the sizes jax reports for the leaves of the module's state."""
        import jax

        return sum(each.size for each in jax.tree.leaves(self._made))

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), operation by operation."""
        self._ensure_values()
        self._output = self._module(from_numpy(x, self._device))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the vector-Jacobian product of the split module gives for sum(dy * y)."""
        from flax import nnx

        self._ensure_values()
        definition, weights = nnx.split(self._module)
        handed, cotangent = from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(definition, weights, handed, cotangent)
        layers = tuple(
            (to_numpy(each["kernel"][...]), to_numpy(each["bias"][...]) if "bias" in each else None)
            for each in (found["layers"][place] for place in self._linears())
        )
        return Gradients(dx=None if x.dtype.kind in "biu" else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Update every variable of each layer in place by `nnx.update`."""
        from flax import nnx

        for linear, layer in zip(self._linears().values(), stack.layers, strict=True):
            state = nnx.state(linear)
            values = {own: from_numpy(getattr(layer, own), self._device) for own in state}
            nnx.update(linear, nnx.State({own: state[own].replace(value) for own, value in values.items()}))
        self._has_values = True

    def _ensure_values(self) -> None:
        """Let Flax draw initial values where none were given."""
        import jax
        from flax import nnx

        if not self._has_values:
            nnx.update(self._module, jax.device_put(nnx.state(self._construct()), self._device))
            self._has_values = True

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
    from flax import nnx

    return {
        "linear": (),
        "relu": (nnx.relu,),
        "sigmoid": (nnx.sigmoid,),
        "softmax": (partial(nnx.softmax, axis=-1),),
        "tanh": (nnx.tanh,),
        "leaky_relu": (partial(nnx.leaky_relu, negative_slope=0.01),),
        "elu": (partial(nnx.elu, alpha=1.0),),
        "selu": (nnx.selu,),
        "softplus": (nnx.softplus,),
        "softsign": (nnx.soft_sign,),
        "silu": (nnx.silu,),
        "gelu": (partial(nnx.gelu, approximate=False),),
        "gelu_tanh": (partial(nnx.gelu, approximate=True),),
        "hard_sigmoid": (nnx.hard_sigmoid,),
        "log_softmax": (partial(nnx.log_softmax, axis=-1),),
        "exponential": (jnp.exp,),
    }


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (definition, weights, x, dy) -> (y, gradients of the weights, dx), compiled once per module and shapes."""
    import jax
    from flax import nnx

    @partial(jax.jit, static_argnums=0)
    def pull_back(definition: nnx.GraphDef[nnx.Sequential], weights: nnx.State, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(lambda weights, x: nnx.merge(definition, weights)(x), weights, x)
        return y, *pull(dy)

    return pull_back


def _sizes(shape: Shape) -> tuple[Any, ...]:
    """Return `shape` with a symbol of its own for each unknown axis."""
    from jax import export

    unknown = ", ".join(f"axis_{axis}" for axis, size in enumerate(shape) if size is None)
    symbols = iter(export.symbolic_shape(unknown) if unknown else ())
    return tuple(next(symbols) if size is None else size for size in shape)


def _axis(size: Any, unknown: Sequence[object]) -> int | None:
    """Return None for an unknown axis, else the constant; jax raises where a size is neither."""
    return None if not isinstance(size, int) and size in unknown else int(size)
