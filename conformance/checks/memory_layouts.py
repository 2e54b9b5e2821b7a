"""The check that the output does not depend on the memory layout of the input."""

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
    """A step with the main input in another memory layout."""


class BroadcastProbe(LayoutProbe):
    """A step whose samples are all the first one, stored once."""

    def with_reference(self, answer_to: Callable[[Draw], Reference], main: Reference) -> Self:
        """
        Return the probe with the reference of the first sample for all samples.

        Equal samples have equal errors, so the bound of the root mean square does not hold. `moved_enclosure` drops it.
        """
        return replace(self, reference=replace(main, y=moved_enclosure(main.y, _first_repeated)))


class MemoryLayouts(Check):
    """Compares the output for other memory layouts with the reference, and records the strides that were received."""

    name = "memory_layouts"
    description = (
        "the same input, transposed and strided in memory, gives the same answer; one sample broadcast to "
        "all gives that sample's answer"
    )

    def applies(self, case: Case) -> bool:
        """Return whether the input has several axes and elements, and no layout of its own."""
        several = math.prod(case.call_shape) > 0 and len(case.call_shape) > 1
        return super().applies(case) and several and case.layout == "contiguous"

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield a step for each memory layout."""
        first = setup.first
        for layout in ("transposed", "strided", "column_major", "padded", "unaligned"):
            yield LayoutProbe(step=Forward(label=f"output, {layout}", x=first.x, layout=layout), draw=first)
        if len(first.x) > 1:
            repeated = np.ascontiguousarray(_first_repeated(first.x))
            draw = replace(with_input(first, repeated), half_widths=None)
            yield BroadcastProbe(step=Forward(label="output, broadcast", x=repeated, layout="broadcast"), draw=draw)

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        labels = [each.label for each in subject.question.of(LayoutProbe)]
        replies = subject.evidence.transcript.replies
        found = worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))
        answers = {label: replies[label].answer for label in labels if label in replies}
        strides = {label: each.strides for label, each in answers.items() if isinstance(each, Output)}
        return replace(found, facts={**found.facts, "strides": strides} if strides else found.facts)


def _first_repeated(array: Array) -> Array:
    """Return an array of the shape of another that repeats its first sample."""
    return np.broadcast_to(array[:1], array.shape)
