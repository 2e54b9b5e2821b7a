"""The checks of weights: the layer computes with the weights it received, and with those that replace them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import worst_of
from conformance.checks.finding import Finding
from conformance.checks.gradients import compared_gradients
from conformance.checks.outputs import compared_outputs
from conformance.checks.question import GradientProbe, OutputProbe, Probe, ReferencedProbe, Setup
from conformance.sandbox.steps import Differentiate, Forward, SetWeights
from conformance.table.case import Case


class ReadBackProbe(ReferencedProbe):
    """A step whose output is the bias, or rows of the kernel plus the bias."""


class WeightsReadBack(Check):
    """Compares the outputs for a zero input and for a one-hot input with the weights."""

    name = "weights_read_back"
    description = "one linear layer: a zero input gives the bias, a one-hot input the kernel's row plus the bias"

    def applies(self, case: Case) -> bool:
        """Return whether the case has one linear layer and an input with elements."""
        one_layer = len(case.layers) == 1 and case.layers[0].activation == "linear"
        return super().applies(case) and one_layer and math.prod(case.call_shape) > 0

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps with the zero and the one-hot input."""
        first = setup.first
        for name, x in (("zero", np.zeros_like(first.x)), ("one-hot", _one_hot(first.x))):
            yield ReadBackProbe(step=Forward(label=f"output, {name} input", x=x), draw=replace(first, x=x))

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        labels = [each.label for each in subject.question.of(ReadBackProbe)]
        return worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))


def _one_hot(x: Array) -> Array:
    """Return an input of the shape of x whose positions are the unit vectors, one after the other."""
    positions, features = math.prod(x.shape[:-1]), x.shape[-1]
    hot = np.zeros((positions, features), x.dtype)
    hot[np.arange(positions), np.arange(positions) % features] = 1
    return hot.reshape(x.shape)


#: The layouts of kernels and of biases in the steps that give the first weights again.
_LAYOUTS: Final = (("column_major", "strided"), ("padded", "unaligned"))


class WeightsLive(Check):
    """
    Compares outputs and gradients after the weights were replaced with the reference of the new weights.

    In the end the first weights replace the others, in other memory layouts.
    """

    name = "weights_live"
    description = "outputs and gradients after the weights are replaced are those of the new weights"

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps that give the first weights again, laid out in memory as other code leaves them."""
        case, first = setup.case, setup.first
        for layout, bias_layout in _LAYOUTS if setup.others else ():
            name = f"first weights, {layout}"
            again = SetWeights(label=name, stack=setup.stack, kernel_layout=layout, bias_layout=bias_layout)
            output = Forward(label=f"output, {name}", x=first.x, layout=case.layout)
            gradients = Differentiate(label=f"gradients, {name}", x=first.x, dy=first.dy, layout=case.layout)
            yield Probe(step=again, after_new_weights=True)
            yield OutputProbe(step=output, draw=first, after_new_weights=True)
            yield GradientProbe(step=gradients, draw=first, after_new_weights=True)

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        question, evidence = subject.question, subject.evidence
        outputs = [each.label for each in question.of(OutputProbe) if each.after_new_weights]
        gradients = [each.label for each in question.of(GradientProbe) if each.after_new_weights]
        findings = compared_outputs(self.name, evidence, outputs, {})
        findings += compared_gradients(self.name, subject.case, evidence, gradients)
        found = worst_of(self.name, findings)
        if found.message is None or found.absence is not None:
            return found
        return replace(found, message=f"after weights were replaced: {found.message}")
