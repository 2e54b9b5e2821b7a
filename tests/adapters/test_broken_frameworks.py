"""A fault inside a framework is seen: every adapter reports what its framework does, not what it should do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from conformance.adapters.registry import BUILT_IN, registered
from conformance.checks.cell import Cell, checks_asked
from conformance.run.cell_runner import Runner
from conformance.run.runner import explanation
from conformance.table.case import Case, Layer
from tests.support.broken_frameworks import FAULTS, FAULTY, PLANTS, faults

CASE = Case(input_shape=(3, 2), layers=(Layer(units=4), Layer(units=FAULTY)), lane="exact")


@dataclass(frozen=True, kw_only=True)
class Sign:
    """How a fault shows: the first of the `red` checks has found what is in `found`, and every other check conforms."""

    red: tuple[str, ...]
    found: Mapping[str, Any] = field(default_factory=dict)


def inferred(*last: int | None) -> Sign:
    return Sign(red=("output_shape",), found={"observed": [[None, 3, 4], list(last)]})


def doubled(where: str) -> Sign:
    """A gradient twice as large as it is. The weights are not at fault, but new ones have the same gradient."""
    return Sign(red=("gradients", "weights_live"), found={"where": f"gradients: {where}"})


SIGNS = {
    "infers its last axis doubled": inferred(None, 3, 2 * FAULTY),
    "infers an axis too few": inferred(None, FAULTY),
    "infers a batch of two": inferred(2, 3, FAULTY),
    "holds more parameters": Sign(red=("parameters",)),
    "counts more parameters": Sign(red=("parameters",)),
    "gives another output": Sign(red=("output", "weights_live", "memory_layouts"), found={"where": "output"}),
    "gives another gradient of its input": doubled("dx"),
    "gives another gradient of its kernel": doubled("dW of layer 1"),
    "gives another gradient of its bias": doubled("db of layer 1"),
}
#: What "holds more parameters" is in each framework, which must still take the weights it is given.
MORE = {
    "keras-tensorflow": "['bias', 'kernel', 'seen']",  # a weight that is not trained
    "keras-jax": "['bias', 'kernel', 'seen']",
    "keras-torch": "['bias', 'kernel', 'seen']",
    "torch": "['bias', 'kernel', 'seen']",  # a parameter that is not used
    "flax-linen": "['bias', 'kernel', 'seen']",  # a leaf of another collection than `params`
    "flax-nnx": "has shape (5, 5)",  # a kernel with a row more than there are features
    "tensorflow-v1": "the framework counts 38",  # a variable outside the layer's scope
    "keras2": "['bias', 'kernel', 'seen']",
}
#: Where a framework cannot differentiate with its fault: torch refuses to for a parameter that is not used, and
#: TensorFlow to be fed dy of another shape than it inferred for y.
NOT_DIFFERENTIABLE = {
    ("torch", "holds more parameters"),
    ("tensorflow-v1", "infers its last axis doubled"),
    ("tensorflow-v1", "infers an axis too few"),
}


Record = Mapping[str, Any]


@cache
def records(implementation: str) -> Mapping[str, Record]:
    """Return what came of the very same cell, by what was wrong with the framework: from one process, in one go."""
    real = registered()[implementation]
    if missing := real.missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)}")
    planted = f"tests.support.broken_frameworks:{implementation.replace('-', '_')}"
    cell = Cell(case=CASE, implementation=replace(real, name=planted, adapter=planted), device="cpu")
    runner = Runner()
    try:
        return {fault: json.loads(json.dumps(runner.run(cell))) for fault in faults(implementation)}
    finally:
        runner.close()


def outcomes(record: Record) -> Mapping[str, str]:
    return {each["check"]: each["outcome"] for each in record["checks"]}


def test_every_implementation_has_faults_planted_and_every_fault_a_sign() -> None:
    default = {each.name for each in BUILT_IN if each.tier == "full" and each.mode is None}
    assert set(PLANTS) == set(MORE) == default | {"keras2"}
    assert set(SIGNS) == set(FAULTS)


@pytest.mark.parametrize("implementation", PLANTS)
def test_a_framework_with_no_fault_conforms_before_and_after(implementation: str) -> None:
    for fault in ("nothing", "nothing any more"):
        record = records(implementation)[fault]
        assert outcomes(record) == dict.fromkeys(checks_asked(CASE), "conforms"), explanation(record)


@pytest.mark.parametrize(
    ("implementation", "fault"), [(name, fault) for name in PLANTS for fault in faults(name) if fault in FAULTS]
)
def test_a_fault_of_a_framework_is_seen_by_the_checks_that_it_is_the_business_of(
    implementation: str, fault: str
) -> None:
    sign, record = SIGNS[fault], records(implementation)[fault]
    red = set(sign.red)
    if (implementation, fault) in NOT_DIFFERENTIABLE:
        red |= {"gradients", "weights_live"}
    expected = {each: "violates" if each in red else "conforms" for each in checks_asked(CASE)}
    assert outcomes(record) == expected, explanation(record)
    finding = next(each for each in record["checks"] if each["check"] == sign.red[0])
    assert {key: finding[key] for key in sign.found} == sign.found
    if fault == "holds more parameters":
        assert MORE[implementation] in finding["message"]
    if fault == "counts more parameters":
        assert "the framework counts 38 parameters" in finding["message"]
    if fault.startswith("gives another gradient"):
        assert finding["got"] == 2 * finding["exact"]
