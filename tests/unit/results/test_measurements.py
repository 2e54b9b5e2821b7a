"""Measured facts about an implementation's arithmetic, on adapters with known arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from conformance.adapters.protocol import Array
from conformance.adapters.registry import select
from conformance.checks.cell import Cell
from conformance.results.measurements import Measurements
from conformance.results.record import MeasurementRecord
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.table.case import Case, Layer
from tests.support.numpy_adapter import Honest, NumPyAdapter, times


class _OneRounding(Honest):
    """Product and bias are summed in float64 and rounded once."""

    def product(self, x: Array, kernel: Array) -> Array:
        return x.astype(np.float64) @ kernel.astype(np.float64)

    def output(self, y: Array) -> Array:
        return y.astype(np.float32)


class _FlushesProducts(Honest):
    """Products below the normal range of float32 are zero; operands and results are kept."""

    def product(self, x: Array, kernel: Array) -> Array:
        terms = x[..., :, None] * kernel
        return np.where(np.abs(terms) < np.finfo(np.float32).tiny, 0, terms).sum(axis=-2, dtype=x.dtype)


class _BatchMatters(Honest):
    """The last bit of an output depends on the batch."""

    def product(self, x: Array, kernel: Array) -> Array:
        p = times(x, kernel)
        return p if x.shape[0] == 1 else np.nextafter(p, np.inf, dtype=p.dtype)


class _SumsInBfloat16(Honest):
    """db is added up in the dtype itself."""

    def bias_gradient(self, dz: Array) -> Array:
        total = np.zeros(dz.shape[1:], dz.dtype)
        for row in dz:
            total = total + row
        return total


def OneRounding() -> NumPyAdapter:  # noqa: N802 - named as a class, since it stands where one does
    return NumPyAdapter(_OneRounding())


def FlushesProducts() -> NumPyAdapter:  # noqa: N802
    return NumPyAdapter(_FlushesProducts())


def BatchMatters() -> NumPyAdapter:  # noqa: N802
    return NumPyAdapter(_BatchMatters())


def SumsInBfloat16() -> NumPyAdapter:  # noqa: N802
    return NumPyAdapter(_SumsInBfloat16())


def measured(adapter: str, *cases: Case) -> Mapping[str, MeasurementRecord]:
    """Return the facts of an adapter, by what they are about."""
    (implementation,) = select([adapter])
    runner, gathered = Runner(processes=ProcessOptions(in_process=True)), Measurements()
    for case in cases:
        record = runner.run(Cell(case=case, implementation=implementation, device="cpu"))
        assert record.outcome in ("conforms", "violates")
        gathered.add(record)
    runner.close()
    return {each.about: each for each in gathered.facts()}


ONE = Case(input_shape=(4, 1), layers=(Layer(units=3),), batch=4, lane="cancelling")
DENORMAL = Case(input_shape=(8,), layers=(Layer(units=3),), batch=4, lane="denormal")
EVEN = Case(input_shape=(64,), layers=(Layer(units=16),), batch=4, lane="uniform")
MANY = Case(input_shape=(8,), layers=(Layer(units=3),), batch=512, lane="uniform", dtype="bfloat16")


@pytest.mark.parametrize(
    ("adapter", "case", "about", "finding"),
    [
        ("tests.support.faulty_adapters:Exact", ONE, "bias", "rounded twice"),
        ("tests.unit.results.test_measurements:OneRounding", ONE, "bias", "rounded once"),
        ("tests.support.faulty_adapters:Exact", DENORMAL, "products denormal", "kept"),
        ("tests.support.faulty_adapters:Exact", DENORMAL, "x denormal", "kept"),
        ("tests.unit.results.test_measurements:FlushesProducts", DENORMAL, "products denormal", "flushed"),
        ("tests.unit.results.test_measurements:BatchMatters", EVEN, "bits in a batch and alone", "different"),
        ("tests.support.faulty_adapters:Exact", MANY, "sums of db", "in float32 or better"),
        ("tests.unit.results.test_measurements:SumsInBfloat16", MANY, "sums of db", "in less than float32"),
        ("tests.unit.results.test_measurements:SumsInBfloat16", MANY, "sums of dW", "in float32 or better"),
        ("tests.support.faulty_adapters:Exact", EVEN, "bits of repeated calls", "the same"),
    ],
)
def test_a_clear_way_of_rounding_is_the_finding(adapter: str, case: Case, about: str, finding: str) -> None:
    assert measured(adapter, case)[about].finding == finding


def test_without_evidence_there_are_no_facts() -> None:
    assert "bias" not in measured("tests.support.faulty_adapters:Exact", EVEN)
    assert measured("tests.support.faulty_adapters:Exact") == {}


def test_evidence_counts_the_outputs_that_distinguish_the_ways() -> None:
    evidence = measured("tests.unit.results.test_measurements:OneRounding", ONE)["bias"].evidence
    tell, once, twice = (int(word) for word in evidence.replace(":", " ").split() if word.isdigit())
    assert tell > 10
    assert (once, twice) == (tell, 0)
