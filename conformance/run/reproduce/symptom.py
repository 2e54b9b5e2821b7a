"""
What a script has to show of a cell: its first failing check, or its crash, as steps to take and a value to compare.

A check that violates comes before one that diverges as declared. Everything is read from the cell's record and from its
question; this module computes no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from conformance.checks.linearity import AddendProbe, addends
from conformance.checks.question import MAIN, REPEATED, Question
from conformance.checks.refusal import SIBLING_STEPS
from conformance.results import CellRecord, CheckRecord
from conformance.sandbox.steps import Build, Differentiate, Forward, InferShapes, SetWeights, Step

#: Outcomes of checks that do not fail.
_PASSING: Final = ("conforms", "unsupported", "not_run")


class NotReproducible(ValueError):
    """No script of the framework alone can show what a record says; the message says why."""


@dataclass(frozen=True, kw_only=True)
class GradientName:
    """One gradient of a step: dx, dW or db, the latter two of the layer with index `layer`."""

    name: str
    layer: int = 0

    def __str__(self) -> str:
        return self.name if self.name == "dx" else f"{self.name} of layer {self.layer}"


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """What a script shows."""

    #: `value` (numbers of outputs), `gradient` (a number of a gradient), `shape` and `dtype` (of an output), `inferred`
    #: (shapes inferred), `parameters`, `gradients` (their dtypes), `raises`, `crash` or `refusal` (an input that the
    #: framework has to refuse is accepted).
    kind: str
    check: str
    #: The labels of the steps that show it, in their order.
    steps: tuple[str, ...]
    expected: str
    #: The numbers to add up, each by the label of its step and its index.
    got: tuple[tuple[str, tuple[int, ...]], ...] = ()
    #: The numbers whose sum is expected; empty where `exact` is expected.
    reference: tuple[tuple[str, tuple[int, ...]], ...] = ()
    gradient: GradientName | None = None
    exact: float | None = None
    allowed: float | None = None
    observed: str = ""


def failing_checks(record: CellRecord) -> list[CheckRecord]:
    """Return the checks of a cell that fail, those that violate before those that diverge."""
    failing = [each for each in record.checks if each.outcome not in _PASSING]
    return sorted(failing, key=lambda each: each.outcome == "diverges")


def symptom_of(record: CellRecord, question: Question, check: str | None = None) -> Symptom:
    """
    Return what a script shows of a cell: its crash, its first failing check, or the failing check of a given name.

    Raises:
        NotReproducible: no check of the cell fails, or the given one does not.
    """
    crash = record.crash
    # If a check violates, the crash is as declared.
    if crash is not None and (record.outcome != "violates" or check == "crash"):
        step = str(crash.step)
        if step not in question.by_label:
            raise NotReproducible(f"the process ended at {step}: {crash.reason}")
        expected = "an answer" if record.outcome != "timed_out" else "an answer in time"
        return Symptom(kind="crash", check="crash", steps=(step,), expected=expected, observed=crash.reason)
    failing = failing_checks(record)
    if check is not None:
        failing = [each for each in failing if each.check == check]
    if not failing:
        raise NotReproducible(f"check {check} of the cell does not fail" if check else "no check of the cell fails")
    return _of_check(failing[0], question)


def _of_check(check: CheckRecord, question: Question) -> Symptom:
    if check.check == "refusal":
        return _of_refusal(check)
    raised = check.raised
    if raised is not None:
        observed = f"{raised.type}: {raised.message}"
        return Symptom(kind="raises", check=check.check, steps=(raised.step,), expected="no error", observed=observed)
    if check.worst is not None:
        return _of_number(check, question)
    return _of_description(check, question)


def _of_refusal(check: CheckRecord) -> Symptom:
    """Return the symptom of an input that was accepted, or refused by other code than the framework's."""
    message, raised = check.message, check.raised
    if check.step in SIBLING_STEPS:
        raise NotReproducible(message)
    if raised is None:
        expected = "an error, raised by the framework"
        return Symptom(kind="refusal", check="refusal", steps=("output",), expected=expected, observed=message)
    expected = "an error of the framework's own"
    return Symptom(kind="raises", check="refusal", steps=(raised.step,), expected=expected, observed=message)


def _of_description(check: CheckRecord, question: Question) -> Symptom:
    """Return the symptom of a check that compared shapes, dtypes or counts."""
    name, expected, observed = check.check, _text(check.expected), _text(check.observed)
    if name == "output_dtype":
        return Symptom(kind="dtype", check=name, steps=(MAIN,), expected=expected, observed=observed)
    if name == "parameters" and check.expected is not None:
        dtype = next(each.stack.dtype for each in question.steps if isinstance(each, Build))
        expected = f"{expected} parameters by layer, trainable, {dtype}"
        return Symptom(kind="parameters", check=name, steps=("parameters",), expected=expected, observed=check.message)
    probe = question.by_label.get(check.step or "")
    kinds = {InferShapes: "inferred", Differentiate: "gradients", Forward: "shape"}
    kind = None if probe is None else kinds.get(type(probe.step))
    if probe is None or kind is None or check.expected is None:
        raise NotReproducible(f"{name}: {check.message}")
    if kind == "shape" and isinstance(check.expected, str):
        kind = "dtype"
    return Symptom(kind=kind, check=name, steps=(probe.label,), expected=expected, observed=observed)


def _text(value: object) -> str:
    """Return a value of a record as Python writes it: lists as tuples, names without quotation marks."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(_text, value)) + ("," if len(value) == 1 else "") + ")"
    return str(value)


def _of_number(check: CheckRecord, question: Question) -> Symptom:
    """Return the symptom of a worst element: its number, and the number of another answer or the exact one."""
    if check.worst is None or check.allowed is None or check.exact is None:
        raise ValueError(f"{check.check} has a worst element without its bound or exact value")
    name, worst, exact = check.check, tuple(check.worst), float(check.exact)
    value = Symptom(kind="value", check=name, steps=(), expected="", allowed=float(check.allowed))
    if name == "linear_in_x":
        x, signs, together, nothing = addends(question.of(AddendProbe))
        left, right = ((together, worst), (nothing, worst)), ((x, worst), (signs, worst))
        return replace(value, steps=(x, signs, together, nothing), got=left, reference=right)
    label = check.step
    if label is None or label not in question.by_label:
        raise NotReproducible(f"{name}: {check.message or check.where}")
    value = replace(value, steps=(label,), got=((label, worst),), exact=exact)
    if check.gradient is not None:
        return replace(value, kind="gradient", gradient=GradientName(name=check.gradient, layer=check.layer or 0))
    pair = _counterpart(label, worst, question) if name not in ("output", "weights_live") else None
    if pair is None:
        return value
    index, of_main = pair
    return replace(value, steps=(MAIN, label), got=((label, index),), reference=((MAIN, of_main),), exact=None)


def _counterpart(
    label: str, worst: tuple[int, ...], question: Question
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the index of an element in a step's output and in the main output; None if they are not compared."""
    if label in REPEATED and label != MAIN:
        return worst, worst
    if question.main is None:
        return None
    return question.by_label[label].counterpart(worst, question.main.y.exact.shape)


def needed_steps(question: Question, labels: Sequence[str]) -> tuple[Step, ...]:
    """
    Return the steps that lead to those of some labels: the build of their models, and the weights at that time.

    Where weights were replaced, the first output is among them: a model may return that one again.
    """
    steps: list[Step] = []
    last = max(index for index, each in enumerate(question.steps) if each.label in labels)
    models = {each.model for each in question.steps if each.label in labels}
    weights = [each for each in question.steps[:last] if isinstance(each, SetWeights) and each.model in models]
    for each in question.steps[: last + 1]:
        is_first_output = bool(weights) and each.label == MAIN
        is_build = isinstance(each, Build) and each.model in models
        if is_build or is_first_output or each.label in labels or any(each is given for given in weights[-1:]):
            steps.append(each)
    return tuple(steps)
