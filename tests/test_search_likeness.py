"""A process that ends says little of why: one known end does not stand for all the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from conformance.search.likeness import like, sign_of

from conformance.case import Case, Layer
from conformance.ledger import Entry
from conformance.selection import Selection


@pytest.fixture(scope="module")
def known() -> tuple[Sequence[Entry], Sequence[Case]]:
    table = Selection(tier="nightly")
    return table.ledger(), table.table()


def asked(*, features: int = 3, units: int = 2, activation: str = "linear", dtype: str = "float32") -> Case:
    return Case(input_shape=(features,), layers=(Layer(units=units, activation=activation),), dtype=dtype)


def ended(implementation: str, reason: str, outcome: str = "crashed") -> Mapping[str, Any]:
    return {
        "implementation": implementation,
        "outcome": outcome,
        "checks": [],
        "crash": {"reason": reason, "step": "output"},
    }


@pytest.mark.parametrize(
    ("implementation", "reason", "case", "is_known"),
    [
        # TensorFlow 1 aborts where there are no features, in each dtype.
        ("tensorflow-v1", "SIGABRT", asked(features=0), True),
        ("tensorflow-v1", "SIGABRT", asked(features=0, units=9, activation="tanh", dtype="float16"), True),
        ("tensorflow-v1", "SIGABRT", asked(), False),
        ("tensorflow-v1", "SIGSEGV", asked(features=0), False),
        # MLX ends at log_softmax of one unit.
        ("mlx", "SIGSEGV", asked(units=1, activation="log_softmax"), True),
        ("mlx", "SIGSEGV", asked(units=1, activation="softmax"), False),
        # A switch of the environment that a search does not set.
        ("tensorflow:matmul", "SIGSEGV", asked(), False),
        ("torch", "SIGSEGV", asked(), False),
    ],
)
def test_an_end_is_known_near_the_rows_where_it_is(
    known: tuple[Sequence[Entry], Sequence[Case]], implementation: str, reason: str, case: Case, is_known: bool
) -> None:
    entries, table = known
    assert (like(entries, table, case, ended(implementation, reason), "cpu") is not None) == is_known
    # One that takes too long is another thing.
    assert like(entries, table, case, ended(implementation, reason, "timed_out"), "cpu") is None


def test_one_end_that_was_found_does_not_hide_others() -> None:
    def sign(case: Case, outcome: str = "crashed") -> Any:
        return sign_of(case, ended("mlx", "SIGSEGV", outcome))

    found = sign(asked(activation="log_softmax"))
    assert found.explains(sign(asked(features=9, activation="log_softmax", dtype="float16")))
    assert not found.explains(sign(asked(activation="relu")))
    assert not found.explains(sign(asked(features=0, activation="log_softmax")))
    assert not found.explains(sign(asked(activation="log_softmax"), "timed_out"))
    assert not sign(asked(features=0)).explains(sign(asked()))
    assert found.explains(replace(found, fed="int8"))
