"""
JAX without a library of layers: `jnp.matmul(x, kernel) + bias` on arrays that the caller holds.

There is no layer, and so nothing that holds parameters, which is declined; shapes are inferred by `jax.eval_shape`, and
initial arrays are drawn as JAX's own tutorials draw them. The module must not import jax before it is asked for, or
compute a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from conformance.adapters.jax.arrays import (
    activations,
    devices,
    first_device,
    from_numpy,
    known,
    placement_of,
    set_full_precision,
    settings,
    symbolic,
    to_numpy,
    versions,
)
from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Units, Unsupported

if TYPE_CHECKING:
    import jax

Weights = Sequence[Any]
"""For each layer a pair of its kernel (d, m) and its bias (m,), or None without bias."""


class JaxNumPyAdapter:
    """JAX: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        set_full_precision()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of jax and of what carries arrays to it."""
        return versions()

    def settings(self) -> Mapping[str, object]:
        """Return the flags of jax that bear on values."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return the devices visible to jax."""
        return devices()

    def build(self, stack: Stack, *, device: str) -> JaxNumPyModel:
        """Return the arrays of the stack on the first device of the kind asked for."""
        return JaxNumPyModel(stack, device=first_device(device))


class JaxNumPyModel:
    """Kernels and biases as given, or drawn by `jax.random.normal` where none are."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import jax

        self._stack = stack
        self._device = device
        self._activations = tuple(layer.activation for layer in stack.layers)
        self._output: jax.Array | None = None
        if all(layer.kernel is not None for layer in stack.layers):
            self.set_weights(stack)
        else:
            self._weights: Weights = jax.device_put(self._drawn(), device)

    def _drawn(self) -> Weights:
        import jax

        drawn: list[Any] = []
        # A caller knows the input width. A scalar has no last axis to read it from: one number, one feature.
        width: Units | None = self._stack.input_shape[-1] if self._stack.input_shape else 1
        for layer, key in zip(
            self._stack.layers, jax.random.split(jax.random.key(0), len(self._activations)), strict=True
        ):
            kernel = jax.random.normal(key, (width, layer.units), self._stack.dtype)
            bias = jax.random.normal(key, (layer.units,), self._stack.dtype) if layer.use_bias else None
            drawn.append((kernel, bias))
            width = layer.units
        return drawn

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax

        sizes = symbolic((batch, *self._stack.input_shape))
        entry = jax.ShapeDtypeStruct(sizes, self._stack.dtype)
        return known(jax.eval_shape(partial(_outputs, self._activations), self._weights, entry), sizes)

    def parameters(self) -> Sequence[Parameter]:
        """Raise: JAX holds nothing."""
        raise Unsupported("JAX holds no parameters: the caller does")

    def parameter_count(self) -> None:
        """Return None: there is nothing to count."""

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape), operation by operation."""
        self._output = _outputs(self._activations, self._weights, from_numpy(x, self._device))[-1]
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the vector-Jacobian product gives for sum(dy * y)."""
        handed, cotangent = from_numpy(x, self._device), from_numpy(dy, self._device)
        self._output, found, dx = _pull_back()(self._activations, self._weights, handed, cotangent)
        layers = tuple((to_numpy(kernel), None if bias is None else to_numpy(bias)) for kernel, bias in found)
        return Gradients(dx=None if x.dtype.kind in "biu" else to_numpy(dx), layers=layers)

    def set_weights(self, stack: Stack) -> None:
        """Take other arrays."""
        self._weights = [
            (from_numpy(each.kernel, self._device), None if each.bias is None else from_numpy(each.bias, self._device))
            for each in stack.layers
        ]

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:
        """Return None: a jax array has no strides."""


def _outputs(names: Sequence[str], weights: Weights, x: jax.Array) -> Sequence[jax.Array]:
    """Return activation(x·kernel + bias) of each layer, each fed by the one before."""
    import jax
    import jax.numpy as jnp

    found = []
    for name, (kernel, bias) in zip(names, weights, strict=True):
        x = jnp.matmul(x, kernel)
        if bias is not None:
            x = x + bias
        for function in activations(jax.nn)[name]:
            x = function(x)
        found.append(x)
    return found


@cache
def _pull_back() -> Callable[..., Any]:
    """Return (names, weights, x, dy) -> (y, gradients of the weights, dx), compiled once per names and shapes."""
    import jax

    @partial(jax.jit, static_argnums=0)
    def pull_back(names: tuple[str, ...], weights: Weights, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(lambda weights, x: _outputs(names, weights, x)[-1], weights, x)
        return y, *pull(dy)

    return pull_back
