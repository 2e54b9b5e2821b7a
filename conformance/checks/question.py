"""
What a case asks of an implementation: its draws as the steps of `conformance.sandbox.steps`.

`conformance.checks.references` adds the reference of each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array, Dense, Stack
from conformance.checks.metamorphic import Relations, computing, relations
from conformance.checks.rounding_behaviour import Ways
from conformance.reference import Reference
from conformance.reference.formats import dtype_of
from conformance.reference.lanes.draws import Draw, draws
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step
from conformance.table.case import Case

#: The step that is fed another number of samples.
OTHER_BATCH: Final = "output, other batch"
#: Calls on the same buffer that `repeatable` compares.
REPEATED: Final = ("output", "output again", "output once more")
#: Single samples fed alone where the input has no positions but the batch.
MOST_ALONE: Final = 4


@dataclass(frozen=True, kw_only=True)
class Question:
    """
    The steps of a case, and what the checks need to know of them.

    `outputs`, `gradients` and `related` (of relations) map the label of a step to its reference. `differentiated` are
    the labels of the steps that ask for gradients, `arrays` the label of a forward step to the
    shape its output must have, `alone` and `kept` the labels of the positions check to positions. `after` holds the
    labels of the steps that follow a replacement of the weights, `relations` what the metamorphic checks need.
    `inferred` maps the label of each step that infers shapes to its batch. `expected` is the output the row itself
    gives, `conducts` maps the label of a forward step to the answers by which right implementations differ. `draws`
    maps the label of each step that computes to the numbers it is given and the weights its model then has.
    """

    steps: tuple[Step, ...]
    draws: Mapping[str, Draw] = field(default_factory=dict)
    outputs: Mapping[str, Reference] = field(default_factory=dict)
    gradients: Mapping[str, Reference] = field(default_factory=dict)
    related: Mapping[str, Reference] = field(default_factory=dict)
    differentiated: tuple[str, ...] = ()
    inferred: Mapping[str, int | None] = field(default_factory=lambda: {"infer": None})
    expected: Array | None = None
    conducts: Mapping[str, Mapping[str, Ways]] = field(default_factory=dict)
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    alone: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    after: frozenset[str] = frozenset()
    relations: Relations = field(default_factory=Relations)


def unanswered(case: Case, device: str, index: int = 0, drawn: Sequence[Draw] | None = None) -> Question:
    """
    Return the question of a case without the references of its steps: what is asked, and with which numbers.

    `drawn` are other draws than the case's own.

    Raises:
        NoDraw: no values of the lane exist for the case.
    """
    if case.lane == "shapes":
        return _shapes_alone(case, device)
    first, *others = draws(case, index) if drawn is None else drawn
    stack = stack_of(case, first)
    steps: list[Step] = [Build(label="build", stack=stack, device=device)]
    if case.leading_axes == 1:
        steps.append(InferShapes(label="infer", batch=None))
    steps.append(ReadParameters(label="parameters"))
    steps += [Forward(label=label, x=first.x, layout=case.layout) for label in REPEATED]
    steps.append(Differentiate(label="gradients", x=first.x, dy=first.dy, layout=case.layout))
    given: dict[str, Draw] = dict.fromkeys((*REPEATED, "gradients"), first)
    outputs, gradients = [*REPEATED], ["gradients"]
    if case.leading_axes:
        other = given[OTHER_BATCH] = _other_batch(first)
        steps.append(Forward(label=OTHER_BATCH, x=other.x, layout="contiguous"))
        outputs.append(OTHER_BATCH)
    kept = {}
    apart = case.asks("positions_independent")
    for position, x in _replaced(first.x) if apart else ():
        label = f"output, only position {position} kept"
        steps.append(Forward(label=label, x=x, layout="contiguous"))
        kept[label] = position
        given[label] = computing(first, x)
    alone = {}
    if apart:
        steps.append(Build(label="build alone", model="alone", stack=_alone(stack), device=device))
    for label, positions, x in _fed_alone(case, first.x) if apart else ():
        steps.append(Forward(label=label, model="alone", x=x))
        alone[label] = positions
        given[label] = computing(first, x)
    related = relations(case, stack, first, device)
    steps += related.steps
    given |= related.draws
    after = set()
    for draw in others:
        computed, differentiated = f"output, {draw.name}", f"gradients, {draw.name}"
        steps.append(SetWeights(label=f"new weights, {draw.name}", stack=stack_of(case, draw)))
        steps.append(Forward(label=computed, x=draw.x, layout=case.layout))
        steps.append(Differentiate(label=differentiated, x=draw.x, dy=draw.dy, layout=case.layout))
        given[computed] = given[differentiated] = draw
        outputs.append(computed)
        gradients.append(differentiated)
        after |= {computed, differentiated}
    if alone and others:
        # The other model was given no new weights: one that answers with them shares what it should own.
        label, fed = next((each.label, each) for each in steps if isinstance(each, Forward) and each.model == "alone")
        again = f"{label}, after new weights elsewhere"
        steps.append(replace(fed, label=again))
        alone[again], given[again] = alone[label], given[label]
    return Question(
        steps=tuple(_fed_as(case.input_dtype, steps)),
        draws=given,
        differentiated=tuple(gradients),
        expected=_expected(case, first),
        arrays={label: given[label].dy.shape for label in outputs},
        alone=alone,
        kept=kept,
        after=frozenset(after),
        relations=related,
    )


def _shapes_alone(case: Case, device: str) -> Question:
    """Return the question of a case of which shapes and counts are asked, and nothing is computed."""
    (batch,) = case.leading
    steps: tuple[Step, ...] = (
        Build(label="build", stack=stack_of(case, None), device=device),
        InferShapes(label="infer", batch=None),
        InferShapes(label=f"infer, batch {batch}", batch=batch),
        ReadParameters(label="parameters"),
    )
    return Question(steps=steps, inferred={"infer": None, f"infer, batch {batch}": batch})


def _expected(case: Case, draw: Draw) -> Array | None:
    """Return the output the row itself gives."""
    given = case.expect.output
    return None if given is None else np.broadcast_to(np.array(given, np.float64), draw.dy.shape)


def _fed_as(dtype: str | None, steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps with their inputs in another dtype, one array of it for each array there is."""
    fed: dict[int, Array] = {}
    for step in steps:
        if dtype is not None and isinstance(step, Forward | Differentiate):
            yield replace(step, x=fed.setdefault(id(step.x), step.x.astype(dtype_of(dtype))))
        else:
            yield step


def stack_of(case: Case, draw: Draw | None) -> Stack:
    """Return the stack an adapter is told: the layers of a case with the weights of a draw, or with none."""
    layers = tuple(
        Dense(
            units=layer.units,
            use_bias=layer.use_bias,
            activation=layer.activation,
            kernel=None if draw is None else draw.kernels[index],
            bias=None if draw is None else draw.biases[index],
        )
        for index, layer in enumerate(case.layers)
    )
    return Stack(input_shape=case.input_shape, leading_axes=case.leading_axes, dtype=case.dtype, layers=layers)


def _alone(stack: Stack) -> Stack:
    """Return the same layers built for one position, (d,)."""
    return replace(stack, input_shape=stack.input_shape[-1:], leading_axes=1)


def _other_batch(draw: Draw) -> Draw:
    """Return the draw at another batch size: its first sample, or two where it has one or none."""
    batch = draw.x.shape[0]
    if batch > 1:
        x, dy = draw.x[:1], draw.dy[:1]
    elif batch == 1:
        x, dy = np.concatenate([draw.x, draw.x]), np.concatenate([draw.dy, draw.dy])
    else:
        x = np.zeros((2, *draw.x.shape[1:]), draw.x.dtype)
        dy = np.zeros((2, *draw.dy.shape[1:]), draw.dy.dtype)
    return replace(draw, x=x, dy=dy)


def _replaced(x: Array) -> Iterator[tuple[int, Array]]:
    """Yield a position to keep and the input in which every other position has the opposite sign."""
    positions = math.prod(x.shape[:-1])
    if positions > 1 and x.shape[-1] > 0:
        position = positions // 2
        replaced = -x.reshape(positions, -1)
        replaced[position] = x.reshape(positions, -1)[position]
        yield position, replaced.reshape(x.shape)


def _fed_alone(case: Case, x: Array) -> Iterator[tuple[str, tuple[int, ...], Array]]:
    """
    Yield what the model built for (d,) is fed: a label, the positions, and the array.

    Positions of an input of higher rank become the samples of one batch; where the batch is all there is, each sample
    is fed in a call of its own.
    """
    positions = math.prod(x.shape[:-1])
    flat = x.reshape(positions, x.shape[-1])
    if len(case.input_shape) > 1:
        yield "positions as samples", tuple(range(positions)), flat
    else:
        for position in range(min(positions, MOST_ALONE)):
            yield f"sample {position} alone", (position,), flat[position : position + 1]
