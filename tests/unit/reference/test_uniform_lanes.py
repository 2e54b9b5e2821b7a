"""The lanes `wide` and `cancelling`: numbers far apart, and sums that nearly vanish."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import NoDraw, as_matrix, draws
from conformance.table.case import DTYPES
from tests.support.lanes import answer_of, case_of, operands, wide


@pytest.mark.parametrize(
    ("dtype", "positions", "units"),
    [("float64", 460, 70), ("float32", 70, 12), ("bfloat16", 70, 12), ("float16", 7, 1)],
)
def test_positions_and_units_have_scales_far_from_each_other(dtype: str, positions: int, units: int) -> None:
    """Exponents, as the ranges in bits between the largest and the smallest."""
    for draw in draws(case_of("wide", (64,), (16,), dtype=dtype)):
        of_positions = np.log2(np.abs(wide(draw.x)).max(axis=1))
        of_units = np.log2(np.abs(wide(draw.kernels[0])).max(axis=0))
        assert np.ptp(of_positions) >= positions
        assert np.ptp(of_units) >= units
        assert len(set(np.round(of_positions))) == 8


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=2),
    units=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    activation=st.sampled_from(["linear", "relu", "tanh", "softmax", "exponential"]),
    use_bias=st.booleans(),
)
def test_nothing_wide_overflows_or_falls_below_the_normal_range(
    dtype: str, shape: list[int], units: list[int], activation: str, use_bias: bool
) -> None:
    case = case_of("wide", tuple(shape), tuple(units), dtype=dtype, activation=activation, use_bias=use_bias)
    try:
        drawn = draws(case)
    except NoDraw:
        return
    form = FORMATS[dtype]
    # float16 has not the range for it; but what lies below is a normal number where it is summed, and is not flushed.
    least = FORMATS[form.accumulator].smallest_normal
    for draw in drawn:
        for each in operands(draw):
            assert (np.abs(wide(each[each != 0])) >= least).all()
        reference = answer_of(draw, case)
        results = [reference.y, reference.dx, *(each for pair in reference.layers for each in pair if each is not None)]
        for each in results:
            assert np.isfinite(each.exact).all()
            assert (np.abs(each.exact) < form.maximum).all()
        # What a result is a sum of is normal, though the sum may nearly vanish.
        terms = np.abs(wide(as_matrix(draw.x))) @ np.abs(wide(draw.kernels[0]))
        assert (terms >= least).all()


def test_a_wide_bias_contributes_at_the_smallest_position() -> None:
    for draw in draws(case_of("wide", (64,), (16,))):
        product = np.abs(wide(draw.x) @ wide(draw.kernels[0]))
        assert draw.biases[0] is not None
        bias = np.abs(wide(draw.biases[0]))
        smallest, largest = np.argsort(np.abs(wide(draw.x)).max(axis=1))[[0, -1]]
        assert (bias > product[smallest] * 2.0**-8).mean() > 0.8
        assert (bias < product[largest] * 2.0**-24).all()


def test_wide_pre_activations_reach_where_exp_overflows() -> None:
    for draw in draws(case_of("wide", activation="softmax")):
        assert float((draw.x @ draw.kernels[0] + draw.biases[0]).max()) > 89.0


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("features", [1, 2, 64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_unit_cancels_at_its_position(dtype: str, features: int, use_bias: bool) -> None:
    if features == 1 and not use_bias:
        return
    u = FORMATS[dtype].unit_roundoff
    case = case_of("cancelling", (features,), dtype=dtype, use_bias=use_bias)
    for draw in draws(case):
        x, kernel = wide(draw.x), wide(draw.kernels[0])
        bias = 0.0 if draw.biases[0] is None else wide(draw.biases[0])
        y, magnitude = x @ kernel + bias, np.abs(x) @ np.abs(kernel) + np.abs(bias)
        each = np.arange(8)
        # Where a last feature is nearly nothing its weight cannot make up for the others.
        able = np.full(8, True) if use_bias else np.abs(x[:, -1]) > 2.0**-6
        assert able.sum() >= 6
        small = np.abs(y[each, each]) <= (u + (features + 2) * 2.0**-53) * magnitude[each, each]
        assert small[able].all()
        assert (np.abs(y) > 2.0**-6 * magnitude).any()


def test_a_second_layer_cancels_too() -> None:
    case = case_of("cancelling", (64,), (16, 8))
    for draw in draws(case):
        reference = answer_of(draw, case)
        each = np.arange(8)
        assert (np.abs(reference.y.exact[each, each]) <= reference.y.allowed[each, each]).all()
        assert (np.abs(reference.y.exact) > 100.0 * reference.y.allowed).mean() > 0.5
