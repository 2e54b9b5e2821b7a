"""Models take turns in one process: what one of them leaves behind shows in another, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.adapters.protocol import Array
from conformance.checks.cell import check_names
from conformance.checks.references import question
from conformance.checks.state import MainAgainProbe, OtherModelProbe
from conformance.table.case import Case, Layer
from conformance.table.loader import default_cases, load
from tests.power.faults import EVERY
from tests.support.fault_matrix import CaseQuestion, red_checks
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import behaviour, tried

ROWS = [each for each in load([default_cases() / "state.yaml"]).cases if "state_independent" in check_names(each)]
#: The fault, the cases that show it, and a case of the same shapes with every other check, which does not.
FAULTS = {
    "PlansByShapes": ("float16", Case(input_shape=(6,), layers=(Layer(units=4),), dtype="float16", lane="exact")),
    "FusesFirstActivation": ("tanh", Case(input_shape=(6,), layers=(Layer(units=4, activation="tanh"),))),
    "LeavesWorkspace": ("6-4", Case(input_shape=(6,), layers=(Layer(units=4),), lane="exact")),
}


def red(adapter: NumPyAdapter, case: Case) -> frozenset[str]:
    return red_checks(adapter, CaseQuestion(case=case, question=question(case, "cpu")))


def test_the_rows_have_about_twenty_models() -> None:
    models = [each.step.model for case in ROWS for each in question(case, "cpu").of(OtherModelProbe)]
    assert len(models) // 2 + len(ROWS) >= 20


@pytest.mark.parametrize("case", ROWS, ids=lambda each: each.id)
def test_a_right_layer_is_independent(case: Case) -> None:
    assert red(NumPyAdapter(Honest()), case) == frozenset()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_left_behind_shows_where_models_take_turns_alone(fault: str) -> None:
    name, ordinary = FAULTS[fault]
    rows = [each for each in ROWS if name in each.id]
    assert any(red(EVERY[fault].make(), each) == {"state_independent"} for each in rows)
    assert red(EVERY[fault].make(), ordinary) == frozenset()


def test_the_turns_follow_from_the_case() -> None:
    orders = set()
    for case in ROWS:
        labels = [each.label for each in question(case, "cpu").of(MainAgainProbe)]
        assert labels[-1] == "gradients, after all"
        assert labels == [each.label for each in question(replace(case, why="x"), "cpu").of(MainAgainProbe)]
        orders.add(tuple(labels))
    assert len(orders) > 1


def test_only_rows_that_name_the_check_have_it() -> None:
    assert check_names(ROWS[0]) == ("state_independent",)
    assert "state_independent" not in check_names(replace(ROWS[0], checks=None))


def test_other_dtypes_are_compared_in_their_own_and_as_declared() -> None:
    class ShortSums(Honest):
        def product(self, x: Array, kernel: Array) -> Array:
            y = super().product(x, kernel)
            return y + y.dtype.type(1) if x.dtype.itemsize == 2 else y

    case = ROWS[0]
    assert case.dtype == "float32"
    assert tried(NumPyAdapter(ShortSums()), case).outcome == "violates"
    undefined = behaviour(undefined=frozenset({"output"}), sometimes="chance")
    assert tried(NumPyAdapter(ShortSums()), case, undefined).outcome == "diverges"
    assert tried(NumPyAdapter(Honest()), case, undefined).outcome == "conforms"
