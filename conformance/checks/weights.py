"""The checks of weights: the layer computes with those it was given, and with new ones once they replace them."""

from __future__ import annotations

from dataclasses import replace

from conformance.checks.comparison import worst_of
from conformance.checks.finding import Finding
from conformance.checks.subject import Subject
from conformance.checks.values import compared_gradients, compared_outputs


class WeightsReadBack:
    """A zero input gives the bias at every position, and a one-hot input the kernel's row plus the bias."""

    name = "weights_read_back"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels = subject.question.relations.read_back
        return worst_of(self.name, compared_outputs(self.name, subject.evidence, labels, {}))


class WeightsLive:
    """Outputs and gradients computed after the weights were replaced against the reference of the new weights."""

    name = "weights_live"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        question, evidence = subject.question, subject.evidence
        outputs = [label for label in question.outputs if label in question.after]
        gradients = [label for label in question.gradients if label in question.after]
        findings = compared_outputs(self.name, evidence, outputs, {})
        findings += compared_gradients(self.name, subject.case, evidence, gradients)
        found = worst_of(self.name, findings)
        message = found.message
        if message is not None and not message.startswith("no evidence"):
            message = f"after weights were replaced: {message}"
        return replace(found, message=message)
