"""
Haiku: `hk.Linear` and activation functions in an `hk.Sequential`, under `hk.transform`.

What the suite knows of Haiku is here, what it knows of JAX in `jax_arrays`. The module must not import haiku or jax
before it is asked for, compute a shape of its own, or check what Haiku is there to check.
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
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack

if TYPE_CHECKING:
    import jax

#: Haiku's names for the arrays of a layer; w has shape (d, m).
NAMES: Final = {"w": "kernel", "b": "bias"}


class HaikuAdapter:
    """Haiku: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        import haiku  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's

        set_full_precision()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of haiku, of jax, and of what carries arrays to them."""
        return versions("dm-haiku")

    def settings(self) -> Mapping[str, object]:
        """Return the flags of jax that bear on values."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return the devices visible to jax."""
        return devices()

    def build(self, stack: Stack, *, device: str) -> HaikuModel:
        """Return the stack as a pair of pure functions, its parameters on the first device of the kind asked for."""
        return HaikuModel(stack, device=first_device(device))


class HaikuModel:
    """A transformed `hk.Sequential` of `hk.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import haiku as hk
        import jax
        from jax import export

        self._stack = stack
        self._device = device
        self._output: jax.Array | None = None
        self._transformed = hk.without_apply_rng(hk.transform(lambda x: hk.Sequential(self._layers())(x)))
        # Haiku infers the input width and the dtype of its parameters from a sample, whose shape is enough. Of that
        # shape the last axis alone matters. A symbol belongs to a scope, which is why the model keeps one.
        self._scope = export.SymbolicScope()
        front = (*[None] * stack.leading_axes, *stack.input_shape[:-1])
        sample = (*(1 if size is None else size for size in front), *stack.input_shape[-1:])
        self._sample = jax.ShapeDtypeStruct(symbolic(sample, self._scope), stack.dtype)
        self._shapes = jax.eval_shape(self._transformed.init, jax.random.key(0), self._sample)
        self._weights: Any = None
        if all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)

    def _layers(self) -> Sequence[Any]:
        """Return the modules and functions, made anew each time the function that is transformed runs."""
        import haiku as hk
        import jax

        layers: list[Any] = []
        for name, layer in zip(self._names(), self._stack.layers, strict=True):
            layers.append(hk.Linear(layer.units, with_bias=layer.use_bias, name=name))
            layers += activations(jax.nn)[layer.activation]
        return layers

    def _names(self) -> Sequence[str]:
        return [f"linear_{index}" for index, _ in enumerate(self._stack.layers)]

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import haiku as hk
        import jax

        outputs = hk.without_apply_rng(hk.transform(lambda x: layer_outputs(self._layers(), hk.Module, x)))
        sizes = symbolic((batch, *self._stack.input_shape), self._scope)
        entry = jax.ShapeDtypeStruct(sizes, self._stack.dtype)
        return known(jax.eval_shape(outputs.apply, self._shapes, entry), sizes)

    def parameters(self) -> Sequence[Parameter]:
        """Return every array that `init` made, under its module's name; all are trained: Haiku keeps state apart."""
        return [
            Parameter(
                layer=index,
                name=NAMES.get(own, own),
                shape=tuple(each.shape),
                dtype=str(each.dtype),
                trainable=True,
                reported=f"{name}/{own}",
            )
            for index, name in enumerate(self._names())
            for own, each in self._shapes[name].items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the sizes jax reports for the leaves of what `init` made."""
        import jax

        return sum(each.size for each in jax.tree.leaves(self._shapes))

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), operation by operation."""
        self._output = self._transformed.apply(self._values(), from_numpy(x, self._device))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the vector-Jacobian product of `apply` gives for sum(dy * y)."""
        handed, cotangent = from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(self._transformed.apply, self._values(), handed, cotangent)
        layers = tuple(
            (to_numpy(each["w"]), to_numpy(each["b"]) if "b" in each else None)
            for each in (found[name] for name in self._names())
        )
        return Gradients(dx=None if x.dtype.kind in "biu" else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Fill the tree that `init` gave with new arrays; `apply` is given it at each call, and checks its shapes."""
        self._weights = {
            name: {own: from_numpy(getattr(layer, NAMES[own]), self._device) for own in self._shapes[name]}
            for name, layer in zip(self._names(), stack.layers, strict=True)
        }

    def _values(self) -> Any:
        """Return the parameters, drawn by Haiku itself where none were given."""
        import jax
        import jax.numpy as jnp

        if self._weights is None:
            drawn = self._transformed.init(jax.random.key(0), jnp.zeros(self._sample.shape, self._sample.dtype))
            self._weights = jax.device_put(drawn, self._device)
        return self._weights

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a jax array has no strides."""


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (apply, weights, x, dy) -> (y, gradients of the weights, dx), compiled once per model and shapes."""
    import jax

    @partial(jax.jit, static_argnums=0)
    def pull_back(apply: Callable[..., Any], weights: Any, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(apply, weights, x)
        return y, *pull(dy)

    return pull_back
