"""What is computed instead of the rule, each field alone: the operands, the exact answer and the error allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.reference import Deviation, answer
from conformance.reference.deviation import NO_DEVIATION, operands, stays_exact
from conformance.reference.draw import Draw
from conformance.reference.formats import FORMATS
from tests.support.deviations import FIELDS, U32, Array, cast, deviation, drawn, linear, results, wide


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
    # The rounding of the operand is allowed in addition to those of the product, n u B and u|p|, of positive terms.
    kernel = wide(draw.kernels[1])
    magnitude, product = np.abs(first) @ np.abs(kernel), np.abs(first @ kernel)
    rest = reference.y.allowed - U32 * (len(kernel) * magnitude + product)
    assert (rest >= 0.9 * U32 * magnitude).all()


def test_constants_and_formulas_are_those_of_the_layer_that_has_them() -> None:
    draw = drawn(layers=2, scale=-1.0)
    names = ["leaky_relu", "leaky_relu"]
    rule = answer(draw, names, "float32")
    steep = deviation(constants={"slope": 0.5})
    last, both = (answer(draw, names, "float32", each) for each in ((NO_DEVIATION, steep), (steep, steep)))
    z = wide(draw.x) @ wide(draw.kernels[0]) + wide(draw.biases[0])

    def of(a: Array, first: float, second: float) -> Array:
        a = np.where(a > 0, a, first * a) @ wide(draw.kernels[1]) + wide(draw.biases[1])
        return np.where(a > 0, a, second * a)

    assert np.allclose(rule.y.exact, of(z, 0.01, 0.01), rtol=1e-12, atol=0.0)
    assert np.allclose(last.y.exact, of(z, 0.01, 0.5), rtol=1e-12, atol=0.0)
    assert np.allclose(both.y.exact, of(z, 0.5, 0.5), rtol=1e-12, atol=0.0)
    identity = answer(drawn(), ["softmax"], "float32", [deviation(formula="identity")])
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
    found = answer(draw, ["tanh"], "float32", [deviation(error=error)]).y
    assert np.array_equal(found.exact, rule.exact)
    assert np.allclose(found.allowed - rule.allowed, more(rule.exact), rtol=1e-6, atol=0.0)


def test_what_is_allowed_more_reaches_the_layers_after_it() -> None:
    draw = drawn(layers=2)
    names = ["tanh", "linear"]
    rule = answer(draw, names, "float32")
    deviations = (deviation(error={"absolute": 8.0}), NO_DEVIATION)
    found = answer(draw, names, "float32", deviations)
    reached = 8.0 * U32 * np.abs(wide(draw.kernels[1])).sum(axis=0)
    assert np.allclose(found.y.allowed - rule.y.allowed, np.broadcast_to(reached, (6, 3)), rtol=1e-3, atol=0.0)
    assert (found.layers[1][0].allowed > rule.layers[1][0].allowed).all()


def test_functions_in_another_format_are_rounded_there_and_products_are_not() -> None:
    draw = drawn(scale=-1.0)
    rule, found = (
        answer(draw, ["tanh"], "float32", [each]) for each in (NO_DEVIATION, deviation(functions_in="bfloat16"))
    )
    assert np.array_equal(found.y.exact, rule.y.exact)
    relative = found.y.allowed / np.abs(rule.y.exact)
    assert ((relative > 2.0**-8) & (relative < 2.0**-6)).all()
    linear_rule, linear_found = (
        results(answer(draw, ["linear"], "float32", [each]))
        for each in (NO_DEVIATION, deviation(functions_in="bfloat16"))
    )
    assert all(np.array_equal(each.allowed, linear_found[name].allowed) for name, each in linear_rule.items())
    assert deviation(functions_in="own").in_dtype("float16") == deviation(functions_in="float16")


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
    for each in (*WIDENING, {"error": {"absolute": 1.0}}, {"functions_in": "float16"}):
        assert deviation(**each).widens_only, each
    for other in CHANGING:
        assert not deviation(**other).widens_only, other
    named = {name for each in (*WIDENING, *CHANGING) for name in each} | {"error", "functions_in"}
    assert named == FIELDS


def test_the_reference_of_float64_is_more_accurate_if_the_exact_answer_is_that_of_the_rule() -> None:
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
def test_sums_of_small_integers_stay_exact_in_the_formats_that_represent_them(given: Any, is_exact: bool) -> None:
    draw = replace(drawn(exact=True), dy=np.full((6, 3), 16.0, np.float32))
    assert stays_exact(draw, ("linear",), "float32", (deviation(**given),)) is is_exact
    assert not stays_exact(replace(draw, exact=False), ("linear",), "float32", (deviation(**given),))


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
