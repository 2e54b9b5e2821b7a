"""Sums that are rounded in another way than by the rule, and terms that are multiplied by a padding of zeros."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.reference import answer
from tests.support.deviations import U32, Array, drawn, linear, results, wide


@pytest.mark.parametrize("result", ["output", "dx", "dW", "db"])
@pytest.mark.parametrize("field", ["sums_in", "rounds_each_product", "rounds_toward_zero"])
def test_a_sum_that_is_rounded_otherwise_is_allowed_more_and_no_other_is(field: str, result: str) -> None:
    draw = drawn(dtype="bfloat16")
    value = {result: "bfloat16"} if field == "sums_in" else frozenset({result})
    rule, found = results(answer(draw, ["linear"], "bfloat16")), linear(draw, "bfloat16", **{field: value})
    for name, each in found.items():
        assert np.array_equal(each.exact, rule[name].exact)
        more = each.allowed > rule[name].allowed * 1.1
        assert more.all() if name == result else np.array_equal(each.allowed, rule[name].allowed), name


def test_how_much_more_a_sum_is_allowed_follows_from_how_it_is_rounded() -> None:
    """dW of 6 terms in bfloat16: u is 2**-8, that of the accumulator 2**-24."""
    draw, u = drawn(dtype="bfloat16"), 2.0**-8
    rule = results(answer(draw, ["linear"], "bfloat16"))["dW"]
    terms = 6
    magnitude = np.abs(wide(draw.x)).T @ np.abs(wide(draw.dy))
    # All terms are positive: the bound of a sum is n u B.
    changes: tuple[tuple[dict[str, Any], Array], ...] = (
        ({"sums_in": {"dW": "bfloat16"}}, terms * (u - U32) * magnitude * (1 + u)),
        ({"rounds_each_product": frozenset({"dW"})}, u * magnitude * (1 + u)),
        ({"rounds_toward_zero": frozenset({"dW"})}, u * np.abs(rule.exact)),
    )
    for change, more in changes:
        found = linear(draw, "bfloat16", **change)["dW"].allowed - rule.allowed
        assert np.allclose(found, more, rtol=1e-3, atol=0.0), change


def test_a_product_that_is_rounded_toward_zero_before_its_bias_is_off_by_a_whole_unit_twice() -> None:
    draw, u = drawn(dtype="bfloat16"), 2.0**-8
    rule = results(answer(draw, ["linear"], "bfloat16"))["output"]
    p = wide(draw.x) @ wide(draw.kernels[0])
    more = linear(draw, "bfloat16", rounds_toward_zero=frozenset({"output"}))["output"].allowed - rule.allowed
    assert np.allclose(more, u * (np.abs(p) + np.abs(rule.exact)) * (1 + u), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize(("padding", "met"), [("last_term", [1]), ("next_position", [0, 1])])
def test_an_infinity_that_meets_a_padding_of_zeros_makes_its_sums_nan(padding: str, met: list[int]) -> None:
    draw = drawn()
    x = draw.x.copy()
    x[1, 2], x[2, 0] = np.inf, np.inf
    y = linear(replace(draw, x=x), multiplies_padding=padding)["output"]
    assert np.flatnonzero(np.isnan(y.exact).all(axis=1)).tolist() == met
    assert not np.isnan(np.delete(y.exact, met, axis=0)).any()
    assert (y.allowed[met] == 0.0).all()


def test_an_even_number_of_terms_meets_no_padding() -> None:
    draw = drawn()
    x = draw.x.copy()
    x[-1, 0] = np.inf
    assert not np.isnan(linear(replace(draw, x=x), multiplies_padding="last_term")["dW"].exact).any()


def test_a_sum_for_each_position_meets_the_last_sample() -> None:
    """Of 3 samples of 2 positions each: an infinity at any position of the last."""
    draw = drawn()
    for row, met in ((4, [0]), (5, [0]), (3, [])):
        x = draw.x.copy()
        x[row, 0] = np.inf
        apart = replace(draw, x=x.reshape(3, 2, 3), dy=draw.dy.reshape(3, 2, 3))
        found = linear(apart, multiplies_padding="last_sample")["dW"]
        assert np.flatnonzero(np.isnan(found.exact).all(axis=1)).tolist() == met


def test_gradients_meet_the_padding_of_their_own_terms() -> None:
    """With 5 positions and 3 units: an infinity of the last position reaches dW, one of the last unit dx."""
    draw = drawn()
    x, dy = draw.x[:5].copy(), draw.dy[:5].copy()
    x[-1, 0], dy[2, 2] = np.inf, np.inf
    found = linear(replace(draw, x=x, dy=draw.dy[:5]), multiplies_padding="last_term")
    assert np.flatnonzero(np.isnan(found["dW"].exact).all(axis=1)).tolist() == [0]
    found = linear(replace(draw, x=draw.x[:5], dy=dy), multiplies_padding="last_term")
    assert np.flatnonzero(np.isnan(found["dx"].exact).all(axis=1)).tolist() == [2]


def test_of_the_last_position_there_is_no_next() -> None:
    draw = drawn()
    x = draw.x.copy()
    x[[0, -1], 0] = np.inf
    y = linear(replace(draw, x=x), multiplies_padding="next_position")["output"]
    assert np.flatnonzero(np.isnan(y.exact).any(axis=1)).tolist() == [4]
    assert np.isinf(y.exact[[0, -1]]).all()
