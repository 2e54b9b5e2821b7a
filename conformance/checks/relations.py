"""
The checks of relations between answers (`conformance.checks.metamorphic`): each judges what its relation's steps came
to.

A relation allows the sum of the radii of the steps that it compares, which is nothing where all of them are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from conformance.checks.comparison import between, compare, worst_of
from conformance.checks.finding import VIOLATES, Finding
from conformance.checks.metamorphic import moved_enclosure
from conformance.checks.subject import Subject
from conformance.checks.values import compared_outputs
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Output


class MemoryLayouts:
    """
    The output for the input in other memory layouts against the reference; records what strides were handed.

    In the layout `broadcast` all samples are the first, and compared with its answer.
    """

    name = "memory_layouts"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels, replies = subject.question.relations.layouts, subject.evidence.transcript.replies
        found = worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))
        answers = {label: replies[label].answer for label in labels if label in replies}
        strides = {label: each.strides for label, each in answers.items() if isinstance(each, Output)}
        return replace(found, facts={**found.facts, "strides": strides} if strides else found.facts)


class LinearInX:
    """
    f(x) + f(x') = f(x + x') + f(0), exactly, where every partial sum of all four is exact.

    Where x + x' would not be, nothing is asked, and the finding says so.
    """

    name = "linear_in_x"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels, evidence = subject.question.relations.addends, subject.evidence
        if not labels:
            return Finding(check=self.name, margin=0.0, facts={"asked": False})
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, labels, Output, findings))
        if len(answered) < len(labels) or _any_undefined(subject, labels):
            return worst_of(self.name, findings)
        outputs = [answered[label].y.astype(np.float64) for label in labels]
        shapes = {each.shape for each in outputs}
        if len(shapes) > 1:
            message = f"the outputs have the shapes {sorted(shapes)}"
            return Finding(check=self.name, outcome=VIOLATES, message=message)
        enclosures = [evidence.expected.output(label) for label in labels]
        if any(each.exact.shape not in shapes for each in enclosures):
            message = f"the outputs have the shape {outputs[0].shape}, expected {enclosures[0].exact.shape}"
            return Finding(check=self.name, outcome=VIOLATES, message=message)
        x, signs, together, nothing = outputs
        e_x, e_signs, e_together, e_nothing = (each.exact for each in enclosures)
        with np.errstate(invalid="ignore"):
            apart = (e_together + e_nothing) - (e_x + e_signs)
            radius = sum((each.allowed for each in enclosures), start=np.zeros_like(x))
            # Where the answers overflow, as in a narrower format that a behaviour computes in, no sum is right.
            total = Enclosure(exact=x + signs + apart, allowed=np.where(np.isfinite(apart), radius, np.inf))
            given = together + nothing
        findings.append(compare(self.name, "f(x + x') + f(0)", given, total, "exact"))
        return worst_of(self.name, findings)


def _any_undefined(subject: Subject, labels: Iterable[str]) -> bool:
    return any("output" in subject.evidence.expected.of(label).undefined for label in labels)


@dataclass(frozen=True, slots=True)
class Rearranged:
    """A layer built for rearranged axes gives the rearranged outputs, within the sum of both bounds."""

    name: str

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        evidence, moves = subject.evidence, subject.question.relations.rearranged[self.name]
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, ["output"], Output, findings))
        main = answered["output"].y if answered else None
        enclosure = evidence.expected.output("output")
        if main is not None and main.shape != enclosure.exact.shape:
            message = f"output has shape {main.shape}, expected {enclosure.exact.shape}"
            findings.append(Finding(check=self.name, outcome=VIOLATES, message=message))
            main = None
        for label, answer in evidence.answers(self.name, moves, Output, findings):
            if _any_undefined(subject, ("output", label)):
                continue
            own, line = evidence.expected.output(label), evidence.expected.line(label)
            if evidence.expected.of(label).behaviours:
                findings.append(compare(self.name, label, answer.y, own, line))
            if main is not None:
                move = moves[label]
                moved = moved_enclosure(enclosure, move)
                findings.append(between(self.name, label, (answer.y, own), (move(main), moved), line))
        return worst_of(self.name, findings)
