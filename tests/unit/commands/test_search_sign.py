"""What makes two troubles of a search one: who, which check, what is said of it; a process that ends says little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.commands.search.sign import WRONG_VALUES, Sign, sign_of
from conformance.results import CellRecord
from conformance.table.case import Case, Layer
from tests.support.records import cell_record


def asked(*, features: int = 3, units: int = 2, activation: str = "linear", dtype: str = "float32") -> Case:
    return Case(input_shape=(features,), layers=(Layer(units=units, activation=activation),), dtype=dtype)


def ended(reason: str, outcome: str = "crashed", checks: Sequence[Mapping[str, Any]] = ()) -> CellRecord:
    crash = {"reason": reason, "step": "output"}
    return cell_record({"implementation": "mlx", "outcome": outcome, "checks": checks, "crash": crash})


def test_one_end_that_was_found_does_not_hide_others() -> None:
    def sign(case: Case, outcome: str = "crashed") -> Any:
        return sign_of(case, ended("SIGSEGV", outcome))

    found = sign(asked(activation="log_softmax"))
    assert found.explains(sign(asked(features=9, activation="log_softmax", dtype="float16")))
    assert not found.explains(sign(asked(activation="relu")))
    assert not found.explains(sign(asked(features=0, activation="log_softmax")))
    assert not found.explains(sign(asked(activation="log_softmax"), "timed_out"))
    assert not sign(asked(features=0)).explains(sign(asked()))
    assert found.explains(replace(found, fed="int8"))


def test_beside_a_crash_and_a_check_that_are_as_declared_the_sign_is_that_of_what_is_new() -> None:
    checks = [
        {"check": "output", "outcome": "diverges", "message": "is off", "margin": 3.0},
        {"check": "gradients", "outcome": "violates", "message": "is off", "margin": 9.0},
    ]
    sign = sign_of(asked(), ended("SIGSEGV", "violates", checks))
    assert (sign.check, sign.said) == ("gradients", WRONG_VALUES)


def test_a_sign_explains_itself_on_rows_that_have_more() -> None:
    plain: dict[str, Any] = {
        "implementation": "torch",
        "check": "output",
        "said": "wrong values",
        "dtype": "float16",
        "lane": "wide",
    }
    sign = Sign(**plain, fed=None, activations=frozenset({"gelu"}))
    assert sign.explains(replace(sign, activations=frozenset({"gelu", "relu"}), fed="int8"))
    assert not sign.explains(replace(sign, activations=frozenset({"relu"})))
    assert not sign.explains(replace(sign, dtype="float32"))
    assert not sign.explains(replace(sign, said="call ValueError"))
    refused = replace(sign, said="call ValueError")
    assert refused.explains(replace(refused, dtype="float32", activations=frozenset()))
