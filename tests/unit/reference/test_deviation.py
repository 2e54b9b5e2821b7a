"""What is computed instead of the rule, each field alone: the operands, the exact answer and the error allowed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from conformance.reference import Deviation, Reference, answer
from conformance.reference.deviation import NO_DEVIATION, operands, stays_exact
from conformance.reference.draw import Draw
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS

Array = np.ndarray
THIRD = 1.0 / 3.0
U16, U32 = 2.0**-11, 2.0**-24


def drawn(*, dtype: str = "float32", layers: int = 1, exact: bool = False, scale: float = 1.0) -> Draw:
    """Return a draw of square layers whose numbers are rounded in every shorter format, unless it is exact."""
    form = FORMATS[dtype].dtype
    numbers = np.random.default_rng(7)

    def some(*shape: int) -> Array:
        drawn = numbers.integers(1, 5, shape) if exact else numbers.uniform(0.5, 1.5, shape) * scale
        return drawn.astype(form)

    return Draw(
        name="",
        x=some(6, 3),
        kernels=tuple(some(3, 3) for _ in range(layers)),
        biases=tuple(some(3) for _ in range(layers)),
        dy=some(6, 3),
        exact=exact,
    )


def wide(array: Array | None) -> Array:
    assert array is not None
    return array.astype(np.float64)


def cast(array: Array | None, dtype: str) -> Array:
    assert array is not None
    return wide(array.astype(FORMATS[dtype].dtype))


def results(reference: Reference) -> dict[str, Enclosure]:
    ((kernel, bias),) = reference.layers
    assert bias is not None
    return {"output": reference.y, "dx": reference.dx, "dW": kernel, "db": bias}


def linear(draw: Draw, dtype: str = "float32", **fields: Any) -> dict[str, Enclosure]:
    return results(answer(draw, ["linear"], dtype, [Deviation(**fields)]))


def differing(draw: Draw, dtype: str = "float32", **fields: Any) -> set[str]:
    """Return the results whose exact answer is another than the rule's."""
    rule, found = results(answer(draw, ["linear"], dtype)), linear(draw, dtype, **fields)
    return {name for name, each in rule.items() if not np.array_equal(each.exact, found[name].exact)}


@pytest.mark.parametrize(
    ("operand", "reached"),
    [("x", {"output", "dW"}), ("kernel", {"output", "dx"}), ("bias", {"output"}), ("dy", {"dx", "dW", "db"})],
)
def test_an_operand_that_is_cast_changes_what_it_enters(operand: str, reached: set[str]) -> None:
    draw = drawn()
    assert differing(draw, casts={operand: "bfloat16"}) == reached
    assert differing(draw, casts={operand: "float32"}) == set()


def test_an_operand_that_is_cast_is_rounded_to_nearest() -> None:
    draw = drawn()
    y = linear(draw, casts={"x": "bfloat16"})["output"]
    assert np.array_equal(y.exact, cast(draw.x, "bfloat16") @ wide(draw.kernels[0]) + wide(draw.biases[0]))


def test_each_layer_casts_its_own_weights_and_the_ends_of_the_stack_what_enters_there() -> None:
    draw = drawn(layers=2)
    both = {"x": "bfloat16", "kernel": "bfloat16", "bias": "bfloat16", "dy": "bfloat16"}
    first = operands(draw, (Deviation(casts=both), NO_DEVIATION))
    last = operands(draw, (NO_DEVIATION, Deviation(casts=both)))
    for given, index, x_is_cast in ((first, 0, True), (last, 1, False)):
        assert np.array_equal(wide(given.kernels[index]), cast(draw.kernels[index], "bfloat16"))
        assert np.array_equal(wide(given.biases[index]), cast(draw.biases[index], "bfloat16"))
        assert np.array_equal(given.kernels[1 - index], draw.kernels[1 - index])
        assert np.array_equal(wide(given.biases[1 - index]), wide(draw.biases[1 - index]))
        assert np.array_equal(given.x, draw.x) is not x_is_cast
        assert np.array_equal(given.dy, draw.dy) is x_is_cast


def test_a_bias_that_is_lost_leaves_its_gradient() -> None:
    draw = drawn()
    found = linear(draw, loses_bias=True)
    assert differing(draw, loses_bias=True) == {"output"}
    assert np.array_equal(found["output"].exact, wide(draw.x) @ wide(draw.kernels[0]))


def test_infinite_weights_are_clipped_each_to_its_side_and_x_is_not() -> None:
    draw = drawn()
    kernel, bias = draw.kernels[0].copy(), wide(draw.biases[0]).astype(np.float32)
    kernel[0, 0], kernel[1, 1], bias[2] = np.inf, -np.inf, np.inf
    x = draw.x.copy()
    x[0, 0] = np.inf
    given = operands(replace(draw, x=x, kernels=(kernel,), biases=(bias,)), (Deviation(clips_infinities=True),))
    largest = FORMATS["float32"].maximum
    clipped = given.biases[0]
    assert clipped is not None
    assert (given.kernels[0][0, 0], given.kernels[0][1, 1], clipped[2]) == (largest, -largest, largest)
    assert np.isinf(given.x[0, 0])
    kept = np.isfinite(kernel)
    assert np.array_equal(given.kernels[0][kept], kernel[kept])


def test_what_computes_in_another_format_has_all_operands_and_the_bounds_of_that() -> None:
    draw = drawn(dtype="float64")
    found = linear(draw, "float64", computes_in="float32")
    x, kernel, bias, dy = (cast(each, "float32") for each in (draw.x, draw.kernels[0], draw.biases[0], draw.dy))
    right = {"output": x @ kernel + bias, "dx": dy @ kernel.T, "dW": x.T @ dy, "db": dy.sum(axis=0)}
    for name, each in found.items():
        assert np.allclose(each.exact, right[name], rtol=1e-15, atol=0.0)
        relative = each.allowed / np.abs(each.exact)
        assert ((relative > 2 * U32) & (relative < 16 * U32)).all(), name
        assert each.tail is None


def test_products_in_another_format_leave_the_bias_and_its_gradient_as_they_are() -> None:
    draw = drawn(dtype="float64")
    found = linear(draw, "float64", products_in="float32")
    x, kernel, dy = (cast(each, "float32") for each in (draw.x, draw.kernels[0], draw.dy))
    assert np.allclose(found["output"].exact, x @ kernel + wide(draw.biases[0]), rtol=1e-15, atol=0.0)
    assert np.allclose(found["dx"].exact, dy @ kernel.T, rtol=1e-15, atol=0.0)
    assert np.allclose(found["dW"].exact, x.T @ dy, rtol=1e-15, atol=0.0)
    assert np.allclose(found["db"].exact, wide(draw.dy).sum(axis=0), rtol=1e-15, atol=0.0)
    for name, each in found.items():
        relative = float((each.allowed / np.abs(each.exact)).max())
        assert (relative > U32) is (name != "db"), name
        assert relative < 16 * U32
    # The bias is added in float64 to what was rounded to float32: its own rounding is too small to be the difference.
    without = linear(replace(draw, biases=(np.zeros(3),)), "float64", products_in="float32")
    assert np.allclose(without["output"].allowed, found["output"].allowed, rtol=1e-6, atol=0.0)


def test_between_layers_a_product_in_another_format_rounds_its_operand() -> None:
    draw = drawn(dtype="float64", layers=2)
    deviations = (NO_DEVIATION, Deviation(products_in="float32"))
    reference = answer(draw, ["linear", "linear"], "float64", deviations)
    first = wide(draw.x) @ wide(draw.kernels[0]) + wide(draw.biases[0])
    second = cast(first, "float32") @ cast(draw.kernels[1], "float32") + wide(draw.biases[1])
    assert (reference.y.error(second) <= reference.y.allowed).all()
    of_rule = first @ wide(draw.kernels[1]) + wide(draw.biases[1])
    assert (np.abs(reference.y.exact - of_rule) <= 8 * U32 * np.abs(of_rule)).all()
    assert not np.array_equal(reference.y.exact, of_rule)
    # The rounding of the operand is allowed beside those of the product: (K+2) u B and u|p|.
    kernel = wide(draw.kernels[1])
    magnitude, product = np.abs(first) @ np.abs(kernel), np.abs(first @ kernel)
    rest = reference.y.allowed - U32 * ((len(kernel) + 2) * magnitude + product)
    assert (rest >= 0.9 * U32 * magnitude).all()


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
    changes: tuple[tuple[dict[str, Any], Array], ...] = (
        ({"sums_in": {"dW": "bfloat16"}}, (terms + 2) * (u - U32) * magnitude),
        ({"rounds_each_product": frozenset({"dW"})}, u * magnitude),
        ({"rounds_toward_zero": frozenset({"dW"})}, u * np.abs(rule.exact)),
    )
    for change, more in changes:
        found = linear(draw, "bfloat16", **change)["dW"].allowed - rule.allowed
        assert np.allclose(found, more * (1 + u), rtol=1e-3, atol=0.0), change


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


def test_constants_and_formulas_are_those_of_the_layer_that_has_them() -> None:
    draw = drawn(layers=2, scale=-1.0)
    names = ["leaky_relu", "leaky_relu"]
    rule = answer(draw, names, "float32")
    steep = Deviation(constants={"slope": 0.5})
    last, both = (answer(draw, names, "float32", each) for each in ((NO_DEVIATION, steep), (steep, steep)))
    z = wide(draw.x) @ wide(draw.kernels[0]) + wide(draw.biases[0])

    def of(a: Array, first: float, second: float) -> Array:
        a = np.where(a > 0, a, first * a) @ wide(draw.kernels[1]) + wide(draw.biases[1])
        return np.where(a > 0, a, second * a)

    assert np.allclose(rule.y.exact, of(z, 0.01, 0.01), rtol=1e-12, atol=0.0)
    assert np.allclose(last.y.exact, of(z, 0.01, 0.5), rtol=1e-12, atol=0.0)
    assert np.allclose(both.y.exact, of(z, 0.5, 0.5), rtol=1e-12, atol=0.0)
    identity = answer(drawn(), ["softmax"], "float32", [Deviation(formula="identity")])
    assert np.array_equal(identity.y.exact, answer(drawn(), ["linear"], "float32").y.exact)


@pytest.mark.parametrize(
    ("error", "more"),
    [
        ({"absolute": 8.0}, lambda y: 8.0 * U32 + 0.0 * y),
        ({"relative": 8.0}, lambda y: 8.0 * U32 * np.abs(y)),
        ({"absolute": 2.0, "relative": 4.0}, lambda y: U32 * (2.0 + 4.0 * np.abs(y))),
    ],
)
def test_an_error_of_the_activation_is_in_unit_roundoffs_absolute_and_relative(error: Any, more: Any) -> None:
    draw = drawn(scale=-1.0)
    rule = answer(draw, ["tanh"], "float32").y
    found = answer(draw, ["tanh"], "float32", [Deviation(error=error)]).y
    assert np.array_equal(found.exact, rule.exact)
    assert np.allclose(found.allowed - rule.allowed, more(rule.exact), rtol=1e-6, atol=0.0)


def test_what_is_allowed_more_reaches_the_layers_after_it() -> None:
    draw = drawn(layers=2)
    names = ["tanh", "linear"]
    rule = answer(draw, names, "float32")
    deviations = (Deviation(error={"absolute": 8.0}), NO_DEVIATION)
    found = answer(draw, names, "float32", deviations)
    reached = 8.0 * U32 * np.abs(wide(draw.kernels[1])).sum(axis=0)
    assert np.allclose(found.y.allowed - rule.y.allowed, np.broadcast_to(reached, (6, 3)), rtol=1e-3, atol=0.0)
    assert (found.layers[1][0].allowed > rule.layers[1][0].allowed).all()


WIDENING: tuple[dict[str, Any], ...] = (
    {"sums_in": {"dW": "float16"}},
    {"rounds_each_product": {"dW"}},
    {"rounds_toward_zero": {"dW"}},
)
CHANGING: tuple[dict[str, Any], ...] = (
    {"casts": {"x": "float16"}},
    {"clips_infinities": True},
    {"reads_bits_as_integers": True},
    {"loses_bias": True},
    {"computes_in": "float32"},
    {"products_in": "float32"},
    {"multiplies_padding": "last_term"},
    {"constants": {"slope": 0.5}},
    {"formula": "identity"},
)


def test_what_leaves_the_exact_answer_alone_only_widens() -> None:
    assert NO_DEVIATION.widens_only
    for each in (*WIDENING, {"error": {"absolute": 1.0}}):
        assert Deviation(**each).widens_only, each
    for other in CHANGING:
        assert not Deviation(**other).widens_only, other
    named = {name for each in (*WIDENING, *CHANGING) for name in each} | {"error"}
    assert named == {each.name for each in fields(Deviation)}


def test_float64_is_held_to_more_than_float64_where_the_exact_answer_is_that_of_the_rule() -> None:
    draw = drawn(dtype="float64")
    rule = results(answer(draw, ["linear"], "float64"))
    for each in WIDENING:
        found = linear(draw, "float64", **each)
        assert all(result.tail is not None for result in found.values())
        assert all(np.array_equal(result.exact, rule[name].exact) for name, result in found.items())
    # Where it is another, the error the reference itself makes in float64 is allowed.
    other = linear(draw, "float64", casts={"dy": "float32"})
    assert all(each.tail is None for each in other.values())
    again = linear(draw, "float64", casts={"dy": "float64"})
    assert (again["output"].allowed > 1.5 * rule["output"].allowed).all()


@pytest.mark.parametrize(
    ("given", "is_exact"),
    [
        ({}, True),
        ({"loses_bias": True}, True),
        ({"casts": {"x": "bfloat16"}}, True),
        ({"computes_in": "float16"}, True),
        ({"products_in": "float16"}, True),
        ({"sums_in": {"dW": "float16"}}, True),
        # 98 is no number of 8 bits of significand whose half-way sums are.
        ({"computes_in": "bfloat16"}, False),
        ({"products_in": "bfloat16"}, False),
        ({"sums_in": {"dW": "bfloat16"}}, False),
        ({"error": {"absolute": 1.0}}, False),
        ({"formula": "identity"}, False),
        ({"constants": {"slope": 0.5}}, False),
    ],
)
def test_sums_of_small_integers_stay_exact_in_the_formats_that_hold_them(given: Any, is_exact: bool) -> None:
    draw = replace(drawn(exact=True), dy=np.full((6, 3), 16.0, np.float32))
    assert stays_exact(draw, ("linear",), "float32", (Deviation(**given),)) is is_exact
    assert not stays_exact(replace(draw, exact=False), ("linear",), "float32", (Deviation(**given),))


def test_an_infinity_takes_no_exactness_from_the_sums_it_does_not_enter() -> None:
    draw = drawn(exact=True)
    x = draw.x.copy()
    x[0, 0] = np.inf
    assert stays_exact(replace(draw, x=x), ("linear",), "float32", (NO_DEVIATION,))


def test_where_sums_are_exact_nothing_is_allowed_of_what_is_computed_instead() -> None:
    found = linear(drawn(exact=True), loses_bias=True)
    assert all((each.allowed == 0.0).all() for each in found.values())
    reference = answer(drawn(exact=True), ["linear"], "float32", [Deviation(loses_bias=True)])
    assert reference.line == "exact"


def test_where_they_are_exact_no_more_what_is_rounded_is_allowed() -> None:
    draw = replace(drawn(exact=True), dy=np.full((6, 3), 16.0, np.float32))
    assert (linear(draw, sums_in={"dW": "float16"})["dW"].allowed == 0.0).all()
    assert (linear(draw, sums_in={"dW": "bfloat16"})["dW"].allowed > 0.0).all()


def test_no_deviation_is_the_rule() -> None:
    draw = drawn()
    rule, found = results(answer(draw, ["linear"], "float32")), linear(draw)
    for name, each in rule.items():
        assert np.array_equal(each.exact, found[name].exact)
        assert np.array_equal(each.allowed, found[name].allowed)
