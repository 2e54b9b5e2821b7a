"""The margins that steer a search, and its declared behaviours."""

from __future__ import annotations

import pytest

from conformance.adapters.registry import select
from conformance.commands.search.loop import search
from conformance.commands.search.oracle import Answers, Oracle
from conformance.commands.search.output import lines
from conformance.commands.search.strategies import Row
from conformance.table.case import Case, Layer
from tests.support.records import cell_record
from tests.support.verdicts import behaviour


def answers(lane: str, activation: str, *, margin: float = 0.5, outcome: str = "conforms") -> Answers:
    asked = Case(input_shape=(3,), layers=(Layer(units=2, activation=activation),), lane=lane)
    checks = [
        {"check": "output", "outcome": outcome, "facts": {"margins": {"output": 0.25}}},
        {"check": "gradients", "outcome": outcome, "facts": {"margins": {"dx": margin, "db": 0.125}}},
        {"check": "repeatable", "outcome": outcome},
    ]
    record = cell_record({"outcome": outcome, "checks": checks})
    return Answers(case=asked, records={"one": record}, disagreement=0.0)


def test_the_largest_conforming_margins_steer_the_search() -> None:
    assert answers("uniform", "relu").margins == {"output": 0.25, "dx": 0.5, "db": 0.125}
    assert answers("uniform", "relu", outcome="violates").margins == {}


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "selu"])
def test_margins_on_a_common_bound_do_not_steer_the_search(activation: str) -> None:
    assert answers("cancelling", activation).margins == {"output": 0.25}
    assert answers("cancelling", "tanh").margins == {"output": 0.25, "dx": 0.5, "db": 0.125}
    assert answers("denormal", "linear").margins == {}


ROW: Row = {"input_shape": [2], "units": 1, "values": "uniform"}
LOSES = behaviour("loses", loses_bias=True)


@pytest.mark.integration
def test_a_declared_behaviour_is_counted_and_is_not_a_find() -> None:
    chosen = select(["tests.support.faulty_adapters:DropsBias"])
    found = search(chosen, seconds=4.0, most=1, seed=1, behaviours=[LOSES])
    assert found.finds == []
    count, _ = found.declared["loses"]
    assert 0 < count <= found.row_count
    assert f"as declared by loses: {count} cells, first" in "\n".join(lines(found))
    # Without the declaration, the first row is a find.
    assert search(chosen, seconds=30.0, most=1, seed=1).finds


def test_a_fault_next_to_a_declared_behaviour_is_a_find() -> None:
    (only,) = select(["tests.support.faulty_adapters:Float64Output"])
    with Oracle([only], behaviours=[behaviour("widens", dtypes={"output": "float64"})]) as oracle:
        assert oracle.answers(ROW).records[only.name].outcome == "diverges"
    with Oracle([only], behaviours=[LOSES]) as oracle:
        assert oracle.answers(ROW).records[only.name].outcome == "violates"
