"""
Flax Linen: `nn.Dense`, or another module that does the same, and activation functions in an `nn.Sequential`.

What the suite knows of Flax Linen is here, what it knows of JAX in `jax_arrays`. The module must not import flax or jax
before it is asked for, compute a shape of its own, or check what Flax is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.jax.arrays import (
    activations,
    devices,
    first_device,
    from_numpy,
    known,
    layer_outputs,
    placement_of,
    set_full_precision,
    settings,
    symbolic,
    to_numpy,
    versions,
)
from conformance.adapters.protocol import Array, Dense, Gradients, Parameter, Shape, Stack, Units, Unsupported

if TYPE_CHECKING:
    import jax
    from flax import linen as nn

MODES: Final = (None, "jit", "abstract", "dense-general", "einsum")


class FlaxLinenAdapter:
    """
    Flax Linen: the forward pass eager, gradients by one jitted vector-Jacobian product.

    `mode` is None for `nn.Dense`, `jit` for the same with a jitted forward pass, `abstract` for `jax.eval_shape` and no
    values; `dense-general` and `einsum` are `nn.DenseGeneral` and `nn.Einsum` in its place.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(self, *, mode: str | None = None) -> None:
        import flax.linen  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's

        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        self._mode = mode
        set_full_precision()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of flax, of jax, and of what carries arrays to them."""
        return versions("flax")

    def settings(self) -> Mapping[str, object]:
        """Return the flags of jax that bear on values."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return the devices visible to jax."""
        return devices()

    def build(self, stack: Stack, *, device: str) -> FlaxLinenModel:
        """Return the stack as an `nn.Sequential`, its parameters on the first device of the kind asked for."""
        return FlaxLinenModel(stack, device=first_device(device), mode=self._mode)


class FlaxLinenModel:
    """An `nn.Sequential` of layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device, mode: str | None) -> None:
        import jax
        from flax import linen as nn
        from jax import export

        self._stack = stack
        self._device = device
        self._mode = mode
        self._output: jax.Array | None = None
        make = {"dense-general": _dense_general, "einsum": _einsum}.get(mode or "", _dense)
        layers: list[Any] = []
        self._names: list[str] = []
        # Only nn.Einsum is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            # The name nn.Sequential gives a layer: its place among layers and activations.
            self._names.append(f"layers_{len(layers)}")
            layers.append(make(layer, width, stack.dtype))
            layers += activations(nn)[layer.activation]
            width = layer.units
        self._module = nn.Sequential(tuple(layers))
        # Linen infers the input width from a sample, whose shape is enough: drawing initial values costs a compilation.
        # Of that shape the last axis alone matters. A symbol belongs to a scope, which is why the model keeps one.
        self._scope = export.SymbolicScope()
        front = (*[None] * stack.leading_axes, *stack.input_shape[:-1])
        sample = (*(1 if size is None else size for size in front), *stack.input_shape[-1:])
        self._sample = jax.ShapeDtypeStruct(symbolic(sample, self._scope), stack.dtype)
        self._shapes = jax.eval_shape(self._module.init, jax.random.key(0), self._sample)
        self._weights: Any = None
        if mode != "abstract" and all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax
        from flax import linen as nn

        def outputs(weights: Any, x: jax.Array) -> Sequence[jax.Array]:
            return layer_outputs(self._module.bind(weights).layers, nn.Module, x)

        sizes = symbolic((batch, *self._stack.input_shape), self._scope)
        return known(jax.eval_shape(outputs, self._shapes, jax.ShapeDtypeStruct(sizes, self._stack.dtype)), sizes)

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
        """Return the output for x (*leading, *input_shape), operation by operation, or compiled as a whole."""
        weights, handed = self._values(), from_numpy(x, self._device)
        if self._mode == "jit":
            self._output = _compiled_call()(self._module, weights, handed)
        else:
            self._output = self._module.apply(weights, handed)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the vector-Jacobian product of `apply` gives for sum(dy * y)."""
        weights, handed, cotangent = self._values(), from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(self._module, weights, handed, cotangent)
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
        """
        Return the parameters, drawn by Flax itself where none were given.

        Raises:
            Unsupported: the mode has shapes alone.
        """
        import jax
        import jax.numpy as jnp

        if self._mode == "abstract":
            raise Unsupported("jax.eval_shape gives shapes and no values")
        if self._weights is None:
            drawn = self._module.init(jax.random.key(0), jnp.zeros(self._sample.shape, self._sample.dtype))
            self._weights = jax.device_put(drawn, self._device)
        return self._weights

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a jax array has no strides."""


def _dense(layer: Dense, width: Units, dtype: str) -> nn.Module:
    from flax import linen as nn

    return nn.Dense(layer.units, use_bias=layer.use_bias, dtype=dtype, param_dtype=dtype)


def _dense_general(layer: Dense, width: Units, dtype: str) -> nn.Module:
    from flax import linen as nn

    return nn.DenseGeneral(layer.units, axis=-1, use_bias=layer.use_bias, dtype=dtype, param_dtype=dtype)


def _einsum(layer: Dense, width: Units, dtype: str) -> nn.Module:
    from flax import linen as nn

    return nn.Einsum((width, layer.units), "...d,dm->...m", use_bias=layer.use_bias, dtype=dtype, param_dtype=dtype)


@cache
def _compiled_call() -> Callable[..., jax.Array]:
    """Return (module, weights, x) -> y, compiled once per module and shapes."""
    import jax

    @partial(jax.jit, static_argnums=0)
    def call(module: nn.Module, weights: Any, x: jax.Array) -> jax.Array:
        return module.apply(weights, x)

    return call


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (module, weights, x, dy) -> (y, gradients of the weights, dx), compiled once per module and shapes."""
    import jax

    @partial(jax.jit, static_argnums=0)
    def pull_back(module: nn.Module, weights: Any, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(module.apply, weights, x)
        return y, *pull(dy)

    return pull_back
