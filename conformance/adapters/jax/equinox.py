"""
Equinox: `eqx.nn.Linear` and activation functions in an `eqx.nn.Sequential`, under one `jax.vmap` for each leading axis.

An `eqx.nn.Linear` takes one vector, and no batch. What the suite knows of Equinox is here, what it knows of JAX in
`jax_arrays`. The module must not import equinox or jax before it is asked for, compute a shape of its own, or check
what Equinox is there to check.
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
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units

if TYPE_CHECKING:
    import equinox as eqx
    import jax

#: Equinox's names for the arrays of a layer; a weight has shape (m, d).
NAMES: Final = {"weight": "kernel", "bias": "bias"}


class EquinoxAdapter:
    """Equinox: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        import equinox  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's

        set_full_precision()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of equinox, of jax, and of what carries arrays to them."""
        return versions("equinox")

    def settings(self) -> Mapping[str, object]:
        """Return the flags of jax that bear on values."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return the devices visible to jax."""
        return devices()

    def build(self, stack: Stack, *, device: str) -> EquinoxModel:
        """Return the stack as an `eqx.nn.Sequential`, its arrays on the first device of the kind asked for."""
        return EquinoxModel(stack, device=first_device(device))


class EquinoxModel:
    """An `eqx.nn.Sequential` of `eqx.nn.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import equinox as eqx
        import jax

        self._stack = stack
        self._device = device
        self._output: jax.Array | None = None
        # The shapes of the arrays are enough: drawing initial values costs a compilation.
        self._made = eqx.filter_eval_shape(self._construct, jax.random.key(0))
        self._module: eqx.nn.Sequential | None = None
        if all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)

    def _construct(self, key: jax.Array) -> eqx.nn.Sequential:
        import equinox as eqx
        import jax

        layers: list[Any] = []
        # eqx.nn.Linear is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units = self._stack.input_shape[-1] if self._stack.input_shape else 1
        for layer, own in zip(self._stack.layers, jax.random.split(key, len(self._stack.layers)), strict=True):
            layers.append(eqx.nn.Linear(width, layer.units, use_bias=layer.use_bias, dtype=self._stack.dtype, key=own))
            layers += [eqx.nn.Lambda(each) for each in activations(jax.nn)[layer.activation]]
            width = layer.units
        return eqx.nn.Sequential(layers)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `eqx.filter_eval_shape` gives each layer's output, unknown axes symbolic."""
        import equinox as eqx
        import jax

        def outputs(module: eqx.nn.Sequential, x: jax.Array) -> Sequence[jax.Array]:
            # Mapped over the leading axes one by one, so that a layer sees the vector it was made for.
            return _over_leading_axes(partial(layer_outputs, module.layers, eqx.nn.Linear), x)

        sizes = symbolic((batch, *self._stack.input_shape))
        entry = jax.ShapeDtypeStruct(sizes, self._stack.dtype)
        return known(eqx.filter_eval_shape(outputs, self._made, entry), sizes)

    def parameters(self) -> Sequence[Parameter]:
        """Return every array of each `eqx.nn.Linear`; those `eqx.filter_grad` differentiates by are trained."""
        import jax.numpy as jnp

        return [
            Parameter(
                layer=index,
                name=NAMES.get(own, own),
                shape=tuple(each.shape),
                dtype=str(each.dtype),
                trainable=jnp.issubdtype(each.dtype, jnp.inexact),
                reported=f"layers[{place}].{own}",
            )
            for index, place in enumerate(self._places())
            for own, each in _arrays_of(self._made.layers[place]).items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the sizes jax reports for the arrays among the leaves of the module."""
        import jax

        return sum(each.size for each in jax.tree.leaves(self._made) if isinstance(each, jax.ShapeDtypeStruct))

    def _places(self) -> Sequence[int]:
        """Return the places of the layers in the `eqx.nn.Sequential`, among activations."""
        import equinox as eqx

        return [place for place, each in enumerate(self._made.layers) if isinstance(each, eqx.nn.Linear)]

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), operation by operation."""
        self._output = _over_leading_axes(self._with_values(), from_numpy(x, self._device))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what `eqx.filter_vjp` gives for sum(dy * y); a weight's gradient (m, d) is handed over as (d, m)."""
        handed, cotangent = from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(self._with_values(), handed, cotangent)
        linears = [found.layers[place] for place in self._places()]
        layers = tuple(
            (to_numpy(each.weight).T, None if each.bias is None else to_numpy(each.bias)) for each in linears
        )
        return Gradients(dx=None if dx is None else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Put new arrays in place of those of each layer by `eqx.tree_at`."""
        import equinox as eqx

        def held(module: eqx.nn.Sequential) -> Sequence[Any]:
            return [each for place in self._places() for each in _arrays_of(module.layers[place]).values()]

        given: list[jax.Array] = []
        for layer in stack.layers:
            assert layer.kernel is not None, "weights are set where there are some"
            given.append(from_numpy(layer.kernel.T, self._device))
            if layer.bias is not None:
                given.append(from_numpy(layer.bias, self._device))
        self._module = eqx.tree_at(held, self._made, given)

    def _with_values(self) -> eqx.nn.Sequential:
        """Return the module, its arrays drawn by Equinox itself where none were given."""
        import jax

        if self._module is None:
            with jax.default_device(self._device):
                self._module = self._construct(jax.random.key(0))
        return self._module

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a jax array has no strides."""


def _arrays_of(layer: Any) -> Mapping[str, Any]:
    """Return what a layer holds that is no setting of it, by name, in the order of its leaves."""
    import jax

    found, _ = jax.tree.flatten_with_path(layer)
    return {path[-1].name: each for path, each in found}


def _over_leading_axes(call: Callable[[Any], Any], x: jax.Array) -> Any:
    """Return `call` of every vector (d,) of x (..., d); a vector alone is called with."""
    import jax

    for _ in range(x.ndim - 1):
        call = jax.vmap(call)
    return call(x)


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (module, x, dy) -> (y, gradients of the module, dx), compiled once per structure and shapes."""
    import equinox as eqx

    def pull_back(module: eqx.nn.Sequential, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = eqx.filter_vjp(_over_leading_axes, module, x)
        return y, *pull(dy)

    return eqx.filter_jit(pull_back)
