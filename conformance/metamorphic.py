"""
Relations between answers: what must not change, or change in a known way, when the question is changed.

They need no second opinion on the values: a zero input reads the bias back and a one-hot input the kernel, row by
row; a linear layer is additive in its input; permuted positions give permuted outputs; and the memory layout of the
input plays no part. Each relation has the steps it asks for (`relations`) and the check that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array, Stack
from conformance.case import Case
from conformance.checks import VIOLATES, Evidence, Finding, between, compare, worst_of
from conformance.enclosure import Enclosure
from conformance.formats import FORMATS
from conformance.reference import Reference, answer
from conformance.steps import Build, Forward, Output, Step
from conformance.values import Draw, is_exact

#: The checks that are relations: which of them a case is held to follows from its content.
RELATIONS: Final = ("positions_permuted", "weights_read_back", "linear_in_x", "memory_layouts")


@dataclass(frozen=True, kw_only=True)
class Relations:
    """
    What a case is asked beside its own question.

    `read_back` and `layouts` map the label of a step to its reference. `addends` names the steps f(x), f(x'), f(x + x')
    and f(0) of an additive stack. `permuted` maps a label to the order of axes its input was put into.
    """

    steps: tuple[Step, ...] = ()
    read_back: Mapping[str, Reference] = field(default_factory=dict)
    layouts: Mapping[str, Reference] = field(default_factory=dict)
    addends: tuple[str, ...] = ()
    permuted: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def relations_asked(case: Case) -> Iterator[str]:
    """Yield the names of the relations a case can be held to, by its content alone."""
    linear = all(layer.activation == "linear" for layer in case.layers)
    nonempty = math.prod(case.fed_shape) > 0
    if linear and nonempty and len(case.layers) == 1:
        yield "weights_read_back"
    if linear and nonempty and case.lane == "exact":
        yield "linear_in_x"
    if case.leading_axes == 1 and len(case.input_shape) > 2 and case.feed_shape is None:
        yield "positions_permuted"
    if nonempty and len(case.fed_shape) > 1 and case.layout == "contiguous":
        yield "memory_layouts"


def relations(case: Case, stack: Stack, draw: Draw, reference: Reference, device: str) -> Relations:
    """Return the steps of every relation a case can be held to; they are asked of the model named `main`."""
    asked = set(relations_asked(case))
    activations = [layer.activation for layer in case.layers]
    steps: list[Step] = []
    read_back: dict[str, Reference] = {}
    layouts: dict[str, Reference] = {}
    addends: tuple[str, ...] = ()
    permuted: dict[str, tuple[int, ...]] = {}
    if "weights_read_back" in asked:
        for name, x in (("zero", np.zeros_like(draw.x)), ("one-hot", _one_hot(draw.x))):
            label = f"output, {name} input"
            steps.append(Forward(label=label, x=x))
            read_back[label] = answer(replace(draw, x=x), activations, case.dtype)
    if "linear_in_x" in asked:
        addends = ("output", "output, signs of x", "output, x and its signs", "output, nothing")
        signs = np.sign(draw.x).astype(draw.x.dtype)
        together = replace(draw, x=(draw.x + signs).astype(draw.x.dtype))
        if is_exact(together, activations, FORMATS[case.dtype]):
            inputs = (signs, together.x, np.zeros_like(draw.x))
            steps += [Forward(label=label, x=x) for label, x in zip(addends[1:], inputs, strict=True)]
        else:
            addends = ()
    if "positions_permuted" in asked:
        order = (0, *range(draw.x.ndim - 2, 0, -1), draw.x.ndim - 1)
        label = "output, axes permuted"
        shape = tuple(stack.input_shape[axis - 1] for axis in order[1:])
        steps.append(
            Build(label="build permuted", model="permuted", stack=replace(stack, input_shape=shape), device=device)
        )
        steps.append(Forward(label=label, model="permuted", x=np.ascontiguousarray(draw.x.transpose(order))))
        permuted[label] = order
    if "memory_layouts" in asked:
        for layout in ("transposed", "strided"):
            label = f"output, {layout}"
            steps.append(Forward(label=label, x=draw.x, layout=layout))
            layouts[label] = reference
    return Relations(steps=tuple(steps), read_back=read_back, layouts=layouts, addends=addends, permuted=permuted)


def _one_hot(x: Array) -> Array:
    """Return an input of the shape of x whose positions hold the unit vectors, one after the other."""
    positions, features = math.prod(x.shape[:-1]), x.shape[-1]
    hot = np.zeros((positions, features), x.dtype)
    hot[np.arange(positions), np.arange(positions) % features] = 1
    return hot.reshape(x.shape)


def check_weights_read_back(asked: Relations, evidence: Evidence) -> Finding:
    """Hold that a zero input gives the bias at every position, and a one-hot input the kernel's row plus the bias."""
    return _outputs("weights_read_back", asked.read_back, evidence)


def check_memory_layouts(asked: Relations, evidence: Evidence) -> Finding:
    """Hold the output for the same input in other memory layouts to the reference; record what strides were handed."""
    found = _outputs("memory_layouts", asked.layouts, evidence)
    strides = {label: evidence.get("memory_layouts", label, Output).strides for label in asked.layouts}
    return replace(found, facts={"strides": strides})


def _outputs(check: str, references: Mapping[str, Reference], evidence: Evidence) -> Finding:
    return worst_of(
        [
            compare(check, label, evidence.get(check, label, Output).y, reference.y, reference.line)
            for label, reference in references.items()
        ]
    )


def check_linear_in_x(asked: Relations, evidence: Evidence) -> Finding:
    """
    Hold that f(x) + f(x') = f(x + x') + f(0), exactly, where every partial sum of all four is exact.

    Where x + x' would not be, nothing was asked, and the finding says so.
    """
    check = "linear_in_x"
    if not asked.addends:
        return Finding(check=check, margin=0.0, facts={"asked": False})
    outputs = [evidence.get(check, label, Output).y.astype(np.float64) for label in asked.addends]
    shapes = {each.shape for each in outputs}
    if len(shapes) > 1:
        return Finding(check=check, outcome=VIOLATES, message=f"the outputs have the shapes {sorted(shapes)}")
    x, signs, together, nothing = outputs
    exactly = Enclosure(exact=x + signs, allowed=np.zeros_like(x))
    return compare(check, "f(x + x') + f(0)", together + nothing, exactly, "exact")


def check_positions_permuted(asked: Relations, evidence: Evidence, reference: Reference) -> Finding:
    """Hold that a layer built for permuted axes gives the permuted outputs, within the sum of both bounds."""
    check = "positions_permuted"
    main = evidence.get(check, "output", Output).y
    findings = []
    for label, order in asked.permuted.items():
        got = evidence.get(check, label, Output).y
        if main.ndim != len(order):
            message = f"output has shape {main.shape}, expected {len(order)} axes"
            return Finding(check=check, outcome=VIOLATES, message=message)
        expected = Enclosure(exact=reference.y.exact.transpose(order), allowed=reference.y.allowed.transpose(order))
        findings.append(between(check, label, got, main.transpose(order), expected, reference.line))
    return worst_of(findings)
