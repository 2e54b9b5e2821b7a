"""
The checks: what an implementation was observed to do beside what the reference says, one small function per check.

A check takes what came back and what was expected, and returns a `Finding`, never a bool a caller may forget.
Evidence that is missing (a step that raised, was declined or never reached) is a violation, not a pass; whether a check
may go unanswered is the registry's to say, not this module's. This module knows no adapter, no pytest and no file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conformance.adapters.protocol import Gradients
from conformance.case import INTEGER_DTYPES, Case
from conformance.chance import FEWEST, root_mean_square
from conformance.enclosure import Enclosure, Float64
from conformance.formats import FORMATS
from conformance.reference import Reference
from conformance.rule import output_shapes, parameter_counts
from conformance.steps import Declined, Inferred, Output, Parameters, Raised, Reply, Transcript, Unreached

Array = npt.NDArray[Any]

CONFORMS: Final = "conforms"
VIOLATES: Final = "violates"
UNSUPPORTED: Final = "unsupported"
#: Characters kept of an exception's message, at its beginning and at its end.
END_OF_MESSAGE: Final = 4000


@dataclass(frozen=True, kw_only=True)
class Finding:
    """
    What one check found.

    `margin` is the largest error over the largest allowed, element by element; `worst` the index of that element, with
    what was `got` there, the `exact` value and the error `allowed`. `raised` says step, type, message and module of the
    exception that left the check without evidence. `declined` is the model's own reason for not answering.
    """

    check: str
    outcome: str = CONFORMS
    message: str | None = None
    expected: Any = None
    observed: Any = None
    margin: float | None = None
    where: str | None = None
    worst: tuple[int, ...] | None = None
    got: float | None = None
    exact: float | None = None
    allowed: float | None = None
    line: str | None = None
    raised: Mapping[str, str] | None = None
    declined: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the finding as it is written to the results file: what is None or empty is left out."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "declined"}
        return {name: value for name, value in content.items() if value is not None and value != {}}


class Missing(Exception):
    """The evidence for a check is not there; carries the finding that says so."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The replies to one question, asked for by label and by the type of answer that is needed."""

    transcript: Transcript

    def get(self, check: str, label: str, kind: type[Any]) -> Any:
        """
        Return the answer to the step named `label`.

        Raises:
            Missing: there is none, or it is not of this kind; its finding is a violation of `check`.
        """
        reply = self.transcript.replies.get(label)
        if reply is None:
            raise Missing(Finding(check=check, outcome=VIOLATES, message=f"no evidence: {label} was never reached"))
        if not isinstance(reply.answer, kind):
            raise Missing(_without(check, reply, self.transcript))
        return reply.answer


def _without(check: str, reply: Reply, transcript: Transcript) -> Finding:
    """Return the violation of a check whose evidence was not given, with the exception that is the cause."""
    answer = reply.answer
    if isinstance(answer, Unreached):
        cause = transcript.replies.get(answer.because)
        if cause is not None and not isinstance(cause.answer, Unreached):
            return _without(check, cause, transcript)
    if isinstance(answer, Raised):
        message = f"no evidence: {reply.label} raised {answer.type}: {_first_line(answer.message)}"
        return Finding(check=check, outcome=VIOLATES, message=message, raised=raised_record(reply, answer))
    if isinstance(answer, Declined):
        message = f"no evidence: {reply.label} is not supported: {answer.reason}"
        return Finding(check=check, outcome=VIOLATES, message=message, declined=answer.reason)
    message = f"no evidence: {reply.label} answered {type(answer).__name__}"
    return Finding(check=check, outcome=VIOLATES, message=message)


def raised_record(reply: Reply, answer: Raised) -> dict[str, str]:
    """Return what the results file says of an exception: stage, step, type, message and the module that raised it."""
    module = answer.modules[-1] if answer.modules else "?"
    return {
        "stage": reply.stage,
        "step": reply.label,
        "type": answer.type,
        "message": _both_ends(answer.message),
        "module": module,
    }


def _both_ends(text: str) -> str:
    """Return the beginning and the end of a long message: what went wrong may stand after a trace, or before one."""
    return text if len(text) <= 2 * END_OF_MESSAGE else f"{text[:END_OF_MESSAGE]}\n…\n{text[-END_OF_MESSAGE:]}"


def _first_line(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= 200 else line[:199] + "…"


def check_output_shape(
    case: Case, evidence: Evidence, inferred: Mapping[str, int | None], arrays: Mapping[str, tuple[int, ...]]
) -> Finding:
    """
    Hold the inferred shapes, one per layer for an unknown batch, and the shapes of the arrays to the rule.

    `inferred` maps the label of a step to the batch it infers for, `arrays` the label of a forward step to the shape
    its output must have; a second batch size is among them. Shapes are inferred only where there is one leading axis.
    Where a model declines to infer, the arrays are held all the same.
    """
    check = "output_shape"
    units = [layer.units for layer in case.layers]
    expected: Any = None
    observed: Any = None
    declined: Missing | None = None
    for label, batch in inferred.items() if case.leading_axes == 1 else ():
        shapes = output_shapes(case.input_shape, units, leading_axes=1)
        expected = shapes if batch is None else tuple((batch, *shape[1:]) for shape in shapes)
        try:
            observed = evidence.get(check, label, Inferred).shapes
        except Missing as missing:
            if missing.finding.declined is None:
                raise
            declined = missing
            continue
        if observed != expected:
            message = f"inferred {_shapes(observed)}, but the rule gives {_shapes(expected)}"
            return Finding(check=check, outcome=VIOLATES, message=message, expected=expected, observed=observed)
    computed = {label: evidence.get(check, label, Output).y.shape for label in arrays}
    if expected is None:
        expected, observed = tuple(arrays.values()), tuple(computed.values())
    for label, shape in arrays.items():
        if computed[label] != shape:
            message = f"{label} has shape {computed[label]}, but the rule gives {shape}"
            return Finding(check=check, outcome=VIOLATES, message=message, expected=shape, observed=computed[label])
    if declined is not None:
        raise declined
    return Finding(check=check, expected=expected, observed=observed, facts={"arrays": list(computed.values())})


def _shapes(shapes: Sequence[Sequence[int | None]]) -> str:
    return ", ".join("(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")" for shape in shapes)


def check_parameters(case: Case, evidence: Evidence) -> Finding:
    """
    Hold the parameters to d*m + m: their count, and name, shape, dtype and trainability of each.

    The axes of a kernel's shape other than 1 must be a permutation of those of (d, m) other than 1, since frameworks
    store it in either order and equivalents add axes of one.
    """
    check = "parameters"
    answer: Parameters = evidence.get(check, "parameters", Parameters)
    units = [layer.units for layer in case.layers]
    biases = [layer.use_bias for layer in case.layers]
    expected = parameter_counts(case.input_shape, units, biases)
    observed = tuple(
        sum(math.prod(each.shape) for each in answer.parameters if each.layer == layer)
        for layer in range(len(case.layers))
    )
    found = [
        {"layer": each.layer, "name": each.name, "reported": each.reported, "shape": each.shape, "dtype": each.dtype}
        for each in answer.parameters
    ]
    finding = Finding(check=check, expected=expected, observed=observed, facts={"parameters": found})
    fault = next(_parameter_faults(case, answer), None)
    if fault is None and observed != expected:
        fault = f"{list(observed)} parameters, but the rule gives {list(expected)}"
    if fault is None and answer.own_count is not None and answer.own_count != sum(expected):
        fault = f"the framework counts {answer.own_count} parameters, but the rule gives {sum(expected)}"
    return finding if fault is None else replace(finding, outcome=VIOLATES, message=fault)


def _parameter_faults(case: Case, answer: Parameters) -> Iterator[str]:
    """Yield what is wrong with single parameters."""
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
            if found.dtype != case.dtype:
                yield f"{found.reported} of layer {layer} is {found.dtype}, expected {case.dtype}"
            if not found.trainable:
                yield f"{found.reported} of layer {layer} is not trainable"
        features = each.units  # type: ignore[assignment]
    if any(found.layer not in range(len(case.layers)) for found in answer.parameters):
        yield "a parameter belongs to no layer"


def check_output_dtype(case: Case, evidence: Evidence) -> Finding:
    """Hold the output's dtype to the case's."""
    observed = str(evidence.get("output_dtype", "output", Output).y.dtype)
    if observed != case.dtype:
        message = f"the output is {observed}, expected {case.dtype}"
        return Finding(check="output_dtype", outcome=VIOLATES, message=message, expected=case.dtype, observed=observed)
    return Finding(check="output_dtype", expected=case.dtype, observed=observed)


def check_placement(device: str, evidence: Evidence) -> Finding:
    """Hold the device the output was read from to the one asked for."""
    observed = evidence.get("placement", "output", Output).placement
    if observed != device:
        message = f"the output lives on {observed}, not on {device}"
        return Finding(check="placement", outcome=VIOLATES, message=message, expected=device, observed=observed)
    return Finding(check="placement", expected=device, observed=observed)


def compare(check: str, where: str, got: Array, enclosure: Enclosure, line: str) -> Finding:
    """
    Hold every element of `got` to its enclosure: |got - exact| <= allowed.

    Shapes are compared first, then which elements are NaN or infinite, and of which sign, then every finite element. +0
    and -0 are equal. The margin is the largest error over the allowed, 0 where both are 0.
    """
    if got.shape != enclosure.exact.shape:
        message = f"{where} has shape {got.shape}, expected {enclosure.exact.shape}"
        return Finding(check=check, outcome=VIOLATES, message=message, observed=got.shape, where=where, line=line)
    if got.size == 0:
        return Finding(check=check, margin=0.0, where=where, line=line)
    values = got.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _error(values, enclosure)
        ratio = np.where(error == 0.0, 0.0, np.where(np.isfinite(error), error / enclosure.allowed, np.inf))
    index = tuple(int(axis) for axis in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    finding = Finding(
        check=check,
        margin=float(ratio[index]),
        where=where,
        worst=index,
        got=float(values[index]),
        exact=float(enclosure.exact[index]),
        allowed=float(enclosure.allowed[index]),
        line=line,
    )
    within = np.isfinite(error) & (error <= enclosure.allowed)
    if bool(within.all()):
        return _by_chance(finding, error, enclosure)
    outside = int(within.size - np.count_nonzero(within))
    message = (
        f"{where}{list(index)} = {finding.got!r}, expected {finding.exact!r} "
        f"(|difference| {float(error[index]):.3g} > allowed {finding.allowed:.3g}); "
        f"{outside} of {within.size} elements are off"
    )
    return replace(finding, outcome=VIOLATES, message=message)


def _error(values: Float64, enclosure: Enclosure) -> Float64:
    """
    Return the error of every element: infinite where one is finite and the other is not, or they are so differently.

    Where both are the same infinity, or both NaN, there is none.
    """
    exact = enclosure.exact
    finite = np.isfinite(values) & np.isfinite(exact)
    same = (values == exact) | (np.isnan(values) & np.isnan(exact))
    return np.where(finite, enclosure.error(values), np.where(same, 0.0, np.inf))


def _by_chance(finding: Finding, error: Float64, enclosure: Enclosure) -> Finding:
    """
    Return a finding whose elements are each within their bounds, held to what they may be together.

    The root mean square of error/(u B) has the power against small systematic faults that no single element has; it is
    looked at where there are enough elements, all of them sums of products of given numbers.
    """
    if enclosure.unit is None or error.size < FEWEST:
        return finding
    scaled = error[enclosure.unit > 0.0] / enclosure.unit[enclosure.unit > 0.0]
    if scaled.size < FEWEST:
        return finding
    found, allowed = float(np.sqrt(np.mean(scaled**2))), root_mean_square(enclosure.terms, scaled.size)
    finding = replace(finding, facts={"rms": found, "rms_allowed": allowed})
    if found <= allowed:
        return finding
    message = (
        f"{finding.where}: the root mean square of error/(u B) is {found:.3g} over {scaled.size} elements, "
        f"by chance it is at most {allowed:.3g}"
    )
    return replace(finding, outcome=VIOLATES, message=message)


def worst_of(findings: Sequence[Finding]) -> Finding:
    """Return the first violation, or else the finding with the largest margin."""
    violation = next((each for each in findings if each.outcome == VIOLATES), None)
    return violation or max(findings, key=lambda each: each.margin or 0.0)


def check_output(evidence: Evidence, references: Mapping[str, Reference], expected: Array | None = None) -> Finding:
    """
    Hold the output of every draw (label of its forward step -> reference) to the reference.

    `expected` is the output that the row itself gives for its first draw; the reference must agree with it first.
    """
    if expected is not None:
        first = next(iter(references.values()))
        given = compare("output", "the output the row gives", expected, first.y, first.line)
        if given.outcome == VIOLATES:
            return given
    return worst_of(
        [
            compare("output", label, evidence.get("output", label, Output).y, reference.y, reference.line)
            for label, reference in references.items()
        ]
    )


def bits(output: Array) -> str:
    """
    Return 16 hex digits of an output's shape, dtype and bytes as they are: two outputs have equal ones where every bit
    is the same, so that +0 and -0 differ.
    """
    said = f"{output.dtype.name} {output.shape} ".encode()
    return hashlib.blake2b(said + np.ascontiguousarray(output).tobytes(), digest_size=8).hexdigest()


def check_gradients(
    evidence: Evidence, references: Mapping[str, Reference], dtype: str, input_dtype: str | None = None
) -> Finding:
    """
    Hold dx, dW and db of every layer and every draw (label of its step -> reference) to the reference.

    An input of another dtype has a gradient of that dtype, rounded to it; one of integers has none.
    """
    findings: list[Finding] = []
    of_input = input_dtype or dtype
    for label, reference in references.items():
        gradients: Gradients = evidence.get("gradients", label, Gradients)
        if len(gradients.layers) != len(reference.layers):
            message = f"{label} has gradients of {len(gradients.layers)} layers, expected {len(reference.layers)}"
            return Finding(check="gradients", outcome=VIOLATES, message=message)
        if of_input in INTEGER_DTYPES:
            if gradients.dx is not None:
                message = f"{label} has a dx, and the input is {of_input}"
                findings.append(Finding(check="gradients", outcome=VIOLATES, message=message))
        elif gradients.dx is None:
            return Finding(check="gradients", outcome=VIOLATES, message=f"no evidence: {label} has no dx")
        else:
            rounded = of_input != dtype and str(gradients.dx.dtype) == of_input
            dx = reference.dx.rounded(FORMATS[of_input]) if rounded else reference.dx
            findings.append(compare("gradients", f"{label}: dx", gradients.dx, dx, reference.line))
        for layer, (got, exact) in enumerate(zip(gradients.layers, reference.layers, strict=True)):
            for name, array, enclosure in zip(("dW", "db"), got, exact, strict=True):
                where = f"{label}: {name} of layer {layer}"
                findings.append(_gradient(where, array, enclosure, reference.line))
        weights = {str(each.dtype) for pair in gradients.layers for each in pair if each is not None}
        if weights != {dtype}:
            message = f"{label} has gradients of dtype {sorted(weights)}, expected {dtype}"
            findings.append(Finding(check="gradients", outcome=VIOLATES, message=message))
        if gradients.dx is not None and str(gradients.dx.dtype) != of_input:
            message = f"{label} has a dx of dtype {gradients.dx.dtype}, expected {of_input}"
            findings.append(Finding(check="gradients", outcome=VIOLATES, message=message))
    worst = worst_of(findings)
    return replace(worst, facts={**worst.facts, "margins": _margins(findings)})


def _margins(findings: Sequence[Finding]) -> dict[str, float]:
    """Return the largest margin of each kind of gradient: dx, dW and db."""
    found: dict[str, float] = {}
    for each in findings:
        if each.margin is not None and each.where is not None:
            kind = each.where.partition(": ")[2].partition(" ")[0]
            found[kind] = max(found.get(kind, 0.0), each.margin)
    return found


def _gradient(where: str, got: Array | None, enclosure: Enclosure | None, line: str) -> Finding:
    if (got is None) != (enclosure is None):
        message = f"{where} is {'missing' if got is None else 'there, but the layer has no bias'}"
        return Finding(check="gradients", outcome=VIOLATES, message=message)
    if got is None or enclosure is None:
        return Finding(check="gradients", margin=0.0)
    return compare("gradients", where, got, enclosure, line)


def check_repeatable(evidence: Evidence, labels: Sequence[str], reference: Reference) -> Finding:
    """
    Hold repeated calls on the same buffer to one another: within both their bounds, and record whether bits agree.

    `labels` names three forward steps or more.
    """
    first, *others = [evidence.get("repeatable", label, Output).y for label in labels]
    findings = []
    for label, other in zip(labels[1:], others, strict=True):
        if other.dtype != first.dtype:
            message = f"{label} is {other.dtype}, {labels[0]} was {first.dtype}"
            findings.append(Finding(check="repeatable", outcome=VIOLATES, message=message))
        findings.append(between("repeatable", f"{label} beside {labels[0]}", other, first, reference.y, reference.line))
    bitwise = all(other.tobytes() == first.tobytes() for other in others)
    return replace(worst_of(findings), facts={"calls": len(labels), "bitwise": bitwise})


def between(check: str, where: str, got: Array, other: Array, enclosure: Enclosure, line: str) -> Finding:
    """Hold two answers to the same question to one another: they differ by at most the sum of both bounds."""
    if other.shape != enclosure.exact.shape:
        message = f"{where}: shape {other.shape}, expected {enclosure.exact.shape}"
        return Finding(check=check, outcome=VIOLATES, message=message, observed=other.shape, where=where, line=line)
    between = Enclosure(exact=other.astype(np.float64), allowed=2.0 * enclosure.allowed)
    return compare(check, where, got, between, line)


def check_weights_live(
    evidence: Evidence,
    outputs: Mapping[str, Reference],
    gradients: Mapping[str, Reference],
    dtype: str,
    input_dtype: str | None = None,
) -> Finding:
    """
    Hold outputs and gradients computed after weights were replaced to the reference for the new weights.

    Where a model declines to differentiate, the outputs are held all the same.
    """
    declined: Missing | None = None
    for label in (*outputs, *gradients):
        try:
            evidence.get("weights_live", label, Output if label in outputs else Gradients)
        except Missing as missing:
            if missing.finding.declined is None or label in outputs:
                raise
            declined = missing
    found = check_output(evidence, outputs)
    if declined is None:
        found = worst_of([found, check_gradients(evidence, gradients, dtype, input_dtype)])
    elif found.outcome != VIOLATES:
        raise declined
    message = found.message and f"after weights were replaced: {found.message}"
    return replace(found, check="weights_live", message=message)


def check_positions_independent(
    evidence: Evidence, alone: Mapping[str, tuple[int, ...]], kept: Mapping[str, int], reference: Reference
) -> Finding:
    """
    Hold that the same kernel and bias serve every position, and that no position sees another.

    `alone` maps the label of a forward step of a second model, built for (d,), to the positions it was fed, each as a
    sample of its own, and whether bits agree is recorded; `kept` maps the label of a step in which every position but
    one was replaced to the one kept. Positions count over the flattened leading axes.
    """
    check = "positions_independent"
    main = evidence.get(check, "output", Output).y
    if main.shape != reference.y.exact.shape:
        message = f"output has shape {main.shape}, expected {reference.y.exact.shape}"
        return Finding(check=check, outcome=VIOLATES, message=message)
    units = main.shape[-1]
    flat = reference.y.reshape((-1, units) if units else (math.prod(main.shape[:-1]), 0))
    rows = main.reshape(flat.exact.shape)
    bitwise = True
    if not alone:
        # An input without positions: there is nothing that could depend on another.
        return Finding(check=check, margin=0.0, facts={"positions": 0})
    findings = []
    for label, positions in alone.items():
        got = evidence.get(check, label, Output).y
        where = f"{label}: position alone"
        chosen = _rows(flat, positions)
        bitwise &= got.tobytes() == rows[list(positions)].tobytes()
        findings.append(between(check, where, got, rows[list(positions)], chosen, reference.line))
    for label, position in kept.items():
        got = evidence.get(check, label, Output).y
        if got.shape != main.shape:
            message = f"{label} has shape {got.shape}, expected {main.shape}"
            findings.append(Finding(check=check, outcome=VIOLATES, message=message))
            continue
        where = f"{label}: all positions but {position} replaced"
        chosen = _rows(flat, (position,))
        kept_row = got.reshape(flat.exact.shape)[[position]]
        findings.append(between(check, where, kept_row, rows[[position]], chosen, reference.line))
    worst = worst_of(findings)
    return replace(worst, facts={**worst.facts, "bitwise": bitwise})


def _rows(enclosure: Enclosure, positions: Sequence[int]) -> Enclosure:
    chosen = list(positions)
    return Enclosure(exact=enclosure.exact[chosen], allowed=enclosure.allowed[chosen])


REFUSAL_STEPS: Final = ("build", "infer", "output")
SIBLING_STEPS: Final = ("sibling build", "sibling output")


def check_refusal(evidence: Evidence, packages: Sequence[str]) -> Finding:
    """
    Hold that the framework refuses what the rule forbids, at build, inference or call.

    It counts as refused only when raised inside one of the framework's packages, below the adapter, and when a legal
    sibling of the row is accepted by the same code: a fault of the adapter is not a refusal.
    """
    check = "refusal"
    for label in SIBLING_STEPS:
        reply = evidence.transcript.replies.get(label)
        if reply is None or isinstance(reply.answer, Raised | Declined | Unreached):
            answer = Unreached(because=label) if reply is None else reply.answer
            told = answer.message if isinstance(answer, Raised) else type(answer).__name__
            message = f"the legal sibling of the row is not accepted either: {label}: {_first_line(told)}"
            return Finding(check=check, outcome=VIOLATES, message=message)
    for label in REFUSAL_STEPS:
        reply = evidence.transcript.replies.get(label)
        if reply is None or not isinstance(reply.answer, Raised):
            continue
        raised = raised_record(reply, reply.answer)
        if not _raised_inside(reply.answer.modules, packages):
            message = f"{label} raised {reply.answer.type} outside the framework: {_first_line(reply.answer.message)}"
            return Finding(check=check, outcome=VIOLATES, message=message, raised=raised)
        return Finding(check=check, expected="refused", observed="refused", raised=raised)
    accepted = evidence.get(check, "output", Output).y
    message = f"accepted: an output of shape {accepted.shape}"
    return Finding(
        check=check, outcome=VIOLATES, message=message, expected="refused", observed={"shape": accepted.shape}
    )


def _raised_inside(modules: Sequence[str], packages: Sequence[str]) -> bool:
    """Return whether the frames below the last of the adapter's own include one of the framework's."""
    tops = [module.partition(".")[0] for module in modules]
    ours = [index for index, top in enumerate(tops) if top == __package__ or modules[index].startswith("conformance.")]
    below = tops[ours[-1] + 1 :] if ours else tops
    return any(top in packages for top in below)
