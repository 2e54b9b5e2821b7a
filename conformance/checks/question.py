"""
What a case asks of an implementation: the steps, and what each of them is held to.

Turns a case and its draws into the steps of `conformance.sandbox.steps`, and remembers which reference belongs to the
label of which step. It asks; judging is `conformance.checks`'.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import cachetools
import numpy as np

from conformance.adapters.protocol import Array, Dense, Stack, Units
from conformance.checks.metamorphic import (
    BROADCAST,
    Relations,
    computing,
    first_repeated,
    moved_enclosure,
    relations,
)
from conformance.checks.rounding_behaviour import Ways, conducts
from conformance.reference import Reference, answer
from conformance.reference.formats import FORMATS, dtype_of
from conformance.reference.lanes.draws import Draw, NoDraw, draws
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Step
from conformance.stream import Stream
from conformance.table.case import Case

#: The step that is fed another number of samples.
OTHER_BATCH: Final = "output, other batch"
#: Calls on the same buffer that `repeatable` compares.
REPEATED: Final = ("output", "output again", "output once more")
#: Memory that questions of the past may take.
MOST_BYTES_KEPT: Final = 2**29
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


def _bytes_held(asked: Question) -> int:
    """Return about how much memory a question takes: what its steps feed, and what their answers are held to."""
    fed = {id(each): each.nbytes for step in asked.steps for each in _fed(step)}
    references = {id(each): each for group in _references(asked) for each in group.values()}
    return 10_000 + sum(fed.values()) + sum(each.nbytes for each in references.values())


def _fed(step: Step) -> Iterator[Array]:
    match step:
        case Forward(x=x):
            yield x
        case Differentiate(x=x, dy=dy):
            yield x
            yield dy
        case Build(stack=stack) | SetWeights(stack=stack):
            yield from (layer.kernel for layer in stack.layers if layer.kernel is not None)


def _references(asked: Question) -> Iterator[Mapping[str, Reference]]:
    yield from (asked.outputs, asked.gradients, asked.related)


#: Every implementation is asked the same: its questions, with their references, are kept as long as there is room.
_KEPT: Final[cachetools.LRUCache[Any, Question]] = cachetools.LRUCache(MOST_BYTES_KEPT, getsizeof=_bytes_held)


def forget_questions() -> None:
    """Keep none of the questions asked so far."""
    _KEPT.clear()


@cachetools.cached(_KEPT)
def question(case: Case, device: str, index: int = 0) -> Question:
    """
    Return the question of a case that expects an answer.

    Raises:
        NoDraw: no values of the lane exist for the case.
        NotImplementedError: there is no exact answer to it.
    """
    asked = unanswered(case, device, index)
    if case.lane == "shapes":
        return asked
    references = _References(case, asked.draws)
    first = references["output"]
    _hold_to_what_is_expected(case, first)
    outputs = {label: references[label] for label in asked.arrays}
    gradients = {label: references[label] for label in asked.differentiated}
    _hold_to_bounds((*outputs.values(), *gradients.values()), FORMATS[case.dtype].maximum)
    related = {label: references[label] for label in (*asked.relations.read_back, *asked.relations.layouts)}
    if BROADCAST in related:
        # Equal samples have equal errors, of which chance says nothing: `moved_enclosure` leaves that out.
        related[BROADCAST] = replace(first, y=moved_enclosure(first.y, first_repeated))
    # Each set of weights has one output by which right implementations differ.
    distinct: dict[int, str] = {}
    for label in asked.arrays:
        if label != OTHER_BATCH:
            distinct.setdefault(id(asked.draws[label]), label)
    conducts = _conducts(case, {label: asked.draws[label] for label in distinct.values()})
    return replace(asked, outputs=outputs, gradients=gradients, related=related, conducts=conducts)


class _References(dict[str, Reference]):
    """The reference of each step that computes, worked out once for each draw."""

    def __init__(self, case: Case, given: Mapping[str, Draw]) -> None:
        self._activations = [layer.activation for layer in case.layers]
        self._dtype = case.dtype
        self._given = given
        self._found: dict[int, Reference] = {}

    def __missing__(self, label: str) -> Reference:
        draw = self._given[label]
        if id(draw) not in self._found:
            self._found[id(draw)] = answer(draw, self._activations, self._dtype)
        return self._found[id(draw)]


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


@functools.lru_cache(maxsize=64)
def refusal(case: Case, device: str) -> Question:
    """Return the question of a case that must be refused: the case, and a legal sibling that must not be."""
    legal = _legal_sibling(case)
    sibling = draws(replace(legal, lane="uniform"))[0]
    fed = Stream(case.digest, "refused").uniform(case.fed_shape).astype(FORMATS[case.dtype].dtype)
    stack = stack_of(case, None)
    if None not in case.input_shape:
        # A wrong input to a legal layer: built with weights, as the layer's users would. Others have no weights.
        with contextlib.suppress(NoDraw):
            stack = stack_of(case, draws(replace(case, feed_shape=None, lane="uniform"))[0])
    return Question(
        steps=(
            Build(label="sibling build", model="sibling", stack=stack_of(legal, sibling), device=device),
            Forward(label="sibling output", model="sibling", x=sibling.x),
            Build(label="build", stack=stack, device=device),
            *([InferShapes(label="infer", batch=None)] if stack.leading_axes == 1 else []),
            Forward(label="output", x=fed),
        )
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


def _hold_to_what_is_expected(case: Case, reference: Reference) -> None:
    """
    Hold that the answer is finite, unless the row says otherwise.

    Raises:
        NoDraw: the row says so and it is finite, or the row does not and it is not.
    """
    gradients = [each for pair in reference.layers for each in pair if each is not None]
    finite = all(bool(np.isfinite(each.exact).all()) for each in (reference.y, reference.dx, *gradients))
    if finite == case.expect.nonfinite:
        raise NoDraw(
            "the answer is finite" if finite else "the answer is not finite: expect: {nonfinite: true} says so"
        )


def _hold_to_bounds(references: Iterable[Reference], maximum: float) -> None:
    """
    Hold that every element has a bound, and one within the format, whose largest number is `maximum`.

    Where an intermediate value may overflow anything might be right; where an answer may, so is an infinity.

    Raises:
        NoDraw: some element has none.
    """
    for reference in {id(each): each for each in references}.values():
        gradients = [each for pair in reference.layers for each in pair if each is not None]
        for each in (reference.y, reference.dx, *gradients):
            if not np.isfinite(each.allowed).all():
                raise NoDraw("an intermediate value may overflow, and the answer has no bound")
            if (np.isfinite(each.exact) & (each.largest > maximum)).any():
                raise NoDraw("a right answer may overflow, or may not")


def _expected(case: Case, draw: Draw) -> Array | None:
    """Return the output the row itself gives."""
    given = case.expect.output
    return None if given is None else np.broadcast_to(np.array(given, np.float64), draw.dy.shape)


def _conducts(case: Case, drawn: Mapping[str, Draw]) -> Mapping[str, Mapping[str, Ways]]:
    """Return by the label of each output what different right implementations would give, where that differs."""
    activations = [layer.activation for layer in case.layers]
    told = {label: conducts(draw, activations, case.dtype) for label, draw in drawn.items()}
    return {label: ways for label, ways in told.items() if ways}


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


def _legal_sibling(case: Case) -> Case:
    """Return a case near by that every framework takes: illegal units become 3, an absent last axis 4, no batch 2."""
    layers = tuple(layer if _is_count(layer.units) else replace(layer, units=3) for layer in case.layers)
    shape = tuple(4 if axis is None or axis <= 0 else axis for axis in case.input_shape) or (4,)
    batch = 2 if case.batch is None else case.batch
    return replace(case, input_shape=shape, layers=layers, feed_shape=None, batch=batch)


def _is_count(units: Units) -> bool:
    return isinstance(units, int) and not isinstance(units, bool) and units > 0
