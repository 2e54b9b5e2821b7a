"""
The last-axis rule: the output shape of a dense layer, and its number of parameters.

    input (d1, ..., dn, d), units m  ->  output (d1, ..., dn, m), parameters d*m + m

Every shape and count that the suite expects comes from this module. So it must stay small enough to be checked by eye,
and it imports no other module of the suite at run time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.adapters.protocol import Units

#: Length of an axis, None where it is unknown.
Axis = int | None
Shape = tuple[Axis, ...]


class RuleError(ValueError):
    """The rule forbids a layer: its last axis is missing, unknown or no length, or its units are no count."""


def output_shape(input_shape: Sequence[Axis], units: Units) -> Shape:
    """
    Return the shape (d1, ..., dn, m) that one layer of m `units` makes of `input_shape` (d1, ..., dn, d).

    Raises:
        RuleError: `input_shape` has rank 0, an axis that is no length or an unknown last one, or `units` is not a
            non-negative int.
    """
    _features(input_shape)
    return (*input_shape[:-1], _count(units))


def output_shapes(input_shape: Sequence[Axis], units: Sequence[Units], *, leading_axes: int = 0) -> tuple[Shape, ...]:
    """
    Return one output shape per layer of a stack, each layer fed by the one before.

    `leading_axes` unknown axes are put in front of every shape: 1 for the batch that Keras shows as None, 0 for the
    shapes of one sample.

    Raises:
        RuleError: there is no layer, or the rule forbids one of them.
    """
    if not units:
        raise RuleError("a stack has at least one layer")
    shapes: list[Shape] = []
    shape: Sequence[Axis] = input_shape
    for each in units:
        shape = output_shape(shape, each)
        shapes.append((*(None,) * leading_axes, *shape))
    return tuple(shapes)


def parameter_count(features: Axis, units: Units, use_bias: bool = True) -> int:
    """
    Return d*m + m for d `features` and m `units`, without the m where the layer has no bias.

    Raises:
        RuleError: `features` is unknown or no length, or `units` is not a non-negative int.
    """
    kernel = _features((features,)) * _count(units)
    return kernel + _count(units) if use_bias else kernel


def parameter_counts(
    input_shape: Sequence[Axis], units: Sequence[Units], use_bias: Sequence[bool] | bool = True
) -> tuple[int, ...]:
    """
    Return the parameter count of each layer of a stack; their `sum` is the model's.

    `use_bias` is one for all layers or one per layer. No axis but the last enters a count.

    Raises:
        RuleError: there is no layer, or the rule forbids one of them.
        ValueError: `use_bias` and `units` differ in length.
    """
    inputs = (tuple(input_shape), *output_shapes(input_shape, units)[:-1])
    biases = [use_bias] * len(units) if isinstance(use_bias, bool) else use_bias
    return tuple(_counts(inputs, units, biases))


def _counts(inputs: Sequence[Shape], units: Sequence[Units], biases: Sequence[bool]) -> Iterator[int]:
    for shape, each, bias in zip(inputs, units, biases, strict=True):
        yield parameter_count(shape[-1], each, bias)


def _features(shape: Sequence[Axis]) -> int:
    """Return the length of the last axis, after all axes are checked."""
    if not shape:
        raise RuleError("rank 0 has no last axis")
    for axis in shape:
        if axis is not None and not _is_count(axis):
            raise RuleError(f"an axis is a length of 0 or more, not {axis!r}")
    if shape[-1] is None:
        raise RuleError("the last axis is unknown")
    return shape[-1]


def _count(units: Units) -> int:
    if not isinstance(units, int) or not _is_count(units):
        raise RuleError(f"units is an integer of 0 or more, not {units!r}")
    return units


def _is_count(number: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0
