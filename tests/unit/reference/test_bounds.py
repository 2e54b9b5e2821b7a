"""Each part of the bounds, by a right computation that needs it or a wrong one it must not let through."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.checks.comparison import compare
from conformance.reference import Reference, answer
from conformance.reference.draw import Draw, HalfWidths
from conformance.reference.enclosure import U64, Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.sum_bounds import TAIL_FACTOR, JointBound

FLOAT32, FLOAT16 = FORMATS["float32"], FORMATS["float16"]
TINY = 2.0**-126


def drawn(x: Any, kernel: Any, bias: Any = None, dtype: str = "float32", dy: Any = None, **fields: Any) -> Draw:
    form = FORMATS[dtype].dtype
    rows, columns = np.asarray(x, form), np.asarray(kernel, form)
    return Draw(
        name="",
        x=rows,
        kernels=(columns,),
        biases=(None if bias is None else np.asarray(bias, form),),
        dy=np.ones((len(rows), columns.shape[1]), form) if dy is None else np.asarray(dy, form),
        exact=False,
        **fields,
    )


def answered(x: Any, kernel: Any, bias: Any = None, *, dtype: str = "float32", **fields: Any) -> Reference:
    return answer(drawn(x, kernel, bias, dtype, **fields), ["linear"], dtype)


def accepted(got: Any, enclosure: Enclosure) -> bool:
    return compare("output", "y", np.asarray(got, np.float64), enclosure, "proven").outcome == "conforms"


def around(exact: float, allowed: float = 0.0, tail: float | None = None) -> Enclosure:
    return Enclosure(
        exact=np.array([exact]), allowed=np.array([allowed]), tail=None if tail is None else np.array([tail])
    )


@pytest.mark.parametrize(
    ("x", "kernel"),
    [
        (2.0**-130, 2.0**100),  # x is flushed, and its product would be normal
        (2.0**100, 2.0**-130),  # the kernel is
        (2.0**-80, 2.0**-60),  # the product is
    ],
)
def test_what_a_flush_to_zero_costs_is_allowed(x: float, kernel: float) -> None:
    y = answered([[x]], [[kernel]]).y
    assert accepted([[0.0]], y)
    assert accepted([[x * kernel]], y)
    assert not accepted([[-64.0 * (x * kernel + TINY)]], y)


def test_every_product_of_a_sum_may_be_flushed() -> None:
    assert accepted([[0.0]], answered([[0.99 * 2.0**-63] * 8], [[2.0**-63]] * 8).y)


def test_no_flush_is_allowed_of_numbers_that_are_normal_or_zero() -> None:
    """The smallest normal number is not flushed, and of zero nothing is lost."""
    assert not accepted([[0.0]], answered([[TINY]], [[2.0**100]]).y)
    assert not accepted([[0.0]], answered([[0.0, 1.0]], [[2.0**100], [2.0**-30]]).y)


@pytest.mark.parametrize(("dtype", "steps"), [("float16", (16, 31)), ("bfloat16", (8, 7))])
def test_the_product_may_be_rounded_before_its_bias_is_added(dtype: str, steps: tuple[int, int]) -> None:
    """A product of nearly half a unit more than a number of the format, and a bias that leaves that half alone."""
    u = FORMATS[dtype].unit_roundoff
    x, kernel = (1.0 + 2.0 * u * each for each in steps)
    p = 1.0 + 2.0 * u * sum(steps)
    assert 0.8 * u < x * kernel - p < u
    y = answered([[x]], [[kernel]], [-p], dtype=dtype).y
    assert accepted([[0.0]], y)
    assert accepted([[x * kernel - p]], y)
    assert not accepted([[-u]], y)
    # Without a bias there is one rounding alone.
    alone = answered([[1.0]], [[1.0]], dtype=dtype).y
    assert not accepted([[1.0 + 1.5 * u]], alone)


def test_rounding_below_the_normal_range_is_allowed() -> None:
    """1.5 of the smallest subnormal of float16 becomes 1 or 2 of them; nothing is flushed there."""
    smallest = 2.0**-24
    y = answered([[1.5 * 2.0**-14]], [[2.0**-10]], dtype="float16").y
    assert y.exact[0, 0] == 1.5 * smallest
    assert accepted([[1.0 * smallest]], y)
    assert accepted([[2.0 * smallest]], y)
    assert not accepted([[0.0]], y)


def test_the_last_layer_s_error_is_formed_of_members_not_of_exact_numbers() -> None:
    """The radius of a layer fed with numbers that are off is that of the largest members."""
    x, kernels = np.full((1, 64), 3.0, np.float32), (np.ones((64, 8), np.float32), np.ones((8, 1), np.float32))
    draw = replace(drawn(x, kernels[0]), kernels=kernels, biases=(None, None), dy=np.ones((1, 1), np.float32))
    y = answer(draw, ["linear", "linear"], "float32").y
    u = FLOAT32.unit_roundoff
    # Of terms of one sign: n u B for the sum, and u (y + n u B) for the result.
    sums = 64.0 * u * 192.0
    first = sums + u * (192.0 + sums) + 66.0 * U64 * 192.0
    inherited, magnitude = 8.0 * first, 8.0 * (192.0 + first)
    sums = inherited + 8.0 * u * magnitude
    second = sums + u * (1536.0 + sums) + 10.0 * U64 * magnitude
    assert float(y.allowed[0, 0]) == pytest.approx(second, rel=1e-12, abs=0.0)


def test_the_reference_s_own_error_is_in_the_radius_once_and_where_it_makes_one() -> None:
    """float64 sums of 1 and -1 around a small number: what is missing is far below float32, and still allowed."""
    x, kernel = [[1.0, 2.0**-24]], [[1.0], [2.0**-24]]
    y32 = answered(x, kernel).y
    u, magnitude = FLOAT32.unit_roundoff, 1.0 + 2.0**-48
    sums = 2.0 * u * magnitude
    rounding = sums + u * (magnitude + sums)
    floor = 3.0 * TINY + 2.0 * FLOAT32.half_smallest_subnormal
    own = 4.0 * U64 * magnitude
    assert float(y32.allowed[0, 0]) == pytest.approx(
        (rounding + floor + own) * (1.0 + 40.0 * U64), rel=2.0**-51, abs=0.0
    )
    # The inflation alone is 40 U64; without it the radius would be at most what its terms add up to.
    assert float(y32.allowed[0, 0]) > (rounding + own) * (1.0 + 30.0 * U64)
    y64 = answered(x, kernel, dtype="float64").y
    formula = (3.0 + 2.0 * U64) * U64 * magnitude * (1.0 + 72.0 * U64)
    assert float(y64.allowed[0, 0]) == pytest.approx(formula, rel=2.0**-50, abs=0.0)


LARGE = 4096
DRAWN = HalfWidths(kernels=(1.0, 1.0), dy=1.0)


@pytest.mark.parametrize(("half_widths", "line"), [(DRAWN, "statistical"), (None, "proven")])
def test_long_sums_have_the_statistical_bound_only_where_it_is_assumed(
    half_widths: HalfWidths | None, line: str
) -> None:
    x, kernel = np.ones((1, LARGE), np.float32), np.ones((LARGE, 1), np.float32)
    reference = answered(x, kernel, half_widths=half_widths)
    assert reference.line == line
    in_units = float(reference.y.allowed[0, 0]) / FLOAT32.unit_roundoff / LARGE - 1.0
    assert in_units == pytest.approx(LARGE if half_widths is None else TAIL_FACTOR, rel=1e-3, abs=0.0)


def test_only_sums_of_given_numbers_have_a_bound_of_the_root_mean_square() -> None:
    """dW of a layer below another is a sum of numbers with errors, as is the output of one above."""
    x, kernel = np.ones((8, 8), np.float32), np.ones((8, 8), np.float32)
    draw = drawn(x, kernel, half_widths=DRAWN)
    reference = answer(replace(draw, kernels=(kernel, kernel), biases=(None, None)), ["linear"] * 2, "float32")
    assert reference.y.joint is None
    assert reference.layers[0][0].joint is None
    assert reference.dx.joint is None
    one = answer(draw, ["linear"], "float32")
    assert all(each.joint is not None for each in (one.y, one.dx, one.layers[0][0]))


def test_errors_are_judged_together_if_sums_are_rounded_in_the_format_itself() -> None:
    def in_format(dtype: str, **fields: Any) -> bool:
        return Arithmetic(FORMATS[dtype], **{"exact": False, **fields}).sums_in_format

    assert in_format("float32")
    assert in_format("bfloat16", accumulator=FORMATS["bfloat16"])
    assert not in_format("float32", accumulator=FORMATS["bfloat16"])
    assert not in_format("float32", rounds_each_product=True)
    assert not in_format("float32", rounds_toward_zero=True)
    assert not in_format("bfloat16")
    assert not in_format("float32", exact=True)


def test_what_is_not_finite_reaches_the_sums_it_enters_and_no_other() -> None:
    x, kernel = [[np.inf, 1.0], [3.0, 5.0]], [[0.0, 1.0, -1.0], [7.0, 1.0, 1.0]]
    y = answered(x, kernel, [0.0, 1.0, 2.0]).y
    assert accepted([[np.nan, np.inf, -np.inf], [35.0, 9.0, 4.0]], y)
    assert accepted([[np.nan, np.inf, -np.inf], [35.0, np.nextafter(np.float32(9), 10), 4.0]], y)
    assert not accepted([[np.nan, np.inf, -np.inf], [35.0, 9.1, 4.0]], y)
    assert not accepted([[0.0, np.inf, -np.inf], [35.0, 9.0, 4.0]], y)
    assert not accepted([[np.nan, np.inf, np.inf], [35.0, 9.0, 4.0]], y)
    assert np.array_equal(y.allowed == 0.0, [[True] * 3, [False] * 3])


def test_a_bias_that_is_not_finite_reaches_its_unit_at_every_position() -> None:
    y = answered([[1.0], [2.0]], [[3.0, 4.0]], [np.inf, 0.0]).y
    assert accepted([[np.inf, 4.0], [np.inf, 8.0]], y)
    assert not accepted([[3.0, 4.0], [6.0, 8.0]], y)


def test_float64_knows_what_is_not_finite_too() -> None:
    y = answered([[np.inf], [2.0]], [[3.0]], dtype="float64").y
    assert accepted([[np.inf], [6.0]], y)
    assert not accepted([[np.inf], [6.5]], y)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_overflows_in_every_right_layer_is_an_infinity(sign: float) -> None:
    y = answered([[sign * 2.0**100]], [[2.0**30]]).y
    assert accepted([[sign * np.inf]], y)
    assert not accepted([[-sign * np.inf]], y)
    assert not accepted([[sign * FLOAT32.maximum]], y)


@pytest.mark.parametrize(
    ("exact", "allowed", "overflows"),
    [
        (65520.0, 0.0, True),  # half a unit in the last place beyond the largest number rounds up
        (-65520.0, 0.0, True),
        (65519.9, 0.0, False),
        (65504.0, 0.0, False),
        (65530.0, 20.0, False),  # a member does not overflow
        (np.inf, 0.0, True),
    ],
)
def test_an_overflow_begins_half_a_unit_beyond_the_largest_number(
    exact: float, allowed: float, overflows: bool
) -> None:
    found = around(exact, allowed).overflowed(FLOAT16)
    assert found.exact[0] == (math.copysign(math.inf, exact) if overflows else exact)
    assert found.allowed[0] == (0.0 if overflows else allowed)


def test_an_infinity_has_no_radius() -> None:
    assert around(70000.0, 2.0).overflowed(FLOAT16).allowed[0] == 0.0


def test_rounding_to_another_format_adds_its_own_error_for_every_member() -> None:
    found = around(-3.0, 0.5, 2.0**-60).rounded(FLOAT16)
    assert found.allowed[0] == 0.5 + 2.0**-11 * 3.5 + 2.0**-25
    assert found.tail is not None
    assert found.tail[0] == 2.0**-60
    assert around(70000.0).rounded(FLOAT16).exact[0] == np.inf


def test_the_tail_is_part_of_the_exact_answer() -> None:
    enclosure = around(1.0, tail=2.0**-60)
    assert enclosure.error(np.array([1.0 + 2.0**-52]))[0] == 2.0**-52 - 2.0**-60
    assert enclosure.error(np.array([1.0 - 2.0**-52]))[0] == 2.0**-52 + 2.0**-60


def test_another_shape_changes_nothing_else() -> None:
    joint = JointBound(unit=np.ones((2, 3)), clip=4.0, limit=2.0)
    whole = Enclosure(exact=np.ones((2, 3)), allowed=np.ones((2, 3)), joint=joint)
    for each in (whole.reshape((6,)), whole.transposed):
        assert each.joint is not None
        assert each.joint.unit.shape == each.exact.shape
        assert (each.joint.clip, each.joint.limit) == (4.0, 2.0)


@pytest.mark.parametrize("dtype", FORMATS)
def test_on_the_exact_lane_no_operation_costs_anything(dtype: str) -> None:
    exact, rounded = Arithmetic(FORMATS[dtype], exact=True), Arithmetic(FORMATS[dtype], exact=False)
    for name in ("u", "u_accumulate", "u_reference", "flushed", "floor", "function_error"):
        assert getattr(exact, name) == 0.0
        assert getattr(rounded, name) > 0.0
    assert rounded.function_error >= 8.0 * U64
    assert rounded.floor == rounded.flushed + 4.0 * FORMATS[dtype].half_smallest_subnormal


SMALL = 2.0**-130


@pytest.mark.parametrize(("dtype", "small"), [("float32", SMALL), ("float16", 2.0**-20)])
@pytest.mark.parametrize("part", [0.0, 0.25, 1.0])
def test_a_denormal_may_be_flushed_in_part_or_whole(part: float, dtype: str, small: float) -> None:
    got = part * small
    flushed_x = answered([[small]], [[1.0]], denormal=True, dtype=dtype)
    assert accepted([[got]], flushed_x.y)
    assert accepted([[got]], flushed_x.layers[0][0])
    assert accepted([[got]], answered([[1.0]], [[small]], denormal=True, dtype=dtype).dx)
    db = answered([[1.0]], [[1.0]], [1.0], dy=[[small]], denormal=True, dtype=dtype).layers[0][1]
    assert db is not None
    assert accepted([got], db)


def test_a_denormal_is_never_more_than_itself_or_less_than_zero() -> None:
    reference = answered([[SMALL]], [[1.0]], denormal=True)
    for enclosure in (reference.y, reference.layers[0][0]):
        for wrong in (-TINY * 8.0, TINY * 8.0):
            assert not accepted([[wrong]], enclosure)


def test_a_number_beyond_the_reach_of_a_flush_has_to_be_right() -> None:
    dx = answered([[SMALL]], [[1.0]], denormal=True).dx
    assert accepted([[1.0 + 2.0**-23]], dx)
    assert not accepted([[0.0]], dx)
    assert not accepted([[0.5]], dx)


def test_denormals_reach_as_far_as_terms_multiply_and_add_them() -> None:
    """A flushed x costs its product with the largest weight, as often as there are features."""
    large = 2.0**20
    y = answered([[0.9 * TINY] * 64], [[large]] * 64, denormal=True).y
    assert accepted([[0.0]], y)
    dkernel = answered([[0.9 * TINY]] * 64, [[large]], denormal=True, dy=[[large]] * 64).layers[0][0]
    assert accepted([[0.0]], dkernel)
    dx = answered([[large]], [[0.9 * TINY] * 64], denormal=True, dy=[[large] * 64]).dx
    assert accepted([[0.0]], dx)


def test_denormals_of_float64_are_allowed_the_same() -> None:
    y = answered([[2.0**-1060]], [[1.0]], dtype="float64", denormal=True).y
    assert accepted([[0.0]], y)
    assert accepted([[2.0**-1060]], y)


def test_the_reference_of_float64_is_more_accurate_than_float64() -> None:
    draw = drawn([[0.3, 0.7]], [[0.1], [0.2]], dtype="float64")
    reference = answer(draw, ["tanh"], "float64")
    assert all(each.tail is not None for each in (reference.y, reference.dx, reference.layers[0][0]))


def test_one_declared_activation_makes_a_stack_declared_and_every_layer_has_its_own() -> None:
    one = np.ones((1, 1), np.float32)
    draw = replace(drawn(one, one), kernels=(one, one), biases=(None, None))
    reference = answer(draw, ["tanh", "linear"], "float32")
    assert reference.line == "declared"
    assert reference.layers[1][0].exact[0, 0] == pytest.approx(math.tanh(1.0))
    assert reference.layers[0][0].exact[0, 0] == pytest.approx(1.0 - math.tanh(1.0) ** 2)
