"""The checks of weights: the layer computes with those it was given, and with new ones once they replace them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import worst_of
from conformance.checks.finding import Finding
from conformance.checks.gradients import compared_gradients
from conformance.checks.outputs import compared_outputs
from conformance.checks.question import GradientProbe, OutputProbe, Probe, ReferencedProbe, Setup
from conformance.sandbox.steps import Forward
from conformance.table.case import Case


class ReadBackProbe(ReferencedProbe):
    """A step whose input shows the weights: the bias, or the rows of the kernel."""


class WeightsReadBack(Check):
    """A zero input gives the bias at every position, and a one-hot input the kernel's row plus the bias."""

    name = "weights_read_back"

    def applies(self, case: Case) -> bool:
        """Return whether there is one linear layer, and something to multiply."""
        one_layer = len(case.layers) == 1 and case.layers[0].activation == "linear"
        return super().applies(case) and one_layer and math.prod(case.fed_shape) > 0

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps with the zero and the one-hot input."""
        first = setup.first
        for name, x in (("zero", np.zeros_like(first.x)), ("one-hot", _one_hot(first.x))):
            yield ReadBackProbe(step=Forward(label=f"output, {name} input", x=x), draw=replace(first, x=x))

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels = [each.label for each in subject.question.of(ReadBackProbe)]
        return worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))


def _one_hot(x: Array) -> Array:
    """Return an input of the shape of x whose positions hold the unit vectors, one after the other."""
    positions, features = math.prod(x.shape[:-1]), x.shape[-1]
    hot = np.zeros((positions, features), x.dtype)
    hot[np.arange(positions), np.arange(positions) % features] = 1
    return hot.reshape(x.shape)


class WeightsLive(Check):
    """Outputs and gradients computed after the weights were replaced against the reference of the new weights."""

    name = "weights_live"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        question, evidence = subject.question, subject.evidence
        outputs = [each.label for each in question.of(OutputProbe) if each.after_new_weights]
        gradients = [each.label for each in question.of(GradientProbe) if each.after_new_weights]
        findings = compared_outputs(self.name, evidence, outputs, {})
        findings += compared_gradients(self.name, subject.case, evidence, gradients)
        found = worst_of(self.name, findings)
        if found.message is None or found.absence is not None:
            return found
        return replace(found, message=f"after weights were replaced: {found.message}")
