"""
Relations between answers: what must not change, or change in a known way, when the question is changed.

They need no second opinion on the values: a zero input reads the bias back and a one-hot input the kernel, row by
row; a linear layer is additive in its input; permuted positions give permuted outputs, and positions laid out on fewer
axes or more the same ones; and the memory layout of the input plays no part. Each relation has the steps it asks for;
`conformance.checks.relations` judges the answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array, Stack
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw, is_exact
from conformance.sandbox.steps import Build, Forward, Step
from conformance.table.case import MAX_RANK, Case

#: The checks that are relations: which of them a case is held to follows from its content.
RELATIONS: Final = ("positions_permuted", "axes_merged", "weights_read_back", "linear_in_x", "memory_layouts")
#: The most axes, batch included, that TensorFlow's softmax takes on the CPU.
_MOST_OF_SOFTMAX: Final = 5

#: The step whose input is equal along its first axis.
BROADCAST: Final = "output, broadcast"

#: Puts the axes before the last into another order, or makes them fewer or more: the same for an input and its output.
Rearrangement = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Relations:
    """
    What a case is asked beside its own question.

    `draws` maps the label of each step that computes to what it is given. `read_back` and `layouts` are the labels of
    steps whose outputs have references of their own. `addends` names the steps f(x), f(x'), f(x + x')
    and f(0) of an additive stack. `rearranged` maps a check, then a label, to what was done to the axes of its input.
    """

    steps: tuple[Step, ...] = ()
    draws: Mapping[str, Draw] = field(default_factory=dict)
    read_back: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    addends: tuple[str, ...] = ()
    rearranged: Mapping[str, Mapping[str, Rearrangement]] = field(default_factory=dict)


def relations_asked(case: Case) -> Iterator[str]:
    """Yield the names of the relations a case can be held to and is asked, by its content alone."""
    yield from filter(case.asks, _possible(case))


def _possible(case: Case) -> Iterator[str]:
    linear = all(layer.activation == "linear" for layer in case.layers)
    nonempty = math.prod(case.fed_shape) > 0
    if linear and nonempty and len(case.layers) == 1:
        yield "weights_read_back"
    if linear and nonempty and case.lane == "exact":
        yield "linear_in_x"
    yield from dict.fromkeys(each.check for each in _rearrangements(case))
    if nonempty and len(case.fed_shape) > 1 and case.layout == "contiguous":
        yield "memory_layouts"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rearranged:
    """One way to rearrange the axes of a case, for a model built for another shape."""

    check: str
    name: str
    input_shape: tuple[int | None, ...]
    move: Rearrangement


def _rearrangements(case: Case) -> Iterator[_Rearranged]:
    """
    Yield the ways in which the axes of a case are rearranged.

    The inner axes are reversed, made one, and the first of them made two, of which the first is as short as can be.
    """
    shape, rank = case.input_shape, len(case.input_shape)
    if case.feed_shape is not None or rank < 2:
        return
    if case.leading_axes == 1 and rank > 2:
        reverse = (*reversed(range(rank - 1)), rank - 1)
        order = (0, *(axis + 1 for axis in reverse))
        yield _Rearranged(
            check="positions_permuted",
            name="permuted",
            input_shape=tuple(shape[axis] for axis in reverse),
            move=partial(np.transpose, axes=order),
        )
    sizes = tuple(axis for axis in shape if axis is not None)
    if len(sizes) < rank:
        return
    if case.leading_axes == 1 and rank > 2:
        yield _reshaped(case, "merged", (math.prod(sizes[:-1]), sizes[-1]))
    first, *others = sizes
    most = _MOST_OF_SOFTMAX if any("softmax" in each.activation for each in case.layers) else MAX_RANK
    if rank <= 3 and first > 0 and case.leading_axes + rank < most:
        factor = next((each for each in range(2, math.isqrt(first) + 1) if first % each == 0), 1)
        yield _reshaped(case, "split", (factor, first // factor, *others))


def _reshaped(case: Case, name: str, input_shape: tuple[int, ...]) -> _Rearranged:
    leading = (*case.leading, *input_shape[:-1])
    return _Rearranged(
        check="axes_merged",
        name=name,
        input_shape=input_shape,
        move=lambda array: array.reshape((*leading, array.shape[-1])),
    )


def relations(case: Case, stack: Stack, draw: Draw, device: str) -> Relations:
    """Return the steps of every relation a case can be held to; they are asked of the model named `main`."""
    asked = set(relations_asked(case))
    activations = [layer.activation for layer in case.layers]
    steps: list[Step] = []
    draws: dict[str, Draw] = {}
    read_back: list[str] = []
    layouts: list[str] = []
    addends: tuple[str, ...] = ()
    rearranged: dict[str, dict[str, Rearrangement]] = {}
    if "weights_read_back" in asked:
        for name, x in (("zero", np.zeros_like(draw.x)), ("one-hot", _one_hot(draw.x))):
            label = f"output, {name} input"
            steps.append(Forward(label=label, x=x))
            draws[label] = replace(draw, x=x)
            read_back.append(label)
    if "linear_in_x" in asked:
        addends = ("output", "output, signs of x", "output, x and its signs", "output, nothing")
        signs = np.sign(draw.x).astype(draw.x.dtype)
        together = replace(draw, x=(draw.x + signs).astype(draw.x.dtype))
        if is_exact(together, activations, FORMATS[case.dtype]):
            inputs = (signs, together.x, np.zeros_like(draw.x))
            steps += [Forward(label=label, x=x) for label, x in zip(addends[1:], inputs, strict=True)]
            draws |= {label: computing(draw, x) for label, x in zip(addends[1:], inputs, strict=True)}
        else:
            addends = ()
    for each in filter(lambda each: each.check in asked, _rearrangements(case)):
        label, built = f"output, axes {each.name}", replace(stack, input_shape=each.input_shape)
        steps.append(Build(label=f"build {each.name}", model=each.name, stack=built, device=device))
        moved = np.ascontiguousarray(each.move(draw.x))
        steps.append(Forward(label=label, model=each.name, x=moved))
        draws[label] = computing(draw, moved)
        rearranged.setdefault(each.check, {})[label] = each.move
    if "memory_layouts" in asked:
        for layout in ("transposed", "strided"):
            label = f"output, {layout}"
            steps.append(Forward(label=label, x=draw.x, layout=layout))
            draws[label] = draw
            layouts.append(label)
        if len(draw.x) > 1:
            repeated = np.ascontiguousarray(first_repeated(draw.x))
            steps.append(Forward(label=BROADCAST, x=repeated, layout="broadcast"))
            layouts.append(BROADCAST)
            draws[BROADCAST] = replace(computing(draw, repeated), by_chance=False)
    return Relations(
        steps=tuple(steps),
        draws=draws,
        read_back=tuple(read_back),
        layouts=tuple(layouts),
        addends=addends,
        rearranged=rearranged,
    )


def computing(draw: Draw, x: Array) -> Draw:
    """Return the draw with another input, of whose output no gradient is asked."""
    units = draw.kernels[-1].shape[1]
    nothing = np.broadcast_to(np.zeros((), draw.dy.dtype), (*x.shape[:-1], units))
    return replace(draw, x=x, dy=nothing)


def first_repeated(array: Array) -> Array:
    """Return an array of the shape of another, all along its first axis as at its beginning."""
    return np.broadcast_to(array[:1], array.shape)


def moved_enclosure(enclosure: Enclosure, move: Rearrangement) -> Enclosure:
    """Return the enclosure of an output whose axes are rearranged, each element held to its own bounds alone."""
    tail = None if enclosure.tail is None else move(enclosure.tail)
    return Enclosure(exact=move(enclosure.exact), allowed=move(enclosure.allowed), tail=tail)


def _one_hot(x: Array) -> Array:
    """Return an input of the shape of x whose positions hold the unit vectors, one after the other."""
    positions, features = math.prod(x.shape[:-1]), x.shape[-1]
    hot = np.zeros((positions, features), x.dtype)
    hot[np.arange(positions), np.arange(positions) % features] = 1
    return hot.reshape(x.shape)
