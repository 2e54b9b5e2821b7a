"""
What a framework must provide to be held to the rule, and the data that crosses the border.

An adapter is told a stack of layers with their weights, and answers what the framework inferred, holds and computed. It
is never told an expected value, a bound, or anything of another adapter. Arrays cross at two named places of each
adapter, `from_numpy` and `to_numpy`. Adapters are final: none subclasses another.

What an adapter returns must be of the types given here (`conformance.sandbox.answers`): arrays are exactly
`numpy.ndarray`, of numbers. Any integer but a bool counts as an integer, and any iterable as a sequence. What is not is
a violation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy.typing as npt
from msgspec import Meta

Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]
#: Units as a row gives them. Anything but a non-negative int is legal only where the row expects an error.
Units = int | float | bool | str | None
#: A name that an adapter reports, of at most 1,000 characters.
Name = Annotated[str, Meta(max_length=1000)]
#: The most axes that NumPy allows an array, and so a shape that an adapter reports.
Rank = Meta(max_length=64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dense:
    """
    One dense layer as an adapter is told it.

    `kernel` has shape (d, m) whatever the framework stores, `bias` shape (m,) or None without bias. Both are None where
    no weights are asked for: shape-only modes, and units that are not legal.
    """

    units: Units
    use_bias: bool
    activation: str
    kernel: Array | None
    bias: Array | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """
    Dense layers, each fed by the one before.

    `input_shape` is the shape of one sample, (d1, ..., dn, d); `leading_axes` the number of axes in front of it when
    the stack is called: 0 for no batch, 1 normally, 2 for a batch such as (2, 3). `dtype` is that of input, weights and
    arithmetic.
    """

    input_shape: tuple[int | None, ...]
    leading_axes: int
    dtype: str
    layers: tuple[Dense, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """
    One parameter array a framework holds.

    `layer` counts from 0, `name` is `kernel` or `bias`, `reported` the framework's own name for it, `shape` the shape
    as the framework stores it, `dtype` a NumPy name such as `float32`.
    """

    layer: int
    name: Name
    shape: Annotated[tuple[int, ...], Rank]
    dtype: Name
    trainable: bool
    reported: Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradients:
    """
    Gradients of sum(dy * y) by the framework's own differentiation.

    `dx` has the shape of x, or is None for an input that is not floating; `layers` holds for each layer the gradient of
    the kernel, always (d, m), and of the bias, (m,), or None without bias.
    """

    dx: Array | None
    layers: tuple[tuple[Array, Array | None], ...]


class Unsupported(Exception):
    """Raised by a model that cannot answer; only the registry decides whether that is allowed."""


class Model(Protocol):
    """A built stack of layers."""

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Return what the framework infers, without computing, one shape per layer, unknown batch as None."""
        ...

    def parameters(self) -> Sequence[Parameter]:
        """Return every parameter the framework holds for these layers, as it reports them."""
        ...

    def parameter_count(self) -> int | None:
        """Return the framework's own count of parameters, or None where it has none."""
        ...

    def forward(self, x: Array) -> Array:
        """Return the output of the last layer for x of shape (*leading, *input_shape)."""
        ...

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """Return the gradients of sum(dy * y); dy has the output's shape and dtype."""
        ...

    def set_weights(self, stack: Stack) -> None:
        """Replace all weights by those of a stack of the same shapes, in the way the framework's users do it."""
        ...

    def placement(self) -> str:
        """Return the device of the last output, `cpu` or `gpu`, read from the output itself."""
        ...

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides, in bytes, of the last input as handed to the framework, or None: it has no strides."""
        ...


class Adapter(Protocol):
    """One way of computing dense layers: `Adapter()`, or `Adapter(mode="compile")` for an adapter with modes."""

    def versions(self) -> Mapping[str, str]:
        """Return distribution name -> version of everything that takes part."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Return the flags in force, read back from the framework: TF32, x64, oneDNN, threads ..."""
        ...

    def devices(self) -> Sequence[str]:
        """Return the devices visible to the framework, of `cpu` and `gpu`."""
        ...

    def build(self, stack: Stack, *, device: str) -> Model:
        """Return the layers of `stack`, built with its weights on `device`; raises what the framework raises."""
        ...
