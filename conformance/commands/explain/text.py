"""
The text of `conformance explain`: the output shapes and parameter counts of dense layers, and the reasons for them.

The numbers come from `conformance.table.rule`, as those of the tests do. This module imports no framework, so that the
command answers at once.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from conformance.commands.explain.frameworks import notations, resolve_frameworks
from conformance.commands.explain.layer_table import Layer, length, side_by_side, stack, table, words
from conformance.table.case import ACTIVATIONS
from conformance.table.rule import Shape

#: The least width of a line (characters).
NARROWEST: Final = 40
#: The longest axis of NumPy and the frameworks.
LONGEST: Final = 2**63 - 1

#: The indentation of a line of code.
CODE: Final = " " * 4

_LABEL: Final = 12


def parse_shape(text: str) -> tuple[int, ...]:
    """
    Return the shape of one sample, written as `784,1`, `784`, `784,`, `(784, 1)` or `()`.

    Raises:
        ValueError: `text` has another form, or an axis is longer than `LONGEST`.
    """
    inner = text.strip()
    bracketed = re.fullmatch(r"\((.*)\)|\[(.*)\]", inner)
    if bracketed is not None:
        inner = (bracketed[1] or bracketed[2] or "").strip()
    if not inner and bracketed is not None:
        return ()
    axes = re.split(r"\s*,\s*", re.sub(r"\s*,$", "", inner))
    if any(re.fullmatch("[0-9]{1,30}", axis) is None for axis in axes):
        hint = "; the batch axis, None, is not part of it" if "none" in inner.lower() else ""
        form = "the lengths of its axes with commas between, as in 784,1, or () for none"
        raise ValueError(f"{_quoted(text)} is not a shape: write {form}{hint}")
    shape = tuple(map(int, axes))
    if max(shape) > LONGEST:
        raise ValueError(f"{_quoted(text)} is not a shape: an axis is at most {LONGEST:,} long")
    return shape


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}…"


def explain(
    input_shapes: Sequence[tuple[int, ...]],
    units: Sequence[int],
    activations: Sequence[str],
    use_bias: bool = True,
    width: int = 100,
    frameworks: Sequence[str] = (),
) -> str:
    """
    Return the tables of a stack of dense layers for each input shape, the reasons, and the code of some frameworks.

    - `input_shapes`: shapes of one sample, without the batch axis.
    - `units`: one entry for each layer.
    - `activations`: one for all layers, or one for each.
    - `use_bias`: whether every layer has a bias.
    - `width`: the length of a line (characters), where its content allows.
    - `frameworks`: names of frameworks whose code is shown.

    Raises:
        ValueError: there is no shape, the rule forbids one of the layers, an activation or a framework is unknown, or
            the number of activations is neither 1 nor that of the layers.
    """
    if not input_shapes:
        raise ValueError("there is no input shape to explain")
    width = max(width, NARROWEST)
    shapes = tuple(dict.fromkeys(input_shapes))
    stacks = [stack(shape, units, _activations(activations, len(units)), use_bias) for shape in shapes]
    tables = [table(layers) for layers in stacks]
    if len(shapes) > 1:
        # Keras prints no input shape above a table. Several tables need one.
        tables = [[f"input_shape={words(shape)}", *lines] for shape, lines in zip(shapes, tables, strict=True)]
    parts = ["\n".join(side_by_side(tables, width))]
    for shape, layers in zip(shapes, stacks, strict=True):
        parts.append("\n".join(_input(shape, width)))
        parts += ["\n".join(_reasons(layer, width)) for layer in layers]
    if len(shapes) > 1:
        parts.append("\n".join(_differences(stacks, width)))
    for heading, code in notations(resolve_frameworks(frameworks), list(zip(shapes, stacks, strict=True))):
        parts.append(f"{heading}\n\n{textwrap.indent(code, CODE)}")
    return "\n\n".join(parts)


def _activations(activations: Sequence[str], layers: int) -> list[str]:
    for each in activations:
        if each not in ACTIVATIONS:
            raise ValueError(f"no such activation: {each!r}; there are {', '.join(ACTIVATIONS)}")
    if len(activations) not in (1, layers):
        raise ValueError(f"{len(activations)} activations for {layers} layers: give one for all, or one per layer")
    return list(activations) * (layers if len(activations) == 1 else 1)


# Reasons


def _input(shape: tuple[int, ...], width: int) -> Iterator[str]:
    """Yield the lines about an input shape: its rank and its batch axis."""
    yield f"Input {words(shape)}"
    rank = f"{len(shape)}: {_contents(shape)}. "
    if len(shape) == 1:
        rank += f"The comma in {words(shape)} only makes a tuple of one number; it adds no axis."
    else:
        rank += "The last axis holds the features, all axes before it are positions."
    yield from _item("rank", rank, width)
    batch = f"None, put in front: {words((None, *shape))}. It is the number of samples, unknown until data comes."
    yield from _item("batch axis", batch, width)


def _reasons(layer: Layer, width: int) -> Iterator[str]:
    """Yield the lines about a layer: the axes it replaces and keeps, its parameter count, and its formula."""
    change = f"{words((None, *layer.input_shape))} -> {words((None, *layer.output_shape))}"
    yield f"{layer.name}: {change}, {_count(layer.parameters, 'parameter')}"
    features, units = _count(layer.features, "feature"), _count(layer.units, "unit")
    yield from _item("replaced", f"the last axis: {features} in, {units} out.", width)
    unchanged = ", ".join(["None (the batch)", *map(str, layer.input_shape[:-1])])
    yield from _item("kept", f"{unchanged}. Dense never flattens, moves or resizes another axis.", width)
    product = f"{layer.features:,} × {layer.units:,}"
    if layer.use_bias:
        formula = f"{product} for the kernel and {layer.units:,} for the bias: {product} + {layer.units:,}"
    else:
        formula = f"{product} for the kernel, and no bias: {product}"
    yield from _item("parameters", f"{formula} = {layer.parameters:,}. No other axis enters the count.", width)
    yield from _computation(layer, width)
    over = f"; it goes over the last axis, the {units} of each position" if layer.activation == "softmax" else ""
    yield from _item("activation", f"{layer.activation}, which enters neither shape nor count{over}.", width)


def _computation(layer: Layer, width: int) -> Iterator[str]:
    """Yield the formula and the shapes below it. Neither line is wrapped."""
    positions = layer.input_shape[:-1]
    names = list("ijkl"[: len(positions)]) if len(positions) <= 4 else [f"i{axis}" for axis in range(len(positions))]
    each = " and ".join(f"{name} in {axis}" for name, axis in zip(names, positions, strict=True))
    yield from _item("computes", f"for each sample, for each {each}:" if positions else "for each sample:", width)
    index = f"[{', '.join([*names, ':'])}]" if positions else ""
    kernel, unit = words((layer.features, layer.units)), words((layer.units,))
    indent = " " * (_LABEL + 2)
    yield f"{indent}output{index} = input{index} @ kernel{' + bias' if layer.use_bias else ''}"
    yield f"{indent}{unit} = {words((layer.features,))} @ {kernel}{f' + {unit}' if layer.use_bias else ''}"
    if positions:
        shared = "the same kernel and bias" if layer.use_bias else "the same kernel"
        count = _count(math.prod(map(length, positions)), "position")
        yield from _item("", f"with {shared} at each of the {count}.", width)


def _differences(stacks: Sequence[Sequence[Layer]], width: int) -> Iterator[str]:
    """Yield the lines on why the tables differ, or do not."""
    firsts = [layers[0] for layers in stacks]
    yield "Why they differ" if len({_totals(layers) for layers in stacks}) > 1 else "Why they do not differ"
    for first in firsts:
        contents = f"rank {len(first.input_shape)}: {_contents(first.input_shape)}"
        kernel = words((first.features, first.units))
        yield from _paragraph(f"{words(first.input_shape)} is {contents}; the first kernel is {kernel}.", width)
    sizes = {math.prod(map(length, first.input_shape)) for first in firsts}
    if len(sizes) == 1:
        held = _count(sizes.pop(), "number")
        yield from _paragraph(
            f"Each holds {held} a sample, but a layer does not count numbers: it looks at the last axis.", width
        )
    features = list(dict.fromkeys(first.features for first in firsts))
    if len(features) > 1:
        counts = list(dict.fromkeys(f"{first.features:,} gives {first.parameters:,}" for first in firsts))
        yield from _paragraph(f"The last axis alone makes the first layer's count: {', '.join(counts)}.", width)
    if len(features) < len(firsts):
        yield from _paragraph("Shapes with equal last axes have equal counts, whatever the axes before them.", width)
    yield from _paragraph("All axes before the last are kept in every output shape.", width)
    if len(stacks[0]) > 1:
        counts = [f"{layer.name} {layer.parameters:,}" for layer in stacks[0][1:]]
        sentence = (
            f"Every later layer is fed by the units of the one before, so its count is the same: {', '.join(counts)}."
        )
        yield from _paragraph(sentence, width)


def _totals(layers: Sequence[Layer]) -> tuple[tuple[Shape, int], ...]:
    return tuple((layer.output_shape, layer.parameters) for layer in layers)


# Words


def _contents(shape: Shape) -> str:
    """Return the contents of an input of a shape, in words."""
    *positions, features = map(length, shape)
    holds = _count(features, "feature")
    if not positions:
        return f"one vector of {holds}"
    count = math.prod(positions)
    product = f"{' × '.join(f'{axis:,}' for axis in positions)} = " if len(positions) > 1 else ""
    return f"{product}{_count(count, 'position')} of {holds}{' each' if count != 1 else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _item(label: str, content: str, width: int) -> list[str]:
    initial, rest = f"  {label:<{_LABEL}}", " " * (_LABEL + 2)
    return textwrap.wrap(content, width, initial_indent=initial, subsequent_indent=rest, break_on_hyphens=False)


def _paragraph(content: str, width: int) -> list[str]:
    return textwrap.wrap(f"- {content}", width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
