"""The check that a layer without an activation is additive in its input."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from conformance.checks.check import Check, Subject
from conformance.checks.comparison import compare, worst_of
from conformance.checks.finding import VIOLATES, Finding
from conformance.checks.question import MAIN, DerivedProbe, Probe, Setup, with_input
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import is_exact
from conformance.sandbox.steps import Forward, Output
from conformance.table.case import Case


class AddendProbe(DerivedProbe):
    """A step of which every sum is exact: f(x'), f(x + x') or f(0)."""

    def derived_output(self, main: Enclosure) -> Enclosure:
        """Return the exact output of the step's own draw, without an error."""
        assert self.draw is not None, "the step computes"
        a = self.draw.x.astype(np.float64)
        for kernel, bias in zip(self.draw.kernels, self.draw.biases, strict=True):
            a = a @ kernel.astype(np.float64) + (0.0 if bias is None else bias.astype(np.float64))
        return Enclosure(exact=a, allowed=np.zeros(a.shape))


class LinearInX(Check):
    """
    f(x) + f(x') = f(x + x') + f(0), exactly, where every partial sum of all four is exact.

    x' are the signs of x. If a sum would be rounded there are no steps, and the finding says so.
    """

    name = "linear_in_x"
    description = "linear stacks on the exact lane: f(x) + f(x') = f(x + x') + f(0)"

    def applies(self, case: Case) -> bool:
        """Return whether all layers are linear, the lane is exact and the input has elements."""
        linear = all(layer.activation == "linear" for layer in case.layers)
        return super().applies(case) and linear and math.prod(case.call_shape) > 0 and case.lane == "exact"

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps for x', x + x' and 0; those for x are the main ones."""
        case, first = setup.case, setup.first
        signs = np.sign(first.x).astype(first.x.dtype)
        together = replace(first, x=(first.x + signs).astype(first.x.dtype))
        if is_exact(together, [layer.activation for layer in case.layers], FORMATS[case.dtype]):
            inputs = {"signs of x": signs, "x and its signs": together.x, "nothing": np.zeros_like(first.x)}
            for name, x in inputs.items():
                yield AddendProbe(step=Forward(label=f"output, {name}", x=x), draw=with_input(first, x))

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        labels, evidence = addends(subject.question.of(AddendProbe)), subject.evidence
        if not labels:
            return Finding(check=self.name, margin=0.0, facts={"asked": False})
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, labels, Output, findings))
        if len(answered) < len(labels) or evidence.is_any_undefined(labels):
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
            # If the answers overflow, as in a narrower format that a behaviour computes in, the sums are not compared.
            total = Enclosure(exact=x + signs + apart, allowed=np.where(np.isfinite(apart), radius, np.inf))
            given = together + nothing
        findings.append(compare(self.name, "f(x + x') + f(0)", given, total, "exact"))
        return worst_of(self.name, findings)


def addends(probes: Iterable[AddendProbe]) -> tuple[str, ...]:
    """Return the labels of the steps f(x), f(x'), f(x + x') and f(0), none if there are no such steps."""
    labels = tuple(each.label for each in probes)
    return (MAIN, *labels) if labels else ()
