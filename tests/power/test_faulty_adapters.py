"""Every planted fault is caught by a row of the table, and the adapter without a fault never is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.adapters.registry import select
from conformance.checks.cell import Cell
from conformance.results import FAILING, plain
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.sandbox.sandbox import Limits
from conformance.table.case import Case
from conformance.table.loader import default_cases, load
from tests.support.faulty_adapters import FAULTS

#: Faults that take the process with them, each with the outcome it ends in.
ENDINGS = {"Aborts": "crashed", "Hangs": "timed_out"}
#: The check that has to be red, where one fault is one check's business.
CHECK = {
    "TransposedKernel": "output",
    "DropsBias": "output",
    "AddsBiasTwice": "output",
    "BiasOnWrongAxis": "positions_independent",
    "FlattensInput": "output_shape",
    "ContractsWrongAxis": "output",
    "DropsLastFeature": "gradients",
    "Float16Inside": "output",
    "Tf32Inside": "gradients",
    "Bfloat16Inside": "gradients",
    "StaleWeights": "weights_live",
    "GradientOfSum": "gradients",
    "WrongCount": "parameters",
    "NotTrainable": "parameters",
    "WrongInferredShape": "output_shape",
    "NaNOutput": "output",
    "Unrepeatable": "repeatable",
    "MixesPositions": "positions_independent",
    "Float64Output": "output_dtype",
    "Raises": "output",
}


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    """Return the rows a person runs first, and those of shapes.yaml that are small."""
    table = [case for case in load([default_cases()]).cases if case.lane != "shapes"]
    small = [
        case for case in table if "shapes" in case.row and all(axis is None or axis < 12 for axis in case.call_shape)
    ]
    return (*(case for case in table if case.tier == "quick"), *small)


def outcomes(fault: str, cases: tuple[Case, ...], *, limits: Limits | None = None) -> Iterator[dict[str, object]]:
    implementation = select([f"tests.support.faulty_adapters:{fault}"])[0]
    runner = Runner(processes=ProcessOptions(in_process=limits is None, limits=limits or Limits()))
    try:
        for case in cases:
            yield plain(runner.run(Cell(case=case, implementation=implementation, device="cpu")))
    finally:
        runner.close()


def test_the_exact_adapter_conforms_everywhere() -> None:
    table = tuple(case for case in load([default_cases()]).cases if case.tier != "nightly")
    red = [each for each in outcomes("Exact", table) if each["outcome"] != "conforms"]
    assert len(table) > 100
    assert red == []


def test_every_fault_has_its_check() -> None:
    assert set(FAULTS) == set(CHECK) | set(ENDINGS)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("fault", sorted(CHECK))
def test_a_fault_is_caught_by_the_check_it_is_the_business_of(fault: str, cases: tuple[Case, ...]) -> None:
    checks = (
        check["check"]
        for record in outcomes(fault, cases)
        for check in record["checks"]  # type: ignore[attr-defined]
        if check["outcome"] == "violates"
    )
    # Cells are run until one is red as it must be.
    assert CHECK[fault] in checks


@pytest.mark.parametrize("fault", sorted(ENDINGS))
def test_a_fault_that_ends_the_process_is_the_outcome_of_its_cell(fault: str, cases: tuple[Case, ...]) -> None:
    record = next(outcomes(fault, cases, limits=Limits(hang=2.0)))
    assert record["outcome"] == ENDINGS[fault]
    assert record["outcome"] in FAILING
    assert record["crash"]["step"] == "output"  # type: ignore[index]
