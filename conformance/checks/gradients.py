"""The check of gradients: dx, dW and db of every layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from conformance.adapters.protocol import Array, Gradients
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import compare, worst_of
from conformance.checks.finding import VIOLATES, Absence, Evidence, Finding
from conformance.checks.outputs import of_shape
from conformance.checks.question import GradientProbe
from conformance.ledger.expectation import Expectation
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS
from conformance.table.case import INTEGER_DTYPES, Case

#: A finding with the result that it is about: dx, dW or db, or empty where it is about several.
_OfResult = tuple[str, Finding]


class GradientValues(Check):
    """dx, dW and db of every layer and every draw against their references."""

    name = "gradients"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        labels = [each.label for each in subject.question.of(GradientProbe)]
        found = _compared(self.name, subject.case, subject.evidence, labels)
        worst = worst_of(self.name, [each for _, each in found])
        return replace(worst, facts={**worst.facts, "margins": _margins(found)})


def compared_gradients(check: str, case: Case, evidence: Evidence, labels: Iterable[str]) -> list[Finding]:
    """
    Return what comes of comparing the gradients of each step with what encloses them.

    An input of another dtype has a gradient of that dtype, rounded to it; one of integers has none.
    """
    return [each for _, each in _compared(check, case, evidence, labels)]


def compared_step(check: str, label: str, case: Case, gradients: Gradients, expectation: Expectation) -> list[Finding]:
    """Return what comes of comparing one step's gradients with what is expected of it."""
    return [each for _, each in _of_step(check, label, case, gradients, expectation)]


def _compared(check: str, case: Case, evidence: Evidence, labels: Iterable[str]) -> list[_OfResult]:
    missing: list[Finding] = []
    found: list[_OfResult] = []
    for label in labels:
        for _, gradients in evidence.answers(check, [label], Gradients, missing):
            found += _of_step(check, label, case, gradients, evidence.expected.of(label))
        found += [("", each) for each in missing]
        missing.clear()
    return found


def _of_step(check: str, label: str, case: Case, gradients: Gradients, expectation: Expectation) -> Iterator[_OfResult]:
    """Yield the findings of one step."""
    reference = expectation.reference
    assert reference is not None, "a step that differentiates has a reference"
    if len(gradients.layers) != len(reference.layers):
        message = f"{label} has gradients of {len(gradients.layers)} layers, expected {len(reference.layers)}"
        yield "", Finding(check=check, outcome=VIOLATES, message=message)
        return
    if (case.input_dtype or case.dtype) in INTEGER_DTYPES:
        if gradients.dx is not None:
            message = f"{label} has a dx, and the input is {case.input_dtype}"
            yield "dx", Finding(check=check, outcome=VIOLATES, message=message)
    elif gradients.dx is None:
        yield "dx", Finding(check=check, outcome=VIOLATES, message=f"no evidence: {label} has no dx", absence=Absence())
        return
    else:
        of_input = expectation.dtypes["dx"]
        rounded = of_input != case.dtype and str(gradients.dx.dtype) == of_input
        dx = reference.dx.rounded(FORMATS[of_input]) if rounded else reference.dx
        is_undefined = "dx" in expectation.undefined
        yield "dx", _gradient(check, f"{label}: dx", gradients.dx, dx, reference.line, is_undefined)
    for layer, (got, exact) in enumerate(zip(gradients.layers, reference.layers, strict=True)):
        for name, array, enclosure in zip(("dW", "db"), got, exact, strict=True):
            where = f"{label}: {name} of layer {layer}"
            yield name, _gradient(check, where, array, enclosure, reference.line, name in expectation.undefined)
    for each in _dtypes(check, label, gradients, expectation):
        yield "", each


def _dtypes(check: str, label: str, gradients: Gradients, expectation: Expectation) -> Iterator[Finding]:
    """Yield a violation where gradients of weights have another dtype, and one where dx has."""
    of_input, of_weights = expectation.dtypes["dx"], expectation.dtypes["weights"]
    named = [pair for layer in gradients.layers for pair in zip(("dW", "db"), layer, strict=True)]
    weights = {name: str(each.dtype) for name, each in named if each is not None and str(each.dtype) != of_weights}
    if weights:
        message = f"{label} has gradients of dtype {sorted({*weights.values()})}, expected {of_weights}"
        wanted = dict.fromkeys(weights, of_weights)
        yield Finding(check=check, outcome=VIOLATES, message=message, expected=wanted, observed=weights)
    if gradients.dx is not None and str(gradients.dx.dtype) != of_input:
        observed = str(gradients.dx.dtype)
        message = f"{label} has a dx of dtype {observed}, expected {of_input}"
        wanted, found = {"dx": of_input}, {"dx": observed}
        yield Finding(check=check, outcome=VIOLATES, message=message, expected=wanted, observed=found)


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


def _margins(findings: Iterable[_OfResult]) -> Mapping[str, float]:
    """Return the largest margin of each kind of gradient: dx, dW and db."""
    found: dict[str, float] = {}
    for kind, each in findings:
        # Of a layer without a bias db is as it should be, and was not compared.
        if each.margin is not None and each.where is not None:
            found[kind] = max(found.get(kind, 0.0), each.margin)
    return found
