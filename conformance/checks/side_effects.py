"""The checks that a step changes no array that it received, and none that an earlier step returned."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.checks.check import Check, Subject
from conformance.checks.comparison import worst_of
from conformance.checks.finding import VIOLATES, Finding
from conformance.checks.question import MAIN
from conformance.sandbox.steps import Output


class OperandsUnchanged(Check):
    """Compares x, dy and the weights of the model with what they were, after every step."""

    name = "operands_unchanged"
    description = "no step changes a byte of the x, the dy or the weights that the layer received"

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        replies = subject.evidence.transcript.replies.values()
        changes = {reply.label: reply.changed_operands for reply in replies if reply.changed_operands}
        messages = [f"{label} changed {', '.join(names)}, which it received" for label, names in changes.items()]
        return _finding(self.name, subject, messages)


class ResultsUnchanged(Check):
    """Compares the first output and the first gradients with what they were, after every later step."""

    name = "results_unchanged"
    description = "no later step changes a byte of the first output or of the first gradients"

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        replies = subject.evidence.transcript.replies.values()
        changes = {reply.label: reply.changed_results for reply in replies if reply.changed_results}
        messages = [
            f"{label} changed {', '.join(names)}, which an earlier step had returned"
            for label, names in changes.items()
        ]
        return _finding(self.name, subject, messages)


def _finding(check: str, subject: Subject, messages: Sequence[str]) -> Finding:
    """Return the violation of the first message, or a finding that conforms."""
    findings = [Finding(check=check, outcome=VIOLATES, message=each) for each in messages]
    # Without any output there is nothing that could have changed.
    list(subject.evidence.answers(check, [MAIN], Output, findings))
    return worst_of(check, findings)
