"""
JAX without a library of layers: `jnp.matmul(x, kernel) + bias` on the caller's arrays.

There is no layer and so no parameters: the adapter declines that question. `jax.eval_shape` infers shapes, and initial
arrays are drawn as in JAX's own tutorials. The module must not import jax before an adapter is made, or
compute a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.adapters.jax.arrays import activations, first_device, from_numpy
from conformance.adapters.jax.model import JaxAdapter, JaxModel, Pulled, pull_back
from conformance.adapters.protocol import Parameter, Shape, Stack, Unsupported

if TYPE_CHECKING:
    import jax

#: For each layer a pair of its kernel (d, m) and its bias (m,), or None without bias.
Weights = Sequence[Any]


class JaxNumPyAdapter(JaxAdapter):
    """JAX: the forward pass eager, gradients by one jitted vector-Jacobian product."""

    def __init__(self) -> None:
        super().__init__()

    def build(self, stack: Stack, *, device: str) -> JaxNumPyModel:
        """Return the arrays of the stack on the first device of the kind."""
        return JaxNumPyModel(stack, device=first_device(device))


class JaxNumPyModel(JaxModel):
    """Kernels and biases as given, or drawn by `jax.random.normal` where none are."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        import jax

        super().__init__(stack, device=device)
        self._activations = tuple(layer.activation for layer in stack.layers)
        if stack.has_weights:
            self.set_weights(stack)
        else:
            self._weights: Weights = jax.device_put(self._drawn(), device)

    def _drawn(self) -> Weights:
        import jax

        drawn: list[Any] = []
        stack = self._stack
        keys = jax.random.split(jax.random.key(0), len(stack.layers))
        for width, layer, key in zip(stack.widths, stack.layers, keys, strict=True):
            kernel = jax.random.normal(key, (width, layer.units), stack.dtype)
            bias = jax.random.normal(key, (layer.units,), stack.dtype) if layer.use_bias else None
            drawn.append((kernel, bias))
        return drawn

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return the shapes that `jax.eval_shape` gives each layer's output, unknown axes symbolic."""
        import jax

        return self._inferred(jax.eval_shape, partial(_outputs, self._activations), self._weights, batch)

    def parameters(self) -> Sequence[Parameter]:
        """Raise: JAX has no parameters."""
        raise Unsupported("JAX holds no parameters: the caller does")

    def parameter_count(self) -> None:
        """Return None: there is nothing to count."""

    def _call(self, x: jax.Array) -> jax.Array:
        return _last_output(self._activations, self._weights, x)

    def _pull_back(self, x: jax.Array, dy: jax.Array) -> Pulled:
        return pull_back()(_last_output, self._activations, self._weights, x, dy)

    def set_weights(self, stack: Stack) -> None:
        """Replace the arrays of the next calls."""
        self._weights = [
            (from_numpy(each.kernel, self._device), None if each.bias is None else from_numpy(each.bias, self._device))
            for each in stack.layers
        ]


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


def _last_output(names: Sequence[str], weights: Weights, x: jax.Array) -> jax.Array:
    return _outputs(names, weights, x)[-1]
