"""The check that the memory layout of the input plays no part in the output."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import worst_of
from conformance.checks.enclosures import moved_enclosure
from conformance.checks.finding import Finding
from conformance.checks.outputs import compared_outputs
from conformance.checks.question import Probe, ReferencedProbe, Setup, with_input
from conformance.reference import Reference
from conformance.reference.lanes.draws import Draw
from conformance.sandbox.steps import Forward, Output
from conformance.table.case import Case


class LayoutProbe(ReferencedProbe):
    """A step that is fed the main input in another memory layout."""


class BroadcastProbe(LayoutProbe):
    """A step all of whose samples are the first one, in the memory of one."""

    def with_reference(self, answer_to: Callable[[Draw], Reference], main: Reference) -> Self:
        """
        Return the probe with the reference of the first sample for all samples.

        Equal samples have equal errors, of which chance says nothing: `moved_enclosure` leaves that out.
        """
        return replace(self, reference=replace(main, y=moved_enclosure(main.y, _first_repeated)))


class MemoryLayouts(Check):
    """The output for the input in other memory layouts against the reference; records what strides were handed."""

    name = "memory_layouts"

    def applies(self, case: Case) -> bool:
        """Return whether the input has several axes and elements, and no layout of its own."""
        several = math.prod(case.fed_shape) > 0 and len(case.fed_shape) > 1
        return super().applies(case) and several and case.layout == "contiguous"

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield a step for each memory layout."""
        first = setup.first
        for layout in ("transposed", "strided"):
            yield LayoutProbe(step=Forward(label=f"output, {layout}", x=first.x, layout=layout), draw=first)
        if len(first.x) > 1:
            repeated = np.ascontiguousarray(_first_repeated(first.x))
            draw = replace(with_input(first, repeated), by_chance=False)
            yield BroadcastProbe(step=Forward(label="output, broadcast", x=repeated, layout="broadcast"), draw=draw)

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels = [each.label for each in subject.question.of(LayoutProbe)]
        replies = subject.evidence.transcript.replies
        found = worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))
        answers = {label: replies[label].answer for label in labels if label in replies}
        strides = {label: each.strides for label, each in answers.items() if isinstance(each, Output)}
        return replace(found, facts={**found.facts, "strides": strides} if strides else found.facts)


def _first_repeated(array: Array) -> Array:
    """Return an array of the shape of another, all along its first axis as at its beginning."""
    return np.broadcast_to(array[:1], array.shape)
