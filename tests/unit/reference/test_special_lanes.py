"""The lanes `special` and `denormal`: what IEEE 754 gives, in any order and with any flush to zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.checks.comparison import compare
from conformance.checks.finding import CONFORMS, VIOLATES
from conformance.checks.references import question
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw, as_matrix, draws
from conformance.table.case import DTYPES
from tests.support.fault_matrix import CaseQuestion, red_checks
from tests.support.faulty_adapters import Exact
from tests.support.lanes import answer_of, case_of, enclosures, operands, wide

Array = Any


def product_in_order(left: Array, right: Array, order: list[int]) -> Array:
    """Return left·right summed term by term in one order, in the format itself or, for 16 bits, in float32."""
    form = np.float32 if left.dtype.itemsize < 4 else left.dtype.type
    total = np.zeros((left.shape[0], right.shape[1]), form)
    for index in order:
        total = total + left[:, index, None].astype(form) * right[index].astype(form)
    return total


def special_results(draw: Draw, shuffled: Callable[[int], list[int]]) -> dict[str, Array]:
    x, kernel, dy = as_matrix(draw.x), draw.kernels[0], as_matrix(draw.dy)
    y = product_in_order(x, kernel, shuffled(x.shape[1]))
    y = y if draw.biases[0] is None else y + draw.biases[0].astype(y.dtype)
    ones = np.ones((1, dy.shape[0]), dy.dtype)
    found = {
        "y": y.reshape(draw.dy.shape),
        "dx": product_in_order(dy, kernel.T, shuffled(dy.shape[1])).reshape(draw.x.shape),
        "dW": product_in_order(x.T, dy, shuffled(x.shape[0])),
        "db": product_in_order(ones, dy, shuffled(dy.shape[0]))[0],
    }
    return {name: each.astype(draw.x.dtype) for name, each in found.items()}


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=2),
    units=st.integers(1, 9),
    batch=st.integers(1, 6),
    use_bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
@np.errstate(all="ignore")
def test_in_every_order_ieee_gives_the_reference(
    dtype: str, shape: list[int], units: int, batch: int, use_bias: bool, seed: int
) -> None:
    case = case_of("special", tuple(shape), (units,), dtype=dtype, batch=batch, use_bias=use_bias)
    generator = np.random.default_rng(seed)
    for draw in draws(case):
        assert draw.exact
        results = special_results(draw, lambda size: generator.permutation(size).tolist())
        for name, enclosure in enclosures(answer_of(draw, case)).items():
            found = compare("output", name, results[name], enclosure, "exact")
            assert found.outcome == CONFORMS, (draw.name, found.message)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_special_number_comes_out_and_the_rest_stays_clean(dtype: str) -> None:
    case = case_of("special", dtype=dtype)
    by_name = {draw.name: (draw, answer_of(draw, case).y.exact) for draw in draws(case)}
    assert list(by_name) == ["x not finite", "kernel not finite", "bias not finite", "overflowing"]
    for name in ("x not finite", "kernel not finite", "bias not finite"):
        assert np.isnan(by_name[name][1]).any()
        assert np.isinf(by_name[name][1]).any()
    signs = np.concatenate([y[np.isinf(y)] for _, y in by_name.values()])
    assert {float(each) for each in signs} == {np.inf, -np.inf}
    assert np.isfinite(by_name["x not finite"][1][[0, *range(4, 8)]]).all()
    assert np.isfinite(by_name["kernel not finite"][1][1:, [0, *range(4, 8)]]).all()
    assert np.isfinite(by_name["bias not finite"][1][:, 3:]).all()
    draw, y = by_name["overflowing"]
    assert np.isfinite(np.concatenate([wide(each).ravel() for each in operands(draw)])).all()
    assert np.argwhere(np.isinf(y)).tolist() == [[7, 7]]


def test_a_nonfinite_number_meets_a_zero() -> None:
    """Or a product left out where a factor is 0 would never be seen."""
    draw = next(each for each in draws(case_of("special")) if each.name == "kernel not finite")
    met = (draw.x == 0.0) @ ~np.isfinite(draw.kernels[0])
    assert met.any()


def test_long_sums_of_few_bits_are_not_taken_for_exact() -> None:
    case = case_of("special", (4096,), dtype="bfloat16")
    assert not any(draw.exact for draw in draws(case))
    assert red_checks(Exact(), CaseQuestion(case=case, question=question(case, "cpu"))) == set()


def test_overflow_begins_half_a_unit_beyond_the_largest_number() -> None:
    """65504 is float16's largest; from 65520 on rounding to nearest gives an infinity."""
    exact = np.array([65504.0, 65519.0, 65520.0, -65520.0, 1e9])
    found = Enclosure(exact=exact, allowed=np.zeros(5)).overflowed(FORMATS["float16"]).exact
    with np.errstate(over="ignore"):
        rounding = exact.astype(np.float16).astype(np.float64)
    assert (np.isinf(found) == np.isinf(rounding)).all()
    assert found[3] == -np.inf


@pytest.mark.parametrize(
    ("got", "exact", "conforms"),
    [
        ([np.nan], [np.nan], True),
        ([np.inf], [np.inf], True),
        ([-np.inf], [np.inf], False),
        ([np.nan], [np.inf], False),
        ([np.inf], [np.nan], False),
        ([3.4e38], [np.inf], False),
        ([np.inf], [3.4e38], False),
        ([np.nan], [0.0], False),
        ([0.0], [-0.0], True),
    ],
)
def test_which_elements_are_finite_is_compared_first(got: list[float], exact: list[float], conforms: bool) -> None:
    enclosure = Enclosure(exact=np.array(exact), allowed=np.full(1, 1e300))
    outcome = compare("output", "y", np.array(got), enclosure, "proven").outcome
    assert outcome == (CONFORMS if conforms else VIOLATES)


def flushed(array: Array, smallest_normal: float) -> Array:
    return np.where(np.abs(array) < smallest_normal, 0.0, array)


def with_flushes(left: Array, right: Array, bias: Array, smallest_normal: float) -> dict[str, Array]:
    """Return left·right + bias with each kind of flush to zero, exact but for it."""

    def f(array: Array) -> Array:
        return flushed(array, smallest_normal)

    terms = left[:, :, None] * right
    return {
        "kept": left @ right + bias,
        "left flushed": f(left) @ right + bias,
        "right flushed": left @ f(right) + bias,
        "bias flushed": left @ right + f(bias),
        "products flushed": f(terms).sum(axis=1) + bias,
        "result flushed": f(left @ right + bias),
        "all flushed": f(f(f(left)[:, :, None] * f(right)).sum(axis=1) + f(bias)),
    }


@pytest.mark.parametrize("features", [1, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_that_may_be_flushed_may_and_nothing_else(dtype: str, features: int) -> None:
    smallest_normal = FORMATS[dtype].smallest_normal
    case = case_of("denormal", (features,), (4,), dtype=dtype)
    for draw in draws(case):
        assert draw.exact
        x, kernel, dy = (wide(each) for each in (draw.x, draw.kernels[0], draw.dy))
        bias = wide(draw.biases[0])
        answers = {
            "y": with_flushes(x, kernel, bias, smallest_normal),
            "dx": with_flushes(dy, kernel.T, np.zeros(features), smallest_normal),
            "dW": with_flushes(x.T, dy, np.zeros(4), smallest_normal),
        }
        of = enclosures(answer_of(draw, case))
        for name, given_out in answers.items():
            for how, got in given_out.items():
                found = compare("output", how, got, of[name], "proven")
                assert found.outcome == CONFORMS, (draw.name, name, found.message)
            kept = given_out["kept"]
            assert (wide(kept.astype(FORMATS[dtype].dtype)) == kept).all()
            for wrong in (2.0 * kept, -kept, kept * 1.5, np.full_like(kept, smallest_normal * 1e4)):
                assert compare("output", "", wrong, of[name], "proven").outcome == VIOLATES
        assert compare("output", "", np.zeros_like(of["db"].exact), of["db"], "proven").outcome == VIOLATES


@pytest.mark.parametrize(("name", "result"), [("x denormal", "dx"), ("kernel denormal", "dW")])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_normal_number_may_not_be_flushed(dtype: str, name: str, result: str) -> None:
    case = case_of("denormal", (16,), (4,), dtype=dtype)
    draw = next(each for each in draws(case) if each.name == name)
    enclosure = enclosures(answer_of(draw, case))[result]
    spoilt = enclosure.exact.copy()
    assert compare("output", "", spoilt, enclosure, "proven").outcome == CONFORMS
    spoilt[0, 0] = 0.0
    assert compare("output", "", spoilt, enclosure, "proven").outcome == VIOLATES
