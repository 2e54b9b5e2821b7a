"""
Equinox: `eqx.nn.Linear` and activation functions in an `eqx.nn.Sequential`, under one `jax.vmap` for each leading axis.

An `eqx.nn.Linear` takes one vector, and no batch. What the suite knows of Equinox is here. The module must not import
equinox or jax before an adapter is made, compute a shape of its own, or check what Equinox is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.jax.arrays import activations, first_device, from_numpy, layer_outputs
from conformance.adapters.jax.model import JaxAdapter, JaxModel, Pulled
from conformance.adapters.protocol import Parameter, Shape, Stack

if TYPE_CHECKING:
    import equinox as eqx
    import jax

#: Equinox's names for the arrays of a layer; a weight has shape (m, d).
NAMES: Final = {"weight": "kernel", "bias": "bias"}


class EquinoxAdapter(JaxAdapter):
    """Equinox: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        import equinox  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's

        super().__init__("equinox")

    def build(self, stack: Stack, *, device: str) -> EquinoxModel:
        """Return the stack as an `eqx.nn.Sequential`, its arrays on the first device of the kind."""
        return EquinoxModel(stack, device=first_device(device))


class EquinoxModel(JaxModel):
    """An `eqx.nn.Sequential` of `eqx.nn.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import equinox as eqx
        import jax

        super().__init__(stack, device=device)
        # The shapes of the arrays are enough: drawing initial values costs a compilation.
        self._made = eqx.filter_eval_shape(self._construct, jax.random.key(0))
        self._module: eqx.nn.Sequential | None = None
        if stack.has_weights:
            self.set_weights(stack)

    def _construct(self, key: jax.Array) -> eqx.nn.Sequential:
        import equinox as eqx
        import jax

        stack = self._stack
        keys = jax.random.split(key, len(stack.layers))
        layers: list[Any] = []
        for width, layer, own in zip(stack.widths, stack.layers, keys, strict=True):
            layers.append(eqx.nn.Linear(width, layer.units, use_bias=layer.use_bias, dtype=stack.dtype, key=own))
            layers += [eqx.nn.Lambda(each) for each in activations(jax.nn)[layer.activation]]
        return eqx.nn.Sequential(layers)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `eqx.filter_eval_shape` gives each layer's output, unknown axes symbolic."""
        import equinox as eqx

        def outputs(module: eqx.nn.Sequential, x: jax.Array) -> Sequence[jax.Array]:
            # Mapped over the leading axes one by one, so that a layer sees the vector it was made for.
            return _over_leading_axes(partial(layer_outputs, module.layers, eqx.nn.Linear), x)

        return self._inferred(eqx.filter_eval_shape, outputs, self._made, batch)

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

    def _call(self, x: jax.Array) -> jax.Array:
        return _over_leading_axes(self._with_values(), x)

    def _pull_back(self, x: jax.Array, dy: jax.Array) -> Pulled:
        y, found, dx = _pull_back()(self._with_values(), x, dy)
        linears = [found.layers[place] for place in self._places()]
        # A weight has shape (m, d).
        return y, [(each.weight.T, each.bias) for each in linears], dx

    def set_weights(self, stack: Stack) -> None:
        """Put new arrays in place of those of each layer by `eqx.tree_at`."""
        import equinox as eqx

        def arrays(module: eqx.nn.Sequential) -> Sequence[Any]:
            return [each for place in self._places() for each in _arrays_of(module.layers[place]).values()]

        given: list[jax.Array] = []
        for layer in stack.layers:
            assert layer.kernel is not None, "weights are set where there are some"
            given.append(from_numpy(layer.kernel.T, self._device))
            if layer.bias is not None:
                given.append(from_numpy(layer.bias, self._device))
        self._module = eqx.tree_at(arrays, self._made, given)

    def _with_values(self) -> eqx.nn.Sequential:
        """Return the module, its arrays drawn by Equinox itself where none were given."""
        import jax

        if self._module is None:
            with jax.default_device(self._device):
                self._module = self._construct(jax.random.key(0))
        return self._module


def _arrays_of(layer: Any) -> Mapping[str, Any]:
    """Return the arrays of a layer by name, in the order of its leaves."""
    import jax

    found, _ = jax.tree.flatten_with_path(layer)
    return {path[-1].name: each for path, each in found}


def _over_leading_axes(call: Callable[[Any], Any], x: jax.Array) -> Any:
    """Return the results of `call` for every vector (d,) of x (..., d)."""
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
