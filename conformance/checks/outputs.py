"""The checks of outputs: their values, and those of repeated calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import bits_digest, compare, compare_answers, shape_violation, worst_of
from conformance.checks.finding import VIOLATES, Evidence, Finding
from conformance.checks.question import MAIN, REPEATED, OutputProbe
from conformance.checks.rounding_variants import variant_counts
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Output


class OutputValues(Check):
    """Compares the output of every draw with its reference, and the output that the row itself has as well."""

    name = "output"
    description = "every element of the output, for every draw"

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        evidence, question = subject.evidence, subject.question
        if question.row_output is not None and question.main is not None:
            main = question.main
            given = compare(self.name, "the output of the row", question.row_output, main.y, main.line)
            if given.outcome == VIOLATES:
                return given
        outputs: dict[str, Array] = {}
        probes = question.of(OutputProbe)
        found = worst_of(self.name, compared_outputs(self.name, evidence, [each.label for each in probes], outputs))
        with_variants = [each for each in probes if each.variants and each.label in outputs]
        counts = variant_counts((outputs[each.label], each.variants) for each in with_variants)
        margins = {} if found.margin is None else {"output": found.margin}
        digest = {"bits": bits_digest(outputs[MAIN])} if MAIN in outputs else {}
        variants = {"conduct": counts} if counts else {}
        return replace(found, facts={**found.facts, **variants, "margins": margins, **digest})


def compared_outputs(check: str, evidence: Evidence, labels: Iterable[str], outputs: dict[str, Array]) -> list[Finding]:
    """Return the findings of comparing the output of each step with its enclosure. `outputs` receives the outputs."""
    findings: list[Finding] = []
    judged: list[tuple[Enclosure, Array]] = []
    for label, answer in evidence.answers(check, labels, Output, findings):
        y = outputs[label] = answer.y
        enclosure = evidence.expected.output(label)
        if "output" in evidence.expected.of(label).undefined:
            findings.append(shape_finding(check, label, y, enclosure).at(label))
        # Repeated calls mostly return the same bits. These are compared once.
        elif not any(to is enclosure and _is_same(y, other) for to, other in judged):
            findings.append(compare(check, label, y, enclosure, evidence.expected.line(label)).at(label))
            judged.append((enclosure, y))
    return findings


def shape_finding(check: str, where: str, got: Array, enclosure: Enclosure) -> Finding:
    """Return the finding on a result whose values are declared to be undefined: only its shape is compared."""
    if got.shape == enclosure.exact.shape:
        return Finding(check=check, where=where, facts={"undefined": True})
    return shape_violation(check, where, got.shape, enclosure.exact.shape)


def _is_same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


class Repeatable(Check):
    """Compares repeated calls on the same buffer with each other, and records whether all bits agree."""

    name = "repeatable"
    description = (
        "three calls on the same buffer agree within the bound; the results record whether they agree bit for bit"
    )

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        evidence = subject.evidence
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, REPEATED, Output, findings))
        outputs = {label: answer.y for label, answer in answered.items()}
        if len(outputs) < len(REPEATED):
            return worst_of(self.name, findings)
        first, *others = REPEATED
        enclosures = {label: evidence.expected.output(label) for label in outputs}
        for label in others:
            if outputs[label].dtype != outputs[first].dtype:
                message = f"{label} is {outputs[label].dtype}, {first} was {outputs[first].dtype}"
                expected, observed = (str(outputs[each].dtype) for each in (first, label))
                findings.append(
                    Finding(
                        check=self.name,
                        outcome=VIOLATES,
                        message=message,
                        expected=expected,
                        observed=observed,
                        step=label,
                    )
                )
            if "output" in evidence.expected.of(label).undefined:
                continue
            one, other = ((outputs[each], enclosures[each]) for each in (label, first))
            where, line = f"{label} beside {first}", evidence.expected.line(label)
            findings.append(compare_answers(self.name, where, one, other, line).at(label))
        bitwise = all(outputs[label].tobytes() == outputs[first].tobytes() for label in others)
        worst = worst_of(self.name, findings)
        return replace(worst, facts={**worst.facts, "calls": len(REPEATED), "bitwise": bitwise})
