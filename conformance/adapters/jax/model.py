"""
What the adapters on JAX share: their reports of versions, flags and devices, and the calls of a model.

The module must not import jax before an adapter is made, know a layer, or compute a shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from conformance.adapters.jax.arrays import (
    devices,
    from_numpy,
    placement_of,
    set_flags,
    settings,
    shapes_of,
    symbolic,
    to_numpy,
    versions,
)
from conformance.adapters.protocol import Array, Gradients, Shape, Stack

if TYPE_CHECKING:
    import jax
    from jax import export

#: The output, the gradients of kernel and bias (None without bias) of each layer, and dx.
Pulled = tuple[Any, Sequence[tuple[Any, Any | None]], Any]


class JaxAdapter:
    """Base of the adapters on JAX: versions, flags and devices."""

    def __init__(self, *distributions: str) -> None:
        self._distributions = distributions
        set_flags()

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the library, of jax, and of what carries arrays to them."""
        return versions(*self._distributions)

    def settings(self) -> Mapping[str, object]:
        """Return the flags of jax that bear on values."""
        return settings()

    def devices(self) -> Sequence[str]:
        """Return the devices visible to jax."""
        return devices()


class JaxModel(ABC):
    """Base of the models on JAX: a stack whose arrays are on one device. A subclass has the calls of its library."""

    def __init__(self, stack: Stack, *, device: jax.Device) -> None:
        self._stack = stack
        self._device = device
        self._output: jax.Array | None = None

    @abstractmethod
    def _call(self, x: jax.Array) -> jax.Array:
        """Return the output of the last layer."""

    @abstractmethod
    def _pull_back(self, x: jax.Array, dy: jax.Array) -> Pulled:
        """Return the output and the gradients of sum(dy * y)."""

    def forward(self, x: Array) -> Array:
        """Return the output for x (*leading, *input_shape)."""
        self._output = self._call(from_numpy(x, self._device))
        return to_numpy(self._output)

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return what the library's vector-Jacobian product gives for sum(dy * y)."""
        self._output, pairs, dx = self._pull_back(from_numpy(x, self._device), from_numpy(dy, self._device))
        layers = tuple((to_numpy(kernel), None if bias is None else to_numpy(bias)) for kernel, bias in pairs)
        return Gradients(dx=None if dx is None or x.dtype.kind in "biu" else to_numpy(dx), layers=layers)

    def placement(self) -> str:
        """Return the kind of the device the last output is on."""
        return placement_of(self._output)

    def handed_strides(self) -> None:  # noqa: B027 - not a method left to a subclass
        """Return None: a jax array has no strides."""

    def _inferred(
        self,
        evaluate: Callable[..., Any],
        outputs: Callable[..., Any],
        weights: Any,
        batch: int | None,
        scope: export.SymbolicScope | None = None,
    ) -> Sequence[Shape]:
        """Return the shapes that `evaluate` gives what `outputs` makes of weights and input, unknown axes symbolic."""
        import jax

        sizes = symbolic((batch, *self._stack.input_shape), scope)
        return shapes_of(evaluate(outputs, weights, jax.ShapeDtypeStruct(sizes, self._stack.dtype)), sizes)


class InitialisedModel(JaxModel):
    """Base of the models whose library has a function `init`: it makes the parameters from a sample of the input."""

    def __init__(self, stack: Stack, init: Callable[..., Any], *, device: jax.Device) -> None:
        import jax
        from jax import export

        super().__init__(stack, device=device)
        self._init = init
        # The input width is inferred from a sample, whose shape is enough: drawing initial values costs a compilation.
        # Of that shape the last axis alone matters. A symbol belongs to a scope, which is why the model keeps one.
        self._scope = export.SymbolicScope()
        front = (*[None] * stack.leading_axes, *stack.input_shape[:-1])
        sample = (*(1 if size is None else size for size in front), *stack.input_shape[-1:])
        self._sample = jax.ShapeDtypeStruct(symbolic(sample, self._scope), stack.dtype)
        self._shapes = jax.eval_shape(init, jax.random.key(0), self._sample)
        self._weights: Any = None

    def parameter_count(self) -> int:
        """Return the sum of the sizes jax reports for the leaves of what `init` made."""
        import jax

        return sum(each.size for each in jax.tree.leaves(self._shapes))

    def _values(self) -> Any:
        """Return the parameters, drawn by the library itself where none were given."""
        import jax
        import jax.numpy as jnp

        if self._weights is None:
            drawn = self._init(jax.random.key(0), jnp.zeros(self._sample.shape, self._sample.dtype))
            self._weights = jax.device_put(drawn, self._device)
        return self._weights


@cache
def pull_back() -> Callable[..., Any]:
    """
    Return a jitted function (call, static, weights, x, dy) -> (y, gradients of the weights, dx).

    It differentiates `call(static, weights, x)` and is compiled once for equal `call`, `static` and shapes.
    """
    import jax

    @partial(jax.jit, static_argnums=(0, 1))
    def pull_back(call: Callable[..., Any], static: Any, weights: Any, x: jax.Array, dy: jax.Array) -> Any:
        y, pull = jax.vjp(partial(call, static), weights, x)
        return y, *pull(dy)

    return pull_back
