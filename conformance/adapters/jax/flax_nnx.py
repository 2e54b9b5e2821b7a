"""
Flax NNX: `nnx.Linear`, or another module that does the same, and activation functions in an `nnx.Sequential`.

What the suite knows of Flax NNX is here, what it knows of JAX in `jax_arrays`. The module must not import flax or jax
before it is asked for, compute a shape of its own, or check what Flax is there to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
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
    from flax import nnx

MODES: Final = (None, "jit", "abstract", "linear-general", "einsum")


class FlaxNnxAdapter:
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

    def build(self, stack: Stack, *, device: str) -> FlaxNnxModel:
        """Return the stack as an `nnx.Sequential`, its parameters on the first device of the kind asked for."""
        return FlaxNnxModel(stack, device=first_device(device), mode=self._mode)


class FlaxNnxModel:
    """An `nnx.Sequential` of layers, each followed by its activation unless that is linear."""

    def __init__(self, stack: Stack, *, device: jax.Device, mode: str | None) -> None:
        import jax
        from flax import nnx

        self._stack = stack
        self._device = device
        self._mode = mode
        self._output: jax.Array | None = None
        # The shapes of the parameters are enough: drawing initial values costs a compilation.
        self._module = nnx.eval_shape(self._construct)
        # A copy of what Flax made: `nnx.update` takes arrays of any shape, and would leave those in its place.
        self._made = jax.tree.map(lambda each: each, nnx.state(self._module))
        self._has_values = False
        if mode != "abstract" and all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)

    def _construct(self) -> nnx.Sequential:
        from flax import nnx

        make = {"linear-general": _linear_general, "einsum": _einsum}.get(self._mode or "", _linear)
        stack, layers, streams = self._stack, [], nnx.Rngs(0)
        # A module is told its input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units = stack.input_shape[-1] if stack.input_shape else 1
        for layer in stack.layers:
            layers.append(make(layer, width, dtype=stack.dtype, param_dtype=stack.dtype, rngs=streams))
            layers += activations(nnx)[layer.activation]
            width = layer.units
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

        sizes = symbolic((batch, *self._stack.input_shape))
        return known(jax.eval_shape(outputs, shapes, jax.ShapeDtypeStruct(sizes, self._stack.dtype)), sizes)

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

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), operation by operation, or compiled as a whole."""
        self._ensure_values()
        handed = from_numpy(x, self._device)
        self._output = _compiled_call()(self._module, handed) if self._mode == "jit" else self._module(handed)
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the vector-Jacobian product of the split module gives for sum(dy * y)."""
        self._ensure_values()
        handed, cotangent = from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(self._module, handed, cotangent)
        layers = tuple(
            (to_numpy(each["kernel"][...]), to_numpy(each["bias"][...]) if "bias" in each else None)
            for each in (found["layers"][place] for place in self._layers())
        )
        return Gradients(dx=None if x.dtype.kind in "biu" else to_numpy(dx), layers=layers)

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

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a jax array has no strides."""


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
