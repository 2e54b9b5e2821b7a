"""
The interface of an adapter: the methods that it must have, and the data that it receives and returns.

An adapter receives a stack of layers with their weights. It returns what the framework inferred and computed, and the
parameters that the framework has. It never receives an expected value or a bound, and knows no other adapter. No
adapter subclasses another; adapters of one framework may share base classes.

A returned value of another type than the annotated one is a violation (`conformance.sandbox.answers`). An array must be
exactly `numpy.ndarray`, of numbers. Any integer but a bool is accepted as `int`, and any iterable as `Sequence`. An
adapter does not write into an array that it received, and an array that it returned does not change later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy.typing as npt
from msgspec import Meta

Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]
#: Units of a row. Anything but a non-negative int is legal only where the row expects an error.
Units = int | float | bool | str | None
#: A name that an adapter reports: at most 1,000 characters.
Name = Annotated[str, Meta(max_length=1000)]
#: The most axes of a NumPy array, and so of a shape that an adapter reports.
Rank = Meta(max_length=64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dense:
    """One dense layer of a stack."""

    #: Number of output features m.
    units: Units
    #: Whether the layer has a bias.
    use_bias: bool
    #: Name of the activation, such as `linear` or `relu`.
    activation: str
    #: Kernel of shape (d, m), whatever shape the framework stores. None in shape-only modes and with illegal units.
    kernel: Array | None
    #: Bias of shape (m,), None for a layer without bias and where `kernel` is None.
    bias: Array | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Dense layers, each fed by the one before."""

    #: Shape of one sample, (d1, ..., dn, d), None for an unknown axis.
    input_shape: tuple[int | None, ...]
    #: Number of axes in front of a sample in a call: 0 for no batch, 1 normally, 2 for a batch such as (2, 3).
    leading_axes: int
    #: NumPy name of the dtype of input, weights and arithmetic, such as `float32` or `bfloat16`.
    dtype: str
    #: The layers, the first one first.
    layers: tuple[Dense, ...]

    @property
    def has_weights(self) -> bool:
        """Whether every layer has a kernel."""
        return all(each.kernel is not None for each in self.layers)

    @property
    def widths(self) -> tuple[Units, ...]:
        """
        Number of input features of each layer.

        That of the first is the last axis of `input_shape`, 1 for a scalar; that of another the units before it.
        """
        first = self.input_shape[-1] if self.input_shape else 1
        return (first, *(each.units for each in self.layers[:-1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter array of a framework."""

    #: Index of the layer, from 0.
    layer: int
    #: `kernel` or `bias`; the framework's own name for any other parameter.
    name: Name
    #: Shape as the framework stores it.
    shape: Annotated[tuple[int, ...], Rank]
    #: NumPy name of the dtype, such as `float32`.
    dtype: Name
    #: Whether the framework trains it.
    trainable: bool
    #: The framework's own name for it.
    reported: Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradients:
    """Gradients of sum(dy * y) by the framework's own differentiation."""

    #: Gradient of the input, of the shape of x. None for an input that is not floating.
    dx: Array | None
    #: For each layer the gradient of the kernel, always (d, m), and of the bias, (m,), or None without bias.
    layers: tuple[tuple[Array, Array | None], ...]


class Unsupported(Exception):
    """
    Raised by an adapter that cannot answer a question.

    It is a violation unless the registry declares the check as `unanswerable` for this implementation.
    """


class Model(Protocol):
    """A built stack of layers."""

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """
        Return the output shape of each layer, batch first, as the framework infers it without computing.

        Args:
            batch: the size of the batch, or None for an unknown one. An unknown axis is None in the shapes too.

        Raises:
            Unsupported: the framework infers no shapes.
        """
        ...

    def parameters(self) -> Sequence[Parameter]:
        """
        Return every parameter of these layers, as the framework reports it.

        Raises:
            Unsupported: the framework has no parameters of layers.
        """
        ...

    def parameter_count(self) -> int | None:
        """Return the framework's own count of parameters, or None if it does not count them."""
        ...

    def forward(self, x: Array) -> Array:
        """
        Return the output of the last layer.

        Args:
            x: an array of shape (*leading, *input_shape), of any memory layout. It may be read-only, and of another
                dtype than that of the stack.

        Raises:
            Exception: what the framework raises for an input that it refuses.
        """
        ...

    def gradients(self, x: Array, dy: Array) -> Gradients:
        """
        Return the gradients of sum(dy * y).

        Args:
            x: an array as for `forward`.
            dy: an array of the output's shape and dtype.

        Raises:
            Unsupported: the framework does not differentiate.
        """
        ...

    def set_weights(self, stack: Stack) -> None:
        """
        Replace all weights in the way the framework's users do it.

        Args:
            stack: a stack of the same shapes and dtype, with other kernels and biases.
        """
        ...

    def placement(self) -> str:
        """
        Return the device of the last output, `cpu` or `gpu`, read from the output itself.

        Raises:
            RuntimeError: nothing has been computed yet.
        """
        ...

    def handed_strides(self) -> tuple[int, ...] | None:
        """Return the strides in bytes of the last input as the framework received it, None if it has no strides."""
        ...


class Adapter(Protocol):
    """One way of computing dense layers: `Adapter()`, or `Adapter(mode="compile")` for an adapter with modes."""

    def versions(self) -> Mapping[str, str]:
        """Return distribution name -> version of everything that takes part in a computation."""
        ...

    def settings(self) -> Mapping[str, object]:
        """Return flag -> value as read back from the framework: TF32, x64, oneDNN, threads and the like."""
        ...

    def devices(self) -> Sequence[str]:
        """Return the kinds of device that the framework sees: `cpu`, or `cpu` and `gpu`."""
        ...

    def build(self, stack: Stack, *, device: str) -> Model:
        """
        Return the layers of a stack, built with its weights.

        Args:
            stack: the layers. Without weights the framework draws its initial values.
            device: `cpu` or `gpu`.

        Raises:
            Unsupported: the adapter cannot build such a stack.
            Exception: what the framework raises for a stack that it refuses.
        """
        ...
