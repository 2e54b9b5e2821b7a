"""Cells with declared behaviours, for the tests of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.adapters.protocol import Array
from conformance.checks.outcome import Verdict
from conformance.ledger.behaviour import Refusal
from conformance.ledger.predicate import Predicate
from conformance.sandbox.steps import Step
from conformance.table.case import Case, Layer
from tests.support.faulty_adapters import _DropsBias
from tests.support.verdicts import behaviour

CASE = Case(input_shape=(4,), layers=(Layer(units=3),), lane="exact")
UNIFORM = replace(CASE, lane="uniform")


def at(call: str, **layers: Any) -> Predicate:
    return Predicate(step={"call": call}, layers=layers)


def outcomes(verdict: Verdict) -> dict[str, str]:
    """Return the checks of a verdict that do not conform, with their outcomes."""
    checks: Sequence[Mapping[str, Any]] = verdict.checks
    return {each["check"]: each["outcome"] for each in checks if each["outcome"] != "conforms"}


class OffByOne(_DropsBias):
    """Loses the bias, and adds 1 to one element beside it."""

    def output(self, y: Array) -> Array:
        y = y.copy()
        y[(-1,) * y.ndim] += 1
        return y


GIVES_UP = Refusal(type="RuntimeError", message=("gave", "up"))
RAISES = behaviour("raises", at("forward"), refuses=GIVES_UP)


def labels(steps: tuple[Step, ...]) -> list[str]:
    return [each.label for each in steps]
