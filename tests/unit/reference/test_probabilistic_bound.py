"""The statistical line follows from its stated probability, never rejects honest sums, and catches TF32."""

from __future__ import annotations

import math

import numpy as np
import pytest

from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.checks.expectations import Expected
from conformance.checks.judgement import findings_of
from conformance.checks.references import question
from conformance.reference.probabilistic_bound import (
    ARRAYS,
    ELEMENTS,
    FALSE_ALARM,
    FEWEST,
    LAMBDA,
    root_mean_square,
    roundings,
)
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Transcript
from conformance.table.case import Case, Layer
from tests.support import faulty_adapters
from tests.support.faulty_adapters import rounded

U = 2.0**-24


def test_the_constants_follow_from_the_stated_probability() -> None:
    assert ELEMENTS * 2 * math.exp(-(LAMBDA**2) / 2) == pytest.approx(FALSE_ALARM, rel=1e-9, abs=0.0)
    t = math.log(ARRAYS / FALSE_ALARM)
    assert root_mean_square(98, 100) ** 2 == pytest.approx(100 * (1 + 2 * math.sqrt(t / 100) + 2 * t / 100))


def test_the_proven_bound_is_used_if_it_is_the_smaller() -> None:
    assert roundings(1) == 3
    assert roundings(100) == 102
    assert roundings(1022) == LAMBDA * 32


def ratios(terms: int, bits: int | None, seed: int) -> np.ndarray:
    """Return error/(u B) of 64 dot products in serial float32, of operands rounded to `bits` bits if given."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (8, terms)).astype(np.float32)
    kernel = generator.uniform(-1, 1, (terms, 8)).astype(np.float32)
    a, w = (x, kernel) if bits is None else (rounded(x, bits), rounded(kernel, bits))
    got = np.zeros((8, 8), np.float32)
    for term in range(terms):
        got = got + a[:, term, None] * w[None, term]
    exact = x.astype(np.float64) @ kernel
    return (got - exact) / (U * (np.abs(x).astype(np.float64) @ np.abs(kernel)))


@pytest.mark.parametrize("terms", [1, 8, 64, 512, 1024, 4096])
def test_honest_serial_sums_are_never_rejected(terms: int) -> None:
    for seed in range(8):
        found = ratios(terms, None, seed)
        assert found.size == FEWEST
        assert np.abs(found).max() <= roundings(terms)
        assert np.sqrt((found**2).mean()) <= root_mean_square(terms, found.size)


@pytest.mark.parametrize("bits", [11, 8], ids=["tf32", "bfloat16"])
@pytest.mark.parametrize("terms", [1, 8, 64, 512, 1024])
def test_narrow_operands_are_rejected_by_the_root_mean_square(terms: int, bits: int) -> None:
    for seed in range(8):
        found = ratios(terms, bits, seed)
        assert np.sqrt((found**2).mean()) > 2 * root_mean_square(terms, found.size)


@pytest.mark.parametrize("fault", ["Exact", "Tf32Inside", "Bfloat16Inside"])
@pytest.mark.parametrize("features", [8, 64, 512, 1024])
def test_on_the_uniform_lane_narrow_operands_are_red_and_honest_ones_green(fault: str, features: int) -> None:
    """64 outputs, K up to 1024: the power `docs/numerics.md` states, through the checks themselves."""
    case = Case(input_shape=(features,), layers=(Layer(units=8),), batch=8)
    asked = question(case, "cpu")
    replies = {each.label: each for each in perform(getattr(faulty_adapters, fault)(), asked.steps)}
    cell = Cell(case=case, implementation=Implementation(name="x", adapter="x", packages=("tests",)), device="cpu")
    found = findings_of(cell, asked, Transcript(replies=replies), Expected(case, asked))
    red = {each.check for each in found if each.outcome != "conforms"}
    assert {"output", "gradients"} <= red if fault != "Exact" else red == set()
