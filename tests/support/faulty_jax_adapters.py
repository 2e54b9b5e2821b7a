"""
Adapters of JAX libraries with one fault each.

`-i tests.support.faulty_jax_adapters:CompilesItsWeightsIn` runs one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.adapters.jax.arrays import from_numpy, to_numpy
from conformance.adapters.jax.equinox import EquinoxAdapter
from conformance.adapters.jax.flax_linen import FlaxLinenAdapter
from conformance.adapters.jax.flax_nnx import FlaxNnxAdapter
from conformance.adapters.protocol import Array, Stack


class _Around:
    """An honest adapter or model, but for what a subclass says."""

    def __init__(self, honest: Any) -> None:
        self.honest = honest

    def __getattr__(self, name: str) -> Any:
        return getattr(self.honest, name)


class CompilesItsWeightsIn(_Around):
    """A jitted call that closes over its weights, which become constants of the program."""

    def __init__(self) -> None:
        super().__init__(FlaxLinenAdapter(mode="jit"))

    def build(self, stack: Stack, *, device: str) -> Any:
        return _WithConstants(self.honest.build(stack, device=device))


class _WithConstants(_Around):
    def __init__(self, honest: Any) -> None:
        import jax

        super().__init__(honest)
        self.call = jax.jit(lambda x: honest._module.apply(honest._values(), x))

    def forward(self, x: Array) -> Array:
        self.honest._output = self.call(from_numpy(x, self.honest._device))
        return to_numpy(self.honest._output)


class ForgetsItsBias(_Around):
    """Shapes of layers without a bias, where one is asked for."""

    def __init__(self) -> None:
        super().__init__(FlaxNnxAdapter(mode="abstract"))

    def build(self, stack: Stack, *, device: str) -> Any:
        layers = tuple(replace(each, use_bias=False, bias=None) for each in stack.layers)
        return self.honest.build(replace(stack, layers=layers), device=device)


class MixesItsBatch(_Around):
    """A module called on the whole array, where it has to be mapped over the leading axes."""

    def __init__(self) -> None:
        super().__init__(EquinoxAdapter())

    def build(self, stack: Stack, *, device: str) -> Any:
        return _Unmapped(self.honest.build(stack, device=device))


class _Unmapped(_Around):
    def forward(self, x: Array) -> Array:
        self.honest._output = self.honest._with_values()(from_numpy(x, self.honest._device))
        return to_numpy(self.honest._output)
