"""The checks of what a framework reports: shapes, parameters, the dtype of the output, and its device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from conformance.adapters.protocol import Shape
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import worst_of
from conformance.checks.finding import VIOLATES, Finding
from conformance.checks.question import MAIN, OutputProbe
from conformance.ledger.expectation import Expectation, inferred_shapes
from conformance.sandbox.steps import Forward, Inferred, InferShapes, Output, Parameters, ReadParameters
from conformance.table.case import Case
from conformance.table.rule import output_shapes, parameter_counts


class OutputShape(Check):
    """
    Compares the inferred shapes of all layers, and the shapes of the computed arrays, with the rule.

    Shapes are inferred only if there is one leading axis. If a model declines to infer, the arrays are still compared.
    """

    name = "output_shape"
    description = (
        "the shapes that the framework infers for an unknown batch and for the case's, layer by layer; the shapes "
        "of the arrays at two batch sizes"
    )

    def applies(self, case: Case) -> bool:
        """Return whether the case is legal: shapes are inferred on every lane."""
        return not case.expect.error

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        evidence, question = subject.evidence, subject.question
        findings: list[Finding] = []
        expected: Sequence[Shape] | None = None
        observed: Sequence[Shape] | None = None
        batches = {each.label: each.batch for each in question.steps if isinstance(each, InferShapes)}
        for label, answer in evidence.answers(self.name, batches, Inferred, findings):
            expected, observed = self._inferred(subject, label, batches[label]), answer.shapes
            if observed != tuple(expected):
                message = f"inferred {_shapes(observed)}, but the rule gives {_shapes(expected)}"
                findings.append(_wrong_shape(message, expected, observed).at(label))
        arrays = {each.label: each for each in question.of(OutputProbe)}
        computed = {}
        for label, output in evidence.answers(self.name, arrays, Output, findings):
            shape = computed[label] = output.y.shape
            reference = evidence.expected.of(label).reference
            assert reference is not None, "a step whose output is compared has a reference"
            wanted = reference.y.exact.shape
            if shape != wanted:
                message = f"{label} has shape {shape}, but the rule gives {wanted}"
                findings.append(_wrong_shape(message, wanted, shape).at(label))
        if expected is None:
            expected, observed = tuple(map(_shape_of_rule, arrays.values())), tuple(computed.values())
        facts = {"arrays": list(computed.values())}
        findings.append(Finding(check=self.name, expected=expected, observed=observed, facts=facts))
        return worst_of(self.name, findings)

    def _inferred(self, subject: Subject, label: str, batch: int | None) -> Sequence[Shape]:
        case = subject.case
        shapes = output_shapes(case.input_shape, [layer.units for layer in case.layers], leading_axes=1)
        if batch is not None:
            shapes = tuple((batch, *shape[1:]) for shape in shapes)
        how = subject.evidence.expected.of(label).infers
        return inferred_shapes(shapes, how, case.input_shape)


def _wrong_shape(message: str, expected: object, observed: object) -> Finding:
    return Finding(check=OutputShape.name, outcome=VIOLATES, message=message, expected=expected, observed=observed)


def _shape_of_rule(probe: OutputProbe) -> tuple[int, ...]:
    """Return the shape of an output under the rule."""
    assert probe.reference is not None, "a step whose output is compared has a reference"
    return probe.reference.y.exact.shape


def _shapes(shapes: Sequence[Sequence[int | None]]) -> str:
    return ", ".join("(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")" for shape in shapes)


class ParameterCounts(Check):
    """
    Compares the number of parameters with d*m + m, and the name, shape, dtype and trainability of each.

    The axes of a kernel other than 1 must be a permutation of the axes of (d, m) other than 1: frameworks store the
    kernel in either order, and equivalent layers add axes of length 1.
    """

    name = "parameters"
    description = (
        "the parameter count, and name, shape, dtype and trainability of each parameter, also after the weights are "
        "replaced"
    )

    def applies(self, case: Case) -> bool:
        """Return whether the case is legal: parameters are counted on every lane."""
        return not case.expect.error

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        findings: list[Finding] = []
        again = [each.label for each in subject.question.steps if isinstance(each, ReadParameters)]
        labels = dict.fromkeys(("parameters", *again))
        for label, answer in subject.evidence.answers(self.name, labels, Parameters, findings):
            findings.append(self._counted(subject.case, answer, subject.evidence.expected.of(label)))
        return worst_of(self.name, findings)

    def _counted(self, case: Case, answer: Parameters, wanted: Expectation) -> Finding:
        units = [layer.units for layer in case.layers]
        biases = [layer.use_bias for layer in case.layers]
        expected = parameter_counts(case.input_shape, units, biases)
        observed = tuple(
            sum(math.prod(each.shape) for each in answer.parameters if each.layer == layer)
            for layer in range(len(case.layers))
        )
        found = [
            {
                "layer": each.layer,
                "name": each.name,
                "reported": each.reported,
                "shape": each.shape,
                "dtype": each.dtype,
            }
            for each in answer.parameters
        ]
        finding = Finding(check=self.name, expected=expected, observed=observed, facts={"parameters": found})
        fault = next(_parameter_faults(case, answer, wanted.dtypes["parameters"]), None)
        if fault is None and observed != expected:
            fault = f"{list(observed)} parameters, but the rule gives {list(expected)}"
        if fault is None and answer.own_count is not None and int(answer.own_count) != sum(expected):
            fault = f"the framework counts {answer.own_count} parameters, but the rule gives {sum(expected)}"
        return finding if fault is None else replace(finding, outcome=VIOLATES, message=fault)


def _parameter_faults(case: Case, answer: Parameters, dtype: str) -> Iterator[str]:
    """Yield the faults of single parameters, which should have a dtype."""
    features = case.input_shape[-1]
    for layer, each in enumerate(case.layers):
        wanted = {"kernel": (features, each.units), **({"bias": (each.units,)} if each.use_bias else {})}
        names = sorted(found.name for found in answer.parameters if found.layer == layer)
        if names != sorted(wanted):
            yield f"layer {layer} has the parameters {names}, expected {sorted(wanted)}"
        for found in answer.parameters:
            if found.layer != layer or found.name not in wanted:
                continue
            shape = [axis for axis in wanted[found.name] if axis != 1]
            if sorted(axis for axis in found.shape if axis != 1) != sorted(shape):  # type: ignore[type-var]
                yield f"{found.reported} of layer {layer} has shape {found.shape}, not axes of {wanted[found.name]}"
            if found.dtype != dtype:
                yield f"{found.reported} of layer {layer} is {found.dtype}, expected {dtype}"
            if not found.trainable:
                yield f"{found.reported} of layer {layer} is not trainable"
        features = each.units  # type: ignore[assignment]
    if any(found.layer not in range(len(case.layers)) for found in answer.parameters):
        yield "a parameter belongs to no layer"


class OutputDtype(Check):
    """
    Compares the dtype of every output with that of the case.

    The main output must be there. Another output that is missing is a violation of the check that compares its values.
    """

    name = "output_dtype"
    description = "the dtype of every output: at each batch size, in each layout and after the weights are replaced"

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        findings: list[Finding] = []
        evidence = subject.evidence
        others = [each.label for each in subject.question.steps if isinstance(each, Forward) and each.label != MAIN]
        answers = [
            *evidence.answers(self.name, [MAIN], Output, findings),
            *evidence.answers(self.name, others, Output, []),
        ]
        for label, answer in answers:
            expected = evidence.expected.of(label).dtypes["output"]
            observed = str(answer.y.dtype)
            finding = Finding(check=self.name, expected=expected, observed=observed)
            if observed != expected:
                which = "the output" if label == MAIN else label
                finding = replace(finding, outcome=VIOLATES, message=f"{which} is {observed}, expected {expected}")
            findings.append(finding)
        return worst_of(self.name, findings)


class Placement(Check):
    """Compares the device of the output with that of the cell."""

    name = "placement"
    description = "the device that holds the output"

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        findings: list[Finding] = []
        for _, answer in subject.evidence.answers(self.name, [MAIN], Output, findings):
            finding = Finding(check=self.name, expected=subject.device, observed=answer.placement)
            if answer.placement != subject.device:
                message = f"the output lives on {answer.placement}, not on {subject.device}"
                finding = replace(finding, outcome=VIOLATES, message=message)
            findings.append(finding)
        return worst_of(self.name, findings)
