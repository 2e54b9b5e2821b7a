"""Ways of calling Keras, and its layers that promise to be dense: each on the real framework, in its own process."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.adapters.registry import registered
from conformance.checks.cell import cell_of, concerns
from conformance.run.cell_runner import Runner
from conformance.table.case import Case, Layer

SMALL = Case(input_shape=(3, 5), layers=(Layer(units=4, activation="tanh"), Layer(units=2)), batch=2, lane="uniform")
EXACT = Case(input_shape=(3, 5), layers=(Layer(units=4),), batch=2, lane="exact")
DEEP = Case(input_shape=(2, 3, 5), layers=(Layer(units=4),), lane="uniform")
HUGE = Case(input_shape=(10**6,), layers=(Layer(units=10**6),), lane="shapes")


def records(name: str, *cases: Case) -> list[dict[str, Any]]:
    implementation = registered()[name]
    if missing := implementation.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    runner = Runner()
    found = [runner.run(cell_of(case, implementation, "cpu")) for case in cases]
    runner.close()
    return found


def violated(record: dict[str, Any]) -> list[str]:
    return [each["check"] for each in record["checks"] if each["outcome"] == "violates"]


@pytest.mark.parametrize(
    "name",
    [
        "keras-tensorflow:graph",
        "keras-tensorflow:xla",
        "keras-torch:functional",
        "keras-torch:predict",
        "keras-jax:jit",
    ],
)
def test_a_way_of_calling_conforms(name: str) -> None:
    assert [each["outcome"] for each in records(name, SMALL, EXACT)] == ["conforms", "conforms"]


@pytest.mark.parametrize("name", ["keras-torch:einsum-dense", "keras-torch:time-distributed", "keras-torch:conv1d"])
def test_a_layer_that_promises_to_be_dense_conforms(name: str) -> None:
    assert [each["outcome"] for each in records(name, SMALL, EXACT)] == ["conforms", "conforms"]


def test_einsum_dense_infers_its_axes_in_the_wrong_order() -> None:
    (record,) = records("keras-torch:einsum-dense", DEEP)
    assert violated(record) == ["output_shape"]


def test_shapes_of_a_layer_that_no_memory_holds_are_inferred() -> None:
    assert records("keras-torch:symbolic", HUGE)[0]["outcome"] == "conforms"


def test_a_layer_built_within_a_decorated_call_ignores_its_weights() -> None:
    decorated = registered()["keras-tensorflow:decorated"]
    assert not concerns(EXACT, decorated)
    (record,) = records("keras-tensorflow:decorated", EXACT)
    assert {"output", "gradients", "weights_live"} <= set(violated(record))
