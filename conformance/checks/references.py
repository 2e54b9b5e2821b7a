"""
The question of a case with the references of its steps.

All implementations have the same questions, so questions are cached.
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
from conformance.checks.rounding_variants import Variants, rounding_variants
from conformance.reference import Reference, answer
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw, NoDraw
from conformance.sandbox.steps import Build, Differentiate, Forward, SetWeights, Step
from conformance.table.case import Case

#: The size of the cache (bytes).
CACHE_BYTES: Final = 2**29


def _bytes_of(question: Question) -> int:
    """Return the approximate size of a question in memory: inputs, weights and references."""
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


_CACHE: Final = cachetools.LRUCache[Hashable, Question](CACHE_BYTES, getsizeof=_bytes_of)


def forget_questions() -> None:
    """Empty the cache."""
    _CACHE.clear()


@cachetools.cached(_CACHE)
def question(case: Case, device: str, index: int = 0) -> Question:
    """
    Return the question of a case, with references if it computes.

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
        # One output for each set of weights is enough to show the rounding variants.
        if isinstance(probe, OutputProbe) and probe.label != OTHER_BATCH and id(probe.draw) not in with_variants:
            with_variants.add(id(probe.draw))
            probe = replace(probe, variants=_variants(case, probe))
        probes.append(probe)
    compared = [each.reference for each in probes if isinstance(each, OutputProbe | GradientProbe)]
    _check_bounds([each for each in compared if each is not None], FORMATS[case.dtype].maximum)
    return replace(found, probes=tuple(probes))


class _References:
    """The exact answers to the draws of one case, each computed once."""

    def __init__(self, case: Case) -> None:
        self._activations = [layer.activation for layer in case.layers]
        self._dtype = case.dtype
        self._found: dict[int, Reference] = {}

    def __call__(self, draw: Draw) -> Reference:
        """Return the exact answer to a draw."""
        if id(draw) not in self._found:
            self._found[id(draw)] = answer(draw, self._activations, self._dtype)
        return self._found[id(draw)]


def _check_finiteness(case: Case, reference: Reference) -> None:
    """
    Check that the answer is finite, or that it is not if the row says so.

    Raises:
        NoDraw: it is finite although the row says that it is not, or the other way round.
    """
    gradients = [each for pair in reference.layers for each in pair if each is not None]
    finite = all(bool(np.isfinite(each.exact).all()) for each in (reference.y, reference.dx, *gradients))
    if finite == case.expect.nonfinite:
        raise NoDraw(
            "the answer is finite" if finite else "the answer is not finite: expect: {nonfinite: true} says so"
        )


def _check_bounds(references: Iterable[Reference], maximum: float) -> None:
    """
    Check that every element has a bound within the format, whose largest number is `maximum`.

    If an intermediate value may overflow, any answer may be right. If the answer may overflow, infinity is right too.

    Raises:
        NoDraw: an element has no such bound.
    """
    for reference in {id(each): each for each in references}.values():
        gradients = [each for pair in reference.layers for each in pair if each is not None]
        for each in (reference.y, reference.dx, *gradients):
            if not np.isfinite(each.allowed).all():
                raise NoDraw("an intermediate value may overflow, and the answer has no bound")
            if (np.isfinite(each.exact) & (each.largest > maximum)).any():
                raise NoDraw("a right answer may overflow, or may not")


def _variants(case: Case, probe: OutputProbe) -> Mapping[str, Variants]:
    """Return the outputs by which right implementations differ."""
    assert probe.draw is not None, "a step with an output computes"
    return rounding_variants(probe.draw, [layer.activation for layer in case.layers], case.dtype)
