"""
Flax NNX: `nnx.Linear`, or another module that does the same, and activation functions in an `nnx.Sequential`.

What the suite knows of Flax NNX is here. The module must not import flax or jax before an adapter is made, compute a
shape of its own, or check what Flax is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from conformance.adapters.jax.arrays import activations, first_device, from_numpy, layer_outputs
from conformance.adapters.jax.model import JaxAdapter, JaxModel, Pulled
from conformance.adapters.protocol import Dense, Parameter, Shape, Stack, Units, Unsupported

if TYPE_CHECKING:
    import jax
    from flax import nnx

MODES: Final = (None, "jit", "abstract", "linear-general", "einsum")


class FlaxNnxAdapter(JaxAdapter):
    """
    Flax NNX: the forward pass eager, gradients by one jitted vector-Jacobian product.

    `mode` is None for `nnx.Linear`, `jit` for the same with a jitted forward pass, `abstract` for `nnx.eval_shape` and
    no values; `linear-general` and `einsum` are `nnx.LinearGeneral` and `nnx.Einsum` in its place.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(self, *, mode: str | None = None) -> None:
        import flax.nnx  # noqa: F401 - loaded here, so that its time is the start's and not the first cell's

        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        super().__init__("flax")
        self._mode = mode

    def build(self, stack: Stack, *, device: str) -> FlaxNnxModel:
        """Return the stack as an `nnx.Sequential`, its parameters on the first device of the kind."""
        return FlaxNnxModel(stack, device=first_device(device), mode=self._mode)


class FlaxNnxModel(JaxModel):
    """An `nnx.Sequential` of layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device, mode: str | None) -> None:
        import jax
        from flax import nnx

        super().__init__(stack, device=device)
        self._mode = mode
        # The shapes of the parameters are enough: drawing initial values costs a compilation.
        self._module = nnx.eval_shape(self._construct)
        # A copy of what Flax made: `nnx.update` takes arrays of any shape, and would leave those in its place.
        self._made = jax.tree.map(lambda each: each, nnx.state(self._module))
        self._has_values = False
        if mode != "abstract" and stack.has_weights:
            self.set_weights(stack)

    def _construct(self) -> nnx.Sequential:
        from flax import nnx

        make = {"linear-general": _linear_general, "einsum": _einsum}.get(self._mode or "", _linear)
        stack, layers, streams = self._stack, [], nnx.Rngs(0)
        common: dict[str, Any] = {"dtype": stack.dtype, "param_dtype": stack.dtype, "rngs": streams}
        if all(each.kernel is not None and each.kernel.size for each in stack.layers):
            # Given kernels replace the initial ones. To trace how random ones are drawn takes half the time of a build.
            # An empty kernel is left to Flax's initializer, which refuses some.
            common["kernel_init"] = nnx.initializers.zeros
        for width, layer in zip(stack.widths, stack.layers, strict=True):
            layers.append(make(layer, width, **common))
            layers += activations(nnx)[layer.activation]
        return nnx.Sequential(*layers)

    def _layers(self) -> Mapping[int, nnx.Module]:
        """Return the layers by their place in the `nnx.Sequential`, among activations."""
        from flax import nnx

        return {place: each for place, each in enumerate(self._module.layers) if isinstance(each, nnx.Module)}

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax
        from flax import nnx

        definition, shapes = nnx.split(self._module)

        def outputs(weights: Any, x: jax.Array) -> Sequence[jax.Array]:
            return layer_outputs(nnx.merge(definition, weights).layers, nnx.Module, x)

        return self._inferred(jax.eval_shape, outputs, shapes, batch)

    def parameters(self) -> Sequence[Parameter]:
        """Return every variable made by each layer, under its path; only an `nnx.Param` is trained."""
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
            for index, place in enumerate(self._layers())
            for own, each in self._made["layers"][place].items()
        ]

    def parameter_count(self) -> int:
        """Return the sum of the sizes jax reports for the leaves of the module's state."""
        import jax

        return sum(each.size for each in jax.tree.leaves(self._made))

    def _call(self, x: jax.Array) -> jax.Array:
        self._ensure_values()
        return _compiled_call()(self._module, x) if self._mode == "jit" else self._module(x)

    def _pull_back(self, x: jax.Array, dy: jax.Array) -> Pulled:
        self._ensure_values()
        y, found, dx = _pull_back()(self._module, x, dy)
        states = [found["layers"][place] for place in self._layers()]
        return y, [(each["kernel"][...], each["bias"][...] if "bias" in each else None) for each in states], dx

    def set_weights(self, stack: Stack) -> None:
        """Update every variable of each layer in place by `nnx.update`."""
        from flax import nnx

        for module, layer in zip(self._layers().values(), stack.layers, strict=True):
            state = nnx.state(module)
            values = {own: from_numpy(getattr(layer, own), self._device) for own in state}
            nnx.update(module, nnx.State({own: state[own].replace(value) for own, value in values.items()}))
        self._has_values = True

    def _ensure_values(self) -> None:
        """
        Let Flax draw initial values where none were given.

        Raises:
            Unsupported: the mode has shapes alone.
        """
        import jax
        from flax import nnx

        if self._mode == "abstract":
            raise Unsupported("nnx.eval_shape gives shapes and no values")
        if not self._has_values:
            nnx.update(self._module, jax.device_put(nnx.state(self._construct()), self._device))
            self._has_values = True


def _linear(layer: Dense, width: Units, **common: Any) -> nnx.Module:
    from flax import nnx

    return nnx.Linear(width, layer.units, use_bias=layer.use_bias, **common)


def _linear_general(layer: Dense, width: Units, **common: Any) -> nnx.Module:
    from flax import nnx

    return nnx.LinearGeneral(width, layer.units, axis=-1, use_bias=layer.use_bias, **common)


def _einsum(layer: Dense, width: Units, **common: Any) -> nnx.Module:
    from flax import nnx

    bias_shape = (layer.units,) if layer.use_bias else None
    return nnx.Einsum("...d,dm->...m", (width, layer.units), bias_shape, **common)


@cache
def _compiled_call() -> Callable[..., jax.Array]:
    """Return (module, x) -> y, compiled once per structure of a module and shapes."""
    from flax import nnx

    def call(module: nnx.Module, x: jax.Array) -> jax.Array:
        return module(x)

    return nnx.jit(call)


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (module, x, dy) -> (y, gradients of its state, dx), compiled once per structure and shapes."""
    import jax
    from flax import nnx

    def pull_back(module: nnx.Module, x: jax.Array, dy: jax.Array) -> Any:
        definition, weights = nnx.split(module)
        y, pull = jax.vjp(lambda weights, x: nnx.merge(definition, weights)(x), weights, x)
        return y, *pull(dy)

    return nnx.jit(pull_back)
