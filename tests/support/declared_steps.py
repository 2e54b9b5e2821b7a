"""The expectations of declared behaviours, for the tests of expectations."""

from __future__ import annotations

from conformance.checks.expectations import Declared, Satisfies
from conformance.ledger.behaviour import Behaviour
from conformance.ledger.step import Surroundings, model_steps
from conformance.table.case import Case, Layer
from tests.support.verdicts import question_of

CASE = Case(input_shape=(2, 3, 4), layers=(Layer(units=3), Layer(units=5)), lane="exact")


def declared(case: Case, *behaviours: Behaviour, satisfies: Satisfies | None = None) -> Declared:
    asked = question_of(case)
    steps = {each.label: each for each in model_steps(asked.steps)}
    return Declared(case, asked, steps, Surroundings(device="cpu"), behaviours, satisfies)
