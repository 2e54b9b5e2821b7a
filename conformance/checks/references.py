"""
The question of a case with the reference of each step that has one.

Every implementation is asked the same: questions are kept as long as there is room.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import cachetools
import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.composition import question_without_references
from conformance.checks.question import (
    MAIN,
    OTHER_BATCH,
    GradientProbe,
    OutputProbe,
    Probe,
    Question,
    ReferencedProbe,
)
from conformance.checks.rounding_behaviour import Ways, conducts
from conformance.reference import Reference, answer
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw, NoDraw
from conformance.sandbox.steps import Build, Differentiate, Forward, SetWeights, Step
from conformance.table.case import Case

#: Memory that questions of the past may take.
MOST_BYTES_KEPT: Final = 2**29


def _bytes_of(question: Question) -> int:
    """Return about how much memory a question takes: the inputs and weights of its steps, and their references."""
    arrays = {id(each): each.nbytes for step in question.steps for each in _arrays(step)}
    references = {id(each.reference): each.reference.nbytes for each in question.probes if each.reference is not None}
    return 10_000 + sum(arrays.values()) + sum(references.values())


def _arrays(step: Step) -> Iterator[Array]:
    match step:
        case Forward(x=x):
            yield x
        case Differentiate(x=x, dy=dy):
            yield x
            yield dy
        case Build(stack=stack) | SetWeights(stack=stack):
            yield from (layer.kernel for layer in stack.layers if layer.kernel is not None)


#: Every implementation is asked the same: its questions, with their references, are kept as long as there is room.
_KEPT: Final = cachetools.LRUCache[Hashable, Question](MOST_BYTES_KEPT, getsizeof=_bytes_of)


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
    found = question_without_references(case, device, index)
    if case.expect.error or case.lane == "shapes":
        return found
    references = _References(case)
    first = found.by_label[MAIN].draw
    assert first is not None, "the main step computes"
    main = references(first)
    _check_finiteness(case, main)
    with_variants: set[int] = set()
    probes: list[Probe] = []
    for probe in found.probes:
        if isinstance(probe, ReferencedProbe):
            probe = probe.with_reference(references, main)
        # Each set of weights has one output by which right implementations differ.
        if isinstance(probe, OutputProbe) and probe.label != OTHER_BATCH and id(probe.draw) not in with_variants:
            with_variants.add(id(probe.draw))
            probe = replace(probe, variants=_variants(case, probe))
        probes.append(probe)
    compared = [each.reference for each in probes if isinstance(each, OutputProbe | GradientProbe)]
    _check_bounds([each for each in compared if each is not None], FORMATS[case.dtype].maximum)
    return replace(found, probes=tuple(probes))


class _References:
    """The exact answers to draws of one case, each worked out once."""

    def __init__(self, case: Case) -> None:
        self._activations = [layer.activation for layer in case.layers]
        self._dtype = case.dtype
        self._found: dict[int, Reference] = {}

    def __call__(self, draw: Draw) -> Reference:
        """Return the exact answer to a draw, which is kept for as long as the question is made."""
        if id(draw) not in self._found:
            self._found[id(draw)] = answer(draw, self._activations, self._dtype)
        return self._found[id(draw)]


def _check_finiteness(case: Case, reference: Reference) -> None:
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


def _check_bounds(references: Iterable[Reference], maximum: float) -> None:
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


def _variants(case: Case, probe: OutputProbe) -> Mapping[str, Ways]:
    """Return what different right implementations would give, where that differs."""
    assert probe.draw is not None, "a step with an output computes"
    return conducts(probe.draw, [layer.activation for layer in case.layers], case.dtype)
