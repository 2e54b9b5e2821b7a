"""The checks of outputs: their values, and those of repeated calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import between, bits, compare, worst_of
from conformance.checks.finding import VIOLATES, Evidence, Finding
from conformance.checks.question import MAIN, REPEATED, OutputProbe
from conformance.checks.rounding_behaviour import seen
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Output


class OutputValues(Check):
    """The output of every draw against its reference; the output that the row itself gives against that as well."""

    name = "output"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        evidence, question = subject.evidence, subject.question
        if question.row_output is not None and question.main is not None:
            main = question.main
            given = compare(self.name, "the output the row gives", question.row_output, main.y, main.line)
            if given.outcome == VIOLATES:
                return given
        outputs: dict[str, Array] = {}
        probes = question.of(OutputProbe)
        found = worst_of(self.name, compared_outputs(self.name, evidence, [each.label for each in probes], outputs))
        told = seen((outputs[each.label], each.variants) for each in probes if each.variants and each.label in outputs)
        margins = {} if found.margin is None else {"output": found.margin}
        same = {"bits": bits(outputs[MAIN])} if MAIN in outputs else {}
        return replace(found, facts={**found.facts, **({"conduct": told} if told else {}), "margins": margins, **same})


def compared_outputs(check: str, evidence: Evidence, labels: Iterable[str], outputs: dict[str, Array]) -> list[Finding]:
    """Return what comes of comparing the output of each step with what encloses it, and note the outputs."""
    findings: list[Finding] = []
    judged: list[tuple[Enclosure, Array]] = []
    for label, answer in evidence.answers(check, labels, Output, findings):
        y = outputs[label] = answer.y
        enclosure = evidence.expected.output(label)
        if "output" in evidence.expected.of(label).undefined:
            findings.append(of_shape(check, label, y, enclosure))
        # Repeated calls mostly answer with the same bits, which need not be compared again.
        elif not any(to is enclosure and _is_same(y, other) for to, other in judged):
            findings.append(compare(check, label, y, enclosure, evidence.expected.line(label)))
            judged.append((enclosure, y))
    return findings


def of_shape(check: str, where: str, got: Array, enclosure: Enclosure) -> Finding:
    """Return the finding on a result whose values are declared to be undefined: its shape alone is judged."""
    if got.shape == enclosure.exact.shape:
        return Finding(check=check, where=where, facts={"undefined": True})
    message = f"{where} has shape {got.shape}, expected {enclosure.exact.shape}"
    return Finding(check=check, outcome=VIOLATES, message=message, observed=got.shape, where=where)


def _is_same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


class Repeatable(Check):
    """Repeated calls on the same buffer against one another, within both their bounds; records whether bits agree."""

    name = "repeatable"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
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
                findings.append(Finding(check=self.name, outcome=VIOLATES, message=message))
            if "output" in evidence.expected.of(label).undefined:
                continue
            pair = [(outputs[each], enclosures[each]) for each in (label, first)]
            where = f"{label} beside {first}"
            findings.append(between(self.name, where, pair[0], pair[1], evidence.expected.line(label)))
        bitwise = all(outputs[label].tobytes() == outputs[first].tobytes() for label in others)
        worst = worst_of(self.name, findings)
        return replace(worst, facts={**worst.facts, "calls": len(REPEATED), "bitwise": bitwise})
