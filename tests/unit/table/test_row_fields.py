"""What a row may ask beyond values: switches, what a machine must have, shapes of layers nobody can hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from conformance.adapters.protocol import Array, Shape, Stack
from conformance.adapters.registry import Implementation, Participation, select
from conformance.checks.cell import cell_of, check_names, has_cell
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.selection import Selection
from conformance.table.case import Case, Layer
from conformance.table.coverage import FACTORS, coverage, document
from conformance.table.loader import default_cases, load
from tests.support.numpy_adapter import Honest, NumPyAdapter

ROW = Case(input_shape=(4,), layers=(Layer(units=3),))
SWITCHED = Case(input_shape=(4,), layers=(Layer(units=3),), environment=(("TF_ENABLE_ONEDNN_OPTS", "0"),))
HUGE = Case(input_shape=(10**6,), layers=(Layer(units=10**6),), lane="shapes")
ABSTRACT = Implementation(
    name="numpy:abstract", adapter="tests.support.faulty_adapters:Exact", packages=(), shapes_only=True
)


class _LosesBiasWhenSwitched(Honest):
    def biased(self, p: Array, bias: Array) -> Array:
        return p if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" else p + bias


class _BatchIsOne(Honest):
    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(1, *shape[1:]) for shape in shapes]


def LosesBiasWhenSwitched() -> NumPyAdapter:  # noqa: N802 - named as a class, since it stands where one does
    return NumPyAdapter(_LosesBiasWhenSwitched())


def BatchIsOne() -> NumPyAdapter:  # noqa: N802
    return NumPyAdapter(_BatchIsOne())


def outcomes(adapter: str, *cases: Case, in_process: bool = False) -> Sequence[str]:
    (implementation,) = select([adapter])
    runner = Runner(processes=ProcessOptions(in_process=in_process))
    found = [runner.run(cell_of(case, implementation, "cpu")).outcome for case in cases]
    runner.close()
    return found


@pytest.mark.integration
def test_a_switch_reaches_the_process_of_its_row_and_no_other() -> None:
    adapter = "tests.unit.table.test_row_fields:LosesBiasWhenSwitched"
    assert outcomes(adapter, ROW, SWITCHED, ROW) == ["conforms", "violates", "conforms"]


def test_switches_are_part_of_the_question_and_of_the_id() -> None:
    assert SWITCHED.digest != ROW.digest
    assert SWITCHED.id == "4-3-tf_enable_onednn_opts-0-uniform"


@pytest.mark.parametrize("need", ["cuda", "mps"])
def test_a_row_about_another_device_is_not_run_here_with_the_reason(need: str) -> None:
    (implementation,) = select(["tests.support.faulty_adapters:Exact"])
    runner = Runner(processes=ProcessOptions(in_process=True))
    record = runner.run(cell_of(Case(input_shape=(4,), layers=(Layer(units=3),), needs=need), implementation, "cpu"))
    assert record.outcome == "not_run"
    assert need in record.reason


def test_the_lane_shapes_has_layers_too_large_for_memory() -> None:
    assert outcomes("tests.support.faulty_adapters:Exact", HUGE, in_process=True) == ["conforms"]
    assert check_names(HUGE) == ("output_shape", "parameters")


def test_a_layer_that_drops_the_batch_violates_on_shapes() -> None:
    assert outcomes("tests.unit.table.test_row_fields:BatchIsOne", HUGE, in_process=True) == ["violates"]


def test_an_implementation_without_values_has_cells_of_shapes_only() -> None:
    assert has_cell(HUGE, ABSTRACT)
    assert not has_cell(ROW, ABSTRACT)


def test_a_tier_has_the_implementations_of_the_tiers_before_it() -> None:
    full = {each.name for each in Selection().chosen()}
    nightly = {each.name for each in Selection(tier="nightly").chosen()}
    assert {"torch", "keras-jax", "flax-nnx", "tensorflow-v1"} <= full < nightly


def test_a_slow_implementation_runs_nightly_rows_only_if_named() -> None:
    exact, nightly = "tests.support.faulty_adapters:Exact", Participation(tier="nightly")
    slow = Implementation(name="slow", adapter=exact, packages=(), participation=replace(nightly, rows="full"))
    quick = Implementation(name="quick", adapter=exact, packages=(), participation=nightly)
    rows = [replace(ROW, tier=each, batch=number) for number, each in enumerate(("quick", "full", "nightly"), start=1)]
    devices = {"slow": ("cpu",), "quick": ("cpu",)}

    def tiers_of(**selected: Any) -> dict[str, list[str]]:
        cells = Selection(tier="nightly", **selected).cells(rows, (slow, quick), devices)
        return {name: [each.case.tier for each in cells if each.implementation.name == name] for name in devices}

    assert tiers_of() == {"slow": ["quick", "full"], "quick": ["quick", "full", "nightly"]}
    assert tiers_of(implementations=("slow", "quick"))["slow"] == ["quick", "full", "nightly"]


def test_coverage_counts_pairs_and_names_those_that_are_missing() -> None:
    none, one = coverage([]), coverage([ROW])
    factors = len(FACTORS)
    assert not none.covered
    assert len(one.covered) == factors * (factors - 1) // 2
    assert set(one.missing) == one.pairs - one.covered
    assert (("dtype", "float32"), ("lane", "uniform")) in one.covered
    assert (("activation", "softmax"), ("lane", "exact")) not in one.pairs
    assert f"{len(one.covered)} of {len(one.pairs)} pairs" in document(one)


def test_every_value_of_every_factor_is_in_the_table() -> None:
    covered = coverage(load([default_cases()]).cases).covered
    found = {value for pair in covered for value in pair}
    assert {(factor, value) for factor, (values, _) in FACTORS.items() for value in values} == found
