"""The check of gradients: dx, dW and db of every layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array, Gradients
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import compare, worst_of
from conformance.checks.finding import VIOLATES, Absence, Evidence, Finding, Gradient
from conformance.checks.outputs import shape_finding
from conformance.checks.question import GradientProbe, Probe, Setup
from conformance.ledger.expectation import Expectation
from conformance.reference.draw import is_exact
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw
from conformance.sandbox.steps import Differentiate
from conformance.table.case import INTEGER_DTYPES, Case

#: The layouts of x and of dy in the steps that change both.
_LAYOUTS: Final = (("column_major", "strided"), ("padded", "column_major"))
#: The most units, and positions, over which a gradient of ones is summed: far below the largest number of float16.
_MOST_ONES: Final = 4096
#: A finding with the result that it is about: dx, dW or db, or empty where it is about several.
_OfResult = tuple[str, Finding]
_OF_WEIGHTS: Final[tuple[Gradient, Gradient]] = ("dW", "db")


class GradientValues(Check):
    """Compares dx, dW and db of every layer and every draw with their references."""

    name = "gradients"
    description = "every element of dx, and of dW and db of every layer, for every draw"

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """
        Yield steps whose x and dy lie in memory as other code leaves them, and one whose dy is a single 1.

        The gradient of a sum, as of `y.sum().backward()`, is a 1 expanded to the shape of the output.
        """
        case, first = setup.case, setup.first
        if case.layout != "contiguous" or not first.x.size or not first.dy.size:
            return
        for layout, dy_layout in _LAYOUTS:
            label = f"gradients, dy {dy_layout}"
            step = Differentiate(label=label, x=first.x, dy=first.dy, layout=layout, dy_layout=dy_layout)
            yield GradientProbe(step=step, draw=first)
        units, positions = first.dy.shape[-1], math.prod(first.dy.shape[:-1])
        if case.lane in ("exact", "uniform") and max(units, positions) <= _MOST_ONES:
            draw = _with_gradient_of_ones(case, first)
            step = Differentiate(label="gradients, dy expanded", x=draw.x, dy=draw.dy, dy_layout="expanded")
            yield GradientProbe(step=step, draw=draw)

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        labels = [each.label for each in subject.question.of(GradientProbe)]
        found = _compared(self.name, subject.case, subject.evidence, labels)
        worst = worst_of(self.name, [each for _, each in found])
        return replace(worst, facts={**worst.facts, "margins": _margins(found)})


def _with_gradient_of_ones(case: Case, draw: Draw) -> Draw:
    """Return the draw with a dy of ones, which is not random, and whose sums may not be exact."""
    changed = replace(draw, name=f"{draw.name}, dy of ones", dy=np.ones_like(draw.dy), half_widths=None)
    activations = [each.activation for each in case.layers]
    return replace(changed, exact=draw.exact and is_exact(changed, activations, FORMATS[case.dtype]))


def compared_gradients(check: str, case: Case, evidence: Evidence, labels: Iterable[str]) -> list[Finding]:
    """
    Return the findings of comparing the gradients of each step with their enclosures.

    The gradient of an input of another dtype is rounded to that dtype. An input of integers has no gradient.
    """
    return [each for _, each in _compared(check, case, evidence, labels)]


def compared_step(check: str, label: str, case: Case, gradients: Gradients, expectation: Expectation) -> list[Finding]:
    """Return the findings of comparing the gradients of one step with an expectation."""
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
        yield "", Finding(check=check, outcome=VIOLATES, message=message).at(label)
        return
    if (case.input_dtype or case.dtype) in INTEGER_DTYPES:
        if gradients.dx is not None:
            message = f"{label} has a dx, and the input is {case.input_dtype}"
            yield "dx", Finding(check=check, outcome=VIOLATES, message=message).at(label, "dx")
    elif gradients.dx is None:
        yield "dx", Finding(check=check, outcome=VIOLATES, message=f"no evidence: {label} has no dx", absence=Absence())
        return
    else:
        of_input = expectation.dtypes["dx"]
        rounded = of_input != case.dtype and str(gradients.dx.dtype) == of_input
        dx = reference.dx.rounded(FORMATS[of_input]) if rounded else reference.dx
        is_undefined = "dx" in expectation.undefined
        found = _gradient(check, f"{label}: dx", gradients.dx, dx, reference.line, is_undefined)
        yield "dx", found.at(label, "dx")
    for layer, (got, exact) in enumerate(zip(gradients.layers, reference.layers, strict=True)):
        for name, array, enclosure in zip(_OF_WEIGHTS, got, exact, strict=True):
            where = f"{label}: {name} of layer {layer}"
            found = _gradient(check, where, array, enclosure, reference.line, name in expectation.undefined)
            yield name, found.at(label, name, layer)
    for each in _dtypes(check, label, gradients, expectation):
        yield "", each.at(label)


def _dtypes(check: str, label: str, gradients: Gradients, expectation: Expectation) -> Iterator[Finding]:
    """Yield a violation if gradients of weights have another dtype, and one if dx has."""
    of_input, of_weights = expectation.dtypes["dx"], expectation.dtypes["weights"]
    named = [pair for layer in gradients.layers for pair in zip(_OF_WEIGHTS, layer, strict=True)]
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
        expected, observed = ("None" if each is None else "an array" for each in (enclosure, got))
        return Finding(check=check, outcome=VIOLATES, message=message, expected=expected, observed=observed)
    if got is None or enclosure is None:
        return Finding(check=check, margin=0.0)
    if is_undefined:
        return shape_finding(check, where, got, enclosure)
    return compare(check, where, got, enclosure, line)


def _margins(findings: Iterable[_OfResult]) -> Mapping[str, float]:
    """Return the largest margin of each kind of gradient: dx, dW and db."""
    found: dict[str, float] = {}
    for kind, each in findings:
        # A layer without a bias has no db to compare.
        if each.margin is not None and each.where is not None:
            found[kind] = max(found.get(kind, 0.0), each.margin)
    return found
