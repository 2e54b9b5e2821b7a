"""A fault inside a framework is seen: every adapter reports what its framework does, not what it should do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from conformance.checks.cell import check_names
from conformance.run.runner import explanation
from tests.support.framework_process import PLANTED, outcomes
from tests.support.planted_frameworks import CASE, FAULTS, FAULTY, faults
from tests.support.records import cell_record

NAMES = [(group, name) for group, names in PLANTED.items() for name in names]
RecordOf = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Sign:
    """How a fault shows: the first of the `red` checks has found what is in `found`, and every other check conforms."""

    red: tuple[str, ...]
    found: Mapping[str, Any] = field(default_factory=dict)


def doubled(where: str) -> Sign:
    """A gradient twice as large as it is. The weights are not at fault, but new ones have the same gradient."""
    return Sign(red=("gradients", "weights_live"), found={"where": f"gradients: {where}"})


SIGNS = {
    "infers another shape": Sign(red=("output_shape",)),
    "binds its batch": Sign(red=("output_shape",)),
    "holds more parameters": Sign(red=("parameters",)),
    "counts more parameters": Sign(red=("parameters",)),
    "gives another output": Sign(red=("output", "weights_live"), found={"where": "output"}),
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
NOT_DIFFERENTIABLE = {("torch", "holds more parameters"), ("tensorflow-v1", "infers another shape")}


def test_every_fault_has_a_sign() -> None:
    assert set(SIGNS) == set(FAULTS)
    assert set(MORE) == {name for _, name in NAMES}


@pytest.mark.parametrize(("group", "implementation"), NAMES)
def test_a_framework_with_no_fault_conforms(record_of: RecordOf, group: str, implementation: str) -> None:
    record = record_of(group, implementation, CASE)
    assert outcomes(record) == dict.fromkeys(check_names(CASE), "conforms"), explanation(cell_record(record))


@pytest.mark.parametrize(
    ("group", "implementation", "fault"), [(group, name, fault) for group, name in NAMES for fault in faults(name)]
)
def test_a_faulty_framework_violates_the_checks_of_its_fault(
    record_of: RecordOf, group: str, implementation: str, fault: str
) -> None:
    sign, record = SIGNS[fault], record_of(group, implementation, CASE, fault)
    red = set(sign.red)
    if (implementation, fault) in NOT_DIFFERENTIABLE:
        red |= {"gradients", "weights_live"}
    expected = {each: "violates" if each in red else "conforms" for each in check_names(CASE)}
    assert outcomes(record) == expected, explanation(cell_record(record))
    finding = next(each for each in record["checks"] if each["check"] == sign.red[0])
    assert {key: finding[key] for key in sign.found} == sign.found
    if fault == "infers another shape":
        # The batch is that of the question or unknown, whichever is violated first.
        assert finding["observed"] in [[[batch, 3, 4], [2, 2 * FAULTY]] for batch in (2, None)]
    if fault == "binds its batch":
        assert "torch infers [(2, 11, 31), (2, 11, 32)] from symbols" in finding["message"]
    if fault == "holds more parameters":
        assert MORE[implementation] in finding["message"]
    if fault == "counts more parameters":
        assert "the framework counts 38 parameters" in finding["message"]
    if fault.startswith("gives another gradient"):
        assert finding["got"] == 2 * finding["exact"]
