"""The checks of values: outputs, gradients, and repeated calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from conformance.adapters.protocol import Array, Gradients
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import between, bits, compare, worst_of
from conformance.checks.finding import VIOLATES, Evidence, Finding
from conformance.checks.question import MAIN, REPEATED, GradientProbe, OutputProbe
from conformance.checks.rounding_behaviour import seen
from conformance.ledger.expectation import Expectation
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS
from conformance.sandbox.steps import Output
from conformance.table.case import INTEGER_DTYPES, Case


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


class GradientValues(Check):
    """dx, dW and db of every layer and every draw against their references."""

    name = "gradients"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels = [each.label for each in subject.question.of(GradientProbe)]
        findings = compared_gradients(self.name, subject.case, subject.evidence, labels)
        worst = worst_of(self.name, findings)
        return replace(worst, facts={**worst.facts, "margins": _margins(findings)})


def compared_gradients(check: str, case: Case, evidence: Evidence, labels: Iterable[str]) -> list[Finding]:
    """
    Return what comes of comparing the gradients of each step with what encloses them.

    An input of another dtype has a gradient of that dtype, rounded to it; one of integers has none.
    """
    findings: list[Finding] = []
    for label, gradients in evidence.answers(check, labels, Gradients, findings):
        findings += compared_step(check, label, case, gradients, evidence.expected.of(label))
    return findings


def compared_step(check: str, label: str, case: Case, gradients: Gradients, expectation: Expectation) -> list[Finding]:
    """Return what comes of comparing one step's gradients with what is expected of it."""
    reference = expectation.reference
    assert reference is not None, "a step that differentiates has a reference"
    findings: list[Finding] = []
    of_input, of_weights = expectation.dtypes["dx"], expectation.dtypes["weights"]
    undefined = expectation.undefined
    if len(gradients.layers) != len(reference.layers):
        message = f"{label} has gradients of {len(gradients.layers)} layers, expected {len(reference.layers)}"
        return [Finding(check=check, outcome=VIOLATES, message=message)]
    if (case.input_dtype or case.dtype) in INTEGER_DTYPES:
        if gradients.dx is not None:
            message = f"{label} has a dx, and the input is {case.input_dtype}"
            findings.append(Finding(check=check, outcome=VIOLATES, message=message))
    elif gradients.dx is None:
        return [Finding(check=check, outcome=VIOLATES, message=f"no evidence: {label} has no dx")]
    else:
        rounded = of_input != case.dtype and str(gradients.dx.dtype) == of_input
        dx = reference.dx.rounded(FORMATS[of_input]) if rounded else reference.dx
        findings.append(_gradient(check, f"{label}: dx", gradients.dx, dx, reference.line, "dx" in undefined))
    for layer, (got, exact) in enumerate(zip(gradients.layers, reference.layers, strict=True)):
        for name, array, enclosure in zip(("dW", "db"), got, exact, strict=True):
            where = f"{label}: {name} of layer {layer}"
            findings.append(_gradient(check, where, array, enclosure, reference.line, name in undefined))
    named = [pair for layer in gradients.layers for pair in zip(("dW", "db"), layer, strict=True)]
    weights = {name: str(each.dtype) for name, each in named if each is not None and str(each.dtype) != of_weights}
    if weights:
        message = f"{label} has gradients of dtype {sorted({*weights.values()})}, expected {of_weights}"
        wanted = dict.fromkeys(weights, of_weights)
        findings.append(Finding(check=check, outcome=VIOLATES, message=message, expected=wanted, observed=weights))
    if gradients.dx is not None and str(gradients.dx.dtype) != of_input:
        observed = str(gradients.dx.dtype)
        message = f"{label} has a dx of dtype {observed}, expected {of_input}"
        wanted, found = {"dx": of_input}, {"dx": observed}
        findings.append(Finding(check=check, outcome=VIOLATES, message=message, expected=wanted, observed=found))
    return findings


def _gradient(
    check: str, where: str, got: Array | None, enclosure: Enclosure | None, line: str, is_undefined: bool
) -> Finding:
    if (got is None) != (enclosure is None):
        message = f"{where} is {'missing' if got is None else 'there, but the layer has no bias'}"
        return Finding(check=check, outcome=VIOLATES, message=message)
    if got is None or enclosure is None:
        return Finding(check=check, margin=0.0)
    if is_undefined:
        return of_shape(check, where, got, enclosure)
    return compare(check, where, got, enclosure, line)


def _margins(findings: Sequence[Finding]) -> Mapping[str, float]:
    """Return the largest margin of each kind of gradient: dx, dW and db."""
    found: dict[str, float] = {}
    for each in findings:
        if each.margin is not None and each.where is not None:
            kind = each.where.partition(": ")[2].partition(" ")[0]
            found[kind] = max(found.get(kind, 0.0), each.margin)
    return found


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
