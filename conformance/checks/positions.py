"""The check that the same kernel and bias serve every position, and that no position sees another."""

from __future__ import annotations

from dataclasses import replace

from conformance.adapters.protocol import Array
from conformance.checks.comparison import between, compare, worst_of
from conformance.checks.expectations import flattened, rows
from conformance.checks.finding import VIOLATES, Finding
from conformance.checks.subject import Subject
from conformance.sandbox.steps import Output


class PositionsIndependent:
    """
    Each position alone, and each beside others that were replaced, against what it is in the whole.

    A second model, built for (d,), is fed positions as samples of their own; whether bits agree is recorded. In other
    steps all positions but one are replaced. Positions count over the flattened leading axes.
    """

    name = "positions_independent"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        question, evidence = subject.question, subject.evidence
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, ["output"], Output, findings))
        if not question.alone:
            # An input without positions: there is nothing that could depend on another.
            findings.append(Finding(check=self.name, margin=0.0, facts={"positions": 0}))
            return worst_of(self.name, findings)
        main: Array | None = answered["output"].y if answered else None
        enclosure = evidence.expected.output("output")
        if main is not None and main.shape != enclosure.exact.shape:
            message = f"output has shape {main.shape}, expected {enclosure.exact.shape}"
            findings.append(Finding(check=self.name, outcome=VIOLATES, message=message))
            main = None
        bitwise = True
        for label, answer in evidence.answers(self.name, question.alone, Output, findings):
            findings += self._of_its_own(subject, label, answer.y)
            if main is not None and not self._is_undefined(subject, label):
                positions = list(question.alone[label])
                whole = main.reshape(flattened(enclosure).exact.shape)[positions]
                bitwise &= answer.y.tobytes() == whole.tobytes()
                pair = (answer.y, evidence.expected.output(label)), (whole, rows(enclosure, positions))
                where = f"{label}: position alone"
                findings.append(between(self.name, where, *pair, evidence.expected.line(label)))
        for label, answer in evidence.answers(self.name, question.kept, Output, findings):
            findings += self._of_its_own(subject, label, answer.y)
            if main is not None and not self._is_undefined(subject, label):
                findings.append(self._kept(subject, label, main, answer.y))
        worst = worst_of(self.name, findings)
        return replace(worst, facts={**worst.facts, "bitwise": bitwise})

    def _kept(self, subject: Subject, label: str, main: Array, got: Array) -> Finding:
        expected, position = subject.evidence.expected, subject.question.kept[label]
        if got.shape != main.shape:
            message = f"{label} has shape {got.shape}, expected {main.shape}"
            return Finding(check=self.name, outcome=VIOLATES, message=message)
        of_main, of_label = (rows(expected.output(each), (position,)) for each in ("output", label))
        shape = flattened(expected.output("output")).exact.shape
        whole, kept = (each.reshape(shape)[[position]] for each in (main, got))
        where = f"{label}: all positions but {position} replaced"
        return between(self.name, where, (kept, of_label), (whole, of_main), expected.line(label))

    def _of_its_own(self, subject: Subject, label: str, got: Array) -> list[Finding]:
        """Return what comes of comparing a step with what is declared of it, which the main output does not show."""
        expected = subject.evidence.expected
        # The rule has a reference of the main output alone, from which the others follow.
        if expected.of(label).reference is None or self._is_undefined(subject, label):
            return []
        return [compare(self.name, label, got, expected.output(label), expected.line(label))]

    def _is_undefined(self, subject: Subject, label: str) -> bool:
        expected = subject.evidence.expected
        return any("output" in expected.of(each).undefined for each in (label, "output"))
