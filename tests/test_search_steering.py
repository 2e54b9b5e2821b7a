"""What a search climbs towards, and what it passes over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from conformance.search.territory import ENOUGH, ONE_IN, Territory

from conformance.adapters.registry import select
from conformance.case import Case, Layer
from conformance.search.asking import Answers, Asking


def answers(lane: str, activation: str, *, margin: float = 0.5, outcome: str = "conforms") -> Answers:
    asked = Case(input_shape=(3,), layers=(Layer(units=2, activation=activation),), lane=lane)
    checks = [
        {"check": "output", "facts": {"margins": {"output": 0.25}}},
        {"check": "gradients", "facts": {"margins": {"dx": margin, "db": 0.125}}},
        {"check": "repeatable", "facts": {}},
    ]
    record: Mapping[str, Any] = {"outcome": outcome, "checks": checks}
    return Answers(case=asked, records={"one": record}, disagreement=0.0)


def test_the_largest_margins_that_conform_are_climbed() -> None:
    assert answers("uniform", "relu").margins == {"output": 0.25, "dx": 0.5, "db": 0.125}
    assert answers("uniform", "relu", outcome="violates").margins == {}
    # Larger than 1 conforms by a declaration, and says nothing of the bound.
    assert answers("uniform", "relu", margin=4.0).margins == {"output": 0.25, "db": 0.125}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "selu"])
def test_a_bound_that_is_all_right_is_not_climbed(activation: str) -> None:
    assert answers("cancelling", activation).margins == {"output": 0.25}
    assert answers("cancelling", "tanh").margins == {"output": 0.25, "dx": 0.5, "db": 0.125}
    assert answers("denormal", "linear").margins == {}


def cases(count: int, dtype: str = "float64") -> list[Case]:
    return [Case(input_shape=(each + 1,), layers=(Layer(units=1),), dtype=dtype) for each in range(count)]


def test_most_of_a_territory_that_is_known_trouble_is_passed_over() -> None:
    territory = Territory()
    for each in cases(ENOUGH - 1):
        territory.note(each, "one", known=True)
    assert all(territory.is_worth_asking(each, "one") for each in cases(400))
    territory.note(cases(1)[0], "one", known=True)
    asked = sum(territory.is_worth_asking(each, "one") for each in cases(400))
    assert 0.5 < asked / (400 / ONE_IN) < 2.0
    assert all(territory.is_worth_asking(each, "one") for each in cases(400, "float32"))
    assert all(territory.is_worth_asking(each, "other") for each in cases(400))


def test_a_territory_where_anything_else_was_seen_is_asked_in_full() -> None:
    territory = Territory()
    territory.note(cases(1)[0], "one", known=False)
    for each in cases(50):
        territory.note(each, "one", known=True)
    assert all(territory.is_worth_asking(each, "one") for each in cases(400))


def test_what_is_passed_over_is_not_asked() -> None:
    with Asking(select(["tests.faulty:Exact"])) as asking:
        row = {"input_shape": [2], "units": 1, "values": "uniform"}
        assert asking.ask(row, lambda case, name: case.id != "2-1-uniform").records == {}
        assert list(asking.ask(row, lambda case, name: True).records) == ["tests.faulty:Exact"]
