"""
What a script has to show of a cell: its first failing check, or its crash, as steps to take and a thing to look at.

Where some checks of a cell violate and others diverge as declared, the script shows one that violates.

Read from the cell's record and from the question it was asked; nothing is judged or computed again here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from conformance.checks.linearity import AddendProbe, addends
from conformance.checks.question import MAIN, REPEATED, Question
from conformance.checks.refusal import SIBLING_STEPS
from conformance.results import CellRecord, CheckRecord
from conformance.sandbox.steps import Build, Differentiate, Forward, SetWeights, Step

#: Checks that are well, or that nobody asked.
_WELL: Final = ("conforms", "unsupported", "not_run")


class NotShown(ValueError):
    """A script cannot show what a record says; says why."""


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """
    What to look at.

    `kind` is `value` (numbers of outputs), `gradient` (a number of a gradient), `shape`, `dtype` (of the output),
    `inferred` (shapes inferred), `parameters`, `gradients` (their dtypes), `raises`, `crash` or `refusal` (accepted).
    `steps` are the labels of the steps that show it, one after the other. Where numbers are compared, `got` holds what
    is added up, as (label, index), and so does `reference`, where it is no number of the record's own.
    """

    kind: str
    check: str
    steps: tuple[str, ...]
    expected: str
    got: tuple[tuple[str, tuple[int, ...]], ...] = ()
    reference: tuple[tuple[str, tuple[int, ...]], ...] = ()
    gradient: str | None = None
    exact: float | None = None
    allowed: float | None = None
    observed: str = ""


def failing(record: CellRecord) -> list[CheckRecord]:
    """Return the checks of a cell that are neither well nor unasked, those that violate before those that diverge."""
    found = [each for each in record.checks if each.outcome not in _WELL]
    return sorted(found, key=lambda each: each.outcome == "diverges")


def symptom(record: CellRecord, asked: Question, check: str | None = None) -> Symptom:
    """
    Return what to show of a cell: its crash, or its first failing check, or the failing check named.

    Raises:
        NotShown: nothing of the cell fails, or the check does not.
    """
    crash = record.crash
    # Beside a check that violates, a crash is as declared.
    if crash is not None and (record.outcome != "violates" or check == "crash"):
        step = str(crash.step)
        if step not in {each.label for each in asked.steps}:
            raise NotShown(f"the process ended at {step}: {crash.reason}")
        said = "an answer" if record.outcome != "timed_out" else "an answer in time"
        return Symptom(kind="crash", check="crash", steps=(step,), expected=said, observed=crash.reason)
    found = failing(record)
    if check is not None:
        found = [each for each in found if each.check == check]
    if not found:
        raise NotShown(f"no check {check} of the cell fails" if check else "no check of the cell fails")
    return _of_check(found[0], asked)


def _of_check(found: CheckRecord, asked: Question) -> Symptom:
    if found.check == "refusal":
        return _of_refusal(found)
    raised = found.raised
    if raised is not None:
        observed = f"{raised.type}: {raised.message}"
        return Symptom(kind="raises", check=found.check, steps=(raised.step,), expected="no error", observed=observed)
    if found.worst is not None:
        return _number(found, asked)
    return _of_description(found, asked)


def _of_refusal(found: CheckRecord) -> Symptom:
    """Return the symptom of what was accepted, or refused in another way than by the framework."""
    message, raised = found.message, found.raised
    if found.where in SIBLING_STEPS:
        raise NotShown(message)
    if raised is None:
        expected = "an error, raised by the framework"
        return Symptom(kind="refusal", check="refusal", steps=("output",), expected=expected, observed=message)
    expected = "an error of the framework's own"
    return Symptom(kind="raises", check="refusal", steps=(raised.step,), expected=expected, observed=message)


def _of_description(found: CheckRecord, asked: Question) -> Symptom:
    """Return the symptom of a check that compared shapes, dtypes or counts."""
    check, message = found.check, found.message
    expected, observed = _words(found.expected), _words(found.observed)
    if check == "output_shape" and expected != "None":
        kind = "inferred" if message.startswith("inferred") else "shape"
        steps = ("infer",) if kind == "inferred" else (_label(message, asked, "has shape"),)
        return Symptom(kind=kind, check=check, steps=steps, expected=expected, observed=observed)
    if check == "output_dtype":
        return Symptom(kind="dtype", check=check, steps=(MAIN,), expected=expected, observed=observed)
    if check == "parameters" and expected != "None":
        dtype = next(each.stack.dtype for each in asked.steps if isinstance(each, Build))
        expected = f"{expected} parameters by layer, trainable, {dtype}"
        return Symptom(kind="parameters", check=check, steps=("parameters",), expected=expected, observed=message)
    described = re.match(r"(?:after weights were replaced: )?(.+?)(?:: \w+ of layer \d+)? (?:has|is) ", message)
    step = next((each for each in asked.steps if described is not None and each.label == described[1]), None)
    expected = message.rpartition(", expected ")[2]
    if isinstance(step, Differentiate):
        return Symptom(kind="gradients", check=check, steps=(step.label,), expected=expected, observed=message)
    if isinstance(step, Forward):
        return Symptom(kind="shape", check=check, steps=(step.label,), expected=expected, observed=message)
    raise NotShown(f"{check}: {message}")


def _label(message: str, asked: Question, words: str) -> str:
    label = message.partition(f" {words}")[0]
    return label if label in {each.label for each in asked.steps} else MAIN


def _words(value: object) -> str:
    """Return a value of a record as Python writes it: lists as tuples, names bare."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(_words, value)) + ("," if len(value) == 1 else "") + ")"
    return str(value)


def _number(found: CheckRecord, asked: Question) -> Symptom:
    """Return the symptom of a worst element: the number there beside another answer, or beside the exact one."""
    if found.worst is None or found.where is None or found.allowed is None or found.exact is None:
        raise ValueError(f"{found.check} has a worst element without its place, bound or exact value")
    check, where, worst, exact = found.check, found.where, tuple(found.worst), float(found.exact)
    of_value = Symptom(kind="value", check=check, steps=(where,), expected="", allowed=float(found.allowed))
    gradient = re.fullmatch(r"(.+?): (dx|(?:dW|db) of layer \d+)", where)
    if gradient:
        label, name = gradient.groups()
        got = ((label, worst),)
        return replace(of_value, kind="gradient", gradient=name, exact=exact, steps=(label,), got=got)
    if check == "linear_in_x":
        x, signs, together, nothing = addends(asked.of(AddendProbe))
        left, right = ((together, worst), (nothing, worst)), ((x, worst), (signs, worst))
        return replace(of_value, steps=(x, signs, together, nothing), got=left, reference=right)
    other = _other(where, worst, asked) if check not in ("output", "weights_live") else None
    if other is not None:
        label, index, beside = other
        return replace(of_value, steps=(MAIN, label), got=((label, index),), reference=((MAIN, beside),))
    if where not in {each.label for each in asked.steps}:
        raise NotShown(f"{check}: {found.message or where}")
    return replace(of_value, got=((where, worst),), exact=exact)


def _other(where: str, worst: tuple[int, ...], asked: Question) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
    """Return the step whose output is held to the first one's, with the index in each; None where none is."""
    again = where.partition(f" beside {MAIN}")[0]
    if again in REPEATED and again != where:
        return again, worst, worst
    label = where.partition(": ")[0]
    probe = asked.by_label.get(label)
    if probe is None or asked.main is None:
        return None
    pair = probe.counterpart(worst, asked.main.y.exact.shape)
    return None if pair is None else (label, *pair)


def _unravelled(place: int, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(each) for each in np.unravel_index(place, tuple(shape))) if shape else ()


def needed(asked: Question, labels: Sequence[str]) -> tuple[Step, ...]:
    """
    Return the steps that lead to those named: the build of their model, and the weights it had at that time.

    Where weights were replaced, the first output stays among them: what is wrong may be that it is what comes back.
    """
    steps: list[Step] = []
    last = max(index for index, each in enumerate(asked.steps) if each.label in labels)
    models = {each.model for each in asked.steps if each.label in labels}
    weights = [each for each in asked.steps[:last] if isinstance(each, SetWeights) and each.model in models]
    for each in asked.steps[: last + 1]:
        before = bool(weights) and each.label == MAIN
        built = isinstance(each, Build) and each.model in models
        if built or before or each.label in labels or any(each is given for given in weights[-1:]):
            steps.append(each)
    return tuple(steps)
