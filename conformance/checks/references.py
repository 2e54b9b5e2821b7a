"""
The question of a case with the reference of each step that computes.

Every implementation is asked the same: questions are kept as long as there is room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import cachetools
import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.metamorphic import BROADCAST, first_repeated, moved_enclosure
from conformance.checks.question import OTHER_BATCH, Question, unanswered
from conformance.checks.rounding_behaviour import Ways, conducts
from conformance.reference import Reference, answer
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw, NoDraw
from conformance.sandbox.steps import Build, Differentiate, Forward, SetWeights, Step
from conformance.table.case import Case

#: Memory that questions of the past may take.
MOST_BYTES_KEPT: Final = 2**29


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


def _conducts(case: Case, drawn: Mapping[str, Draw]) -> Mapping[str, Mapping[str, Ways]]:
    """Return by the label of each output what different right implementations would give, where that differs."""
    activations = [layer.activation for layer in case.layers]
    told = {label: conducts(draw, activations, case.dtype) for label, draw in drawn.items()}
    return {label: ways for label, ways in told.items() if ways}
