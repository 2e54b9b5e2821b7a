"""
The checks: what an implementation was observed to do beside what the reference says, one small function per check.

A check takes what came back and what was expected, and returns a `Finding`, never a bool a caller may forget.
Evidence that is missing (a step that raised, was declined or never reached) is a violation, not a pass; whether a check
may go unanswered is the registry's to say, not this module's. This module knows no adapter, no pytest and no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from conformance.adapters.protocol import Array, Gradients
from conformance.case import INTEGER_DTYPES, Case
from conformance.comparison import between, compare, worst_of
from conformance.enclosure import Enclosure
from conformance.finding import VIOLATES, Evidence, Finding, Missing, first_line, raised_record
from conformance.formats import FORMATS
from conformance.reference import Reference
from conformance.rule import output_shapes, parameter_counts
from conformance.steps import Declined, Inferred, Output, Parameters, Raised, Unreached


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
    findings: list[Finding] = []
    held: list[tuple[Reference, Array]] = []
    for label, reference in references.items():
        y = evidence.get("output", label, Output).y
        # Repeated calls mostly answer with the same bits, which need not be compared again.
        if not any(to is reference and _is_same(y, other) for to, other in held):
            findings.append(compare("output", label, y, reference.y, reference.line))
            held.append((reference, y))
    return worst_of(findings)


def _is_same(one: Array, other: Array) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


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
            message = f"the legal sibling of the row is not accepted either: {label}: {first_line(told)}"
            return Finding(check=check, outcome=VIOLATES, message=message)
    for label in REFUSAL_STEPS:
        reply = evidence.transcript.replies.get(label)
        if reply is None or not isinstance(reply.answer, Raised):
            continue
        raised = raised_record(reply, reply.answer)
        if not _raised_inside(reply.answer.modules, packages):
            message = f"{label} raised {reply.answer.type} outside the framework: {first_line(reply.answer.message)}"
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
