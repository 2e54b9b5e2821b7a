"""
Haiku: `hk.Linear` and activation functions in an `hk.Sequential`, under `hk.transform`.

What the suite knows of Haiku is here. The module must not import haiku or jax before an adapter is made, compute a
shape of its own, or check what Haiku is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.jax.arrays import activations, first_device, from_numpy, layer_outputs
from conformance.adapters.jax.model import InitialisedModel, JaxAdapter, Pulled, pull_back
from conformance.adapters.protocol import Parameter, Shape, Stack

if TYPE_CHECKING:
    import jax

#: Haiku's names for the arrays of a layer; w has shape (d, m).
NAMES: Final = {"w": "kernel", "b": "bias"}


class HaikuAdapter(JaxAdapter):
    """Haiku: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        import haiku  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's

        super().__init__("dm-haiku")

    def build(self, stack: Stack, *, device: str) -> HaikuModel:
        """Return the stack as a pair of pure functions, its parameters on the first device of the kind."""
        return HaikuModel(stack, device=first_device(device))


class HaikuModel(InitialisedModel):
    """A transformed `hk.Sequential` of `hk.Linear` layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import haiku as hk

        self._stack = stack
        self._transformed = hk.without_apply_rng(hk.transform(lambda x: hk.Sequential(self._layers())(x)))
        super().__init__(stack, self._transformed.init, device=device)
        if stack.has_weights:
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
        return self._inferred(jax.eval_shape, outputs.apply, self._shapes, batch, self._scope)

    def parameters(self) -> Sequence[Parameter]:
        """Return every array that `init` made, under its module's name; all are trained."""
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

    def _call(self, x: jax.Array) -> jax.Array:
        return self._transformed.apply(self._values(), x)

    def _pull_back(self, x: jax.Array, dy: jax.Array) -> Pulled:
        y, found, dx = pull_back()(_apply, self._transformed.apply, self._values(), x, dy)
        return y, [(each["w"], each.get("b")) for each in (found[name] for name in self._names())], dx

    def set_weights(self, stack: Stack) -> None:
        """Fill the tree that `init` gave with new arrays; `apply` is given it at each call, and checks its shapes."""
        self._weights = {
            name: {own: from_numpy(getattr(layer, NAMES[own]), self._device) for own in self._shapes[name]}
            for name, layer in zip(self._names(), stack.layers, strict=True)
        }


def _apply(apply: Callable[..., jax.Array], weights: Any, x: jax.Array) -> jax.Array:
    return apply(weights, x)
