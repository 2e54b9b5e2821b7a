"""
Flax Linen: `nn.Dense`, or another module that does the same, and activation functions in an `nn.Sequential`.

What the suite knows of Flax Linen is here. The module must not import flax or jax before an adapter is made, compute a
shape of its own, or check what Flax is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.jax.arrays import activations, first_device, from_numpy, layer_outputs
from conformance.adapters.jax.model import InitialisedModel, JaxAdapter, Pulled, pull_back
from conformance.adapters.protocol import Dense, Parameter, Shape, Stack, Units, Unsupported

if TYPE_CHECKING:
    import jax
    from flax import linen as nn

MODES: Final = (None, "jit", "abstract", "dense-general", "einsum")


class FlaxLinenAdapter(JaxAdapter):
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
        super().__init__("flax")
        self._mode = mode

    def build(self, stack: Stack, *, device: str) -> FlaxLinenModel:
        """Return the stack as an `nn.Sequential`, its parameters on the first device of the kind."""
        return FlaxLinenModel(stack, device=first_device(device), mode=self._mode)


class FlaxLinenModel(InitialisedModel):
    """An `nn.Sequential` of layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device, mode: str | None) -> None:
        from flax import linen as nn

        self._mode = mode
        make = {"dense-general": _dense_general, "einsum": _einsum}.get(mode or "", _dense)
        layers: list[Any] = []
        self._names: list[str] = []
        common: dict[str, Any] = {"dtype": stack.dtype, "param_dtype": stack.dtype}
        if all(each.kernel is not None and each.kernel.size for each in stack.layers):
            # Given kernels replace the initial ones. To trace how random ones are drawn takes half the time of a build.
            # An empty kernel is left to Flax's initializer, which refuses some.
            common["kernel_init"] = nn.initializers.zeros
        for width, layer in zip(stack.widths, stack.layers, strict=True):
            # The name nn.Sequential gives a layer: its place among layers and activations.
            self._names.append(f"layers_{len(layers)}")
            layers.append(make(layer, width, **common))
            layers += activations(nn)[layer.activation]
        self._module = nn.Sequential(tuple(layers))
        super().__init__(stack, self._module.init, device=device)
        if mode != "abstract" and stack.has_weights:
            self.set_weights(stack)

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax
        from flax import linen as nn

        def outputs(weights: Any, x: jax.Array) -> Sequence[jax.Array]:
            return layer_outputs(self._module.bind(weights).layers, nn.Module, x)

        return self._inferred(jax.eval_shape, outputs, self._shapes, batch, self._scope)

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

    def _call(self, x: jax.Array) -> jax.Array:
        call = _compiled_call() if self._mode == "jit" else _apply
        return call(self._module, self._values(), x)

    def _pull_back(self, x: jax.Array, dy: jax.Array) -> Pulled:
        y, found, dx = pull_back()(_apply, self._module, self._values(), x, dy)
        return y, [(each["kernel"], each.get("bias")) for each in (found["params"][name] for name in self._names)], dx

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
        if self._mode == "abstract":
            raise Unsupported("jax.eval_shape gives shapes and no values")
        return super()._values()


def _apply(module: nn.Module, weights: Any, x: jax.Array) -> jax.Array:
    return module.apply(weights, x)


def _dense(layer: Dense, width: Units, **common: Any) -> nn.Module:
    from flax import linen as nn

    return nn.Dense(layer.units, use_bias=layer.use_bias, **common)


def _dense_general(layer: Dense, width: Units, **common: Any) -> nn.Module:
    from flax import linen as nn

    return nn.DenseGeneral(layer.units, axis=-1, use_bias=layer.use_bias, **common)


def _einsum(layer: Dense, width: Units, **common: Any) -> nn.Module:
    from flax import linen as nn

    return nn.Einsum((width, layer.units), "...d,dm->...m", use_bias=layer.use_bias, **common)


@cache
def _compiled_call() -> Callable[..., jax.Array]:
    """Return (module, weights, x) -> y, compiled once per module and shapes."""
    import jax

    return jax.jit(_apply, static_argnums=0)
