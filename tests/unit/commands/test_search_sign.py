"""The sign of a failure that a search finds: which failures are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.commands.search.sign import WRONG_VALUES, Sign, sign_of
from conformance.results import CellRecord
from conformance.table.case import Case, Layer
from tests.support.records import cell_record


def case_of(*, features: int = 3, units: int = 2, activation: str = "linear", dtype: str = "float32") -> Case:
    return Case(input_shape=(features,), layers=(Layer(units=units, activation=activation),), dtype=dtype)


def ended(reason: str, outcome: str = "crashed", checks: Sequence[Mapping[str, Any]] = ()) -> CellRecord:
    crash = {"reason": reason, "step": "output"}
    return cell_record({"implementation": "mlx", "outcome": outcome, "checks": checks, "crash": crash})


def test_one_crash_does_not_hide_others() -> None:
    def sign(case: Case, outcome: str = "crashed") -> Any:
        return sign_of(case, ended("SIGSEGV", outcome))

    found = sign(case_of(activation="log_softmax"))
    assert found.explains(sign(case_of(features=9, activation="log_softmax", dtype="float16")))
    assert not found.explains(sign(case_of(activation="relu")))
    assert not found.explains(sign(case_of(features=0, activation="log_softmax")))
    assert not found.explains(sign(case_of(activation="log_softmax"), "timed_out"))
    assert not sign(case_of(features=0)).explains(sign(case_of()))
    assert found.explains(replace(found, input_dtype="int8"))


def test_declared_crashes_and_checks_are_not_part_of_a_sign() -> None:
    checks = [
        {"check": "output", "outcome": "diverges", "message": "is off", "margin": 3.0},
        {"check": "gradients", "outcome": "violates", "message": "is off", "margin": 9.0},
    ]
    sign = sign_of(case_of(), ended("SIGSEGV", "violates", checks))
    assert (sign.check, sign.message) == ("gradients", WRONG_VALUES)


def test_a_sign_explains_the_same_failure_on_larger_rows() -> None:
    plain: dict[str, Any] = {
        "implementation": "torch",
        "check": "output",
        "message": "wrong values",
        "dtype": "float16",
        "lane": "wide",
    }
    sign = Sign(**plain, input_dtype=None, activations=frozenset({"gelu"}))
    assert sign.explains(replace(sign, activations=frozenset({"gelu", "relu"}), input_dtype="int8"))
    assert not sign.explains(replace(sign, activations=frozenset({"relu"})))
    assert not sign.explains(replace(sign, dtype="float32"))
    assert not sign.explains(replace(sign, message="call ValueError"))
    refused = replace(sign, message="call ValueError")
    assert refused.explains(replace(refused, dtype="float32", activations=frozenset()))
