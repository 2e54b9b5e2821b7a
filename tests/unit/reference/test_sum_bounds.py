"""The bounds of sums follow from the stated probability: right sums are inside in any order, wrong ones are outside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.checks.comparison import compare
from conformance.checks.expectations import Expected
from conformance.checks.judgement import findings_of
from conformance.checks.references import question
from conformance.reference import Reference, answer
from conformance.reference.draw import ATTEMPTS, Draw, as_matrix
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import draws
from conformance.reference.randomness import NOT_RANDOM, of_features, of_positions, of_units
from conformance.reference.sum_bounds import (
    ARRAYS,
    ELEMENTS,
    FALSE_ALARM,
    SHORTEST_STATISTICAL,
    TAIL_FACTOR,
    PartialSums,
    growth,
    joint_bound,
    partial_sums,
    proven_joint_bound,
    sum_error,
)
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Transcript
from conformance.table.case import Case, Layer
from tests.support import faulty_adapters
from tests.support.sums import WRONG_SUMS, bfloat16_blocks, right_sums, split

U = 2.0**-24
Array = np.ndarray


def test_the_tail_factor_follows_from_the_stated_probability() -> None:
    tail = 2.0 * ATTEMPTS * math.sqrt(math.e * (TAIL_FACTOR + 1.0)) * math.exp(-TAIL_FACTOR)
    assert tail == pytest.approx(FALSE_ALARM / ELEMENTS, rel=1e-9, abs=0.0)


def test_the_tail_factor_bounds_the_moments_of_a_product_of_normal_numbers() -> None:
    """P(|e| > T) <= 2 (1 - f²)^(-1/2) exp(-f T) for every f below 1, and that of the factor is not smaller."""
    best = min(2.0 / math.sqrt(1.0 - f**2) * math.exp(-f * TAIL_FACTOR) for f in np.linspace(0.5, 0.9999, 2000))
    assert ATTEMPTS * best <= FALSE_ALARM / ELEMENTS


def one(number: float) -> Array:
    return np.array([number])


def test_a_partial_sum_is_at_most_the_sum_of_the_terms_of_one_sign() -> None:
    """K = 100 and no cancellation, and K = 100 with a sum of 0: the second may err half as much."""
    same = sum_error(U, 100, one(100.0), one(100.0))[0]
    cancelling = sum_error(U, 100, one(100.0), one(0.0))[0]
    assert same == pytest.approx(100 * 100 * U)
    assert cancelling == pytest.approx((100 + 99 * 50) * U, rel=1e-4)
    assert sum_error(U, 1, one(3.0), one(3.0))[0] == 3.0 * U


@pytest.mark.parametrize("terms", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("positive", [0.5, 0.9, 1.0])
def test_no_order_errs_more_than_the_proven_bound(terms: int, positive: float) -> None:
    """Every rounding as large as it can be, away from zero, and all positive terms first."""
    u = 2.0**-20
    t = np.where(np.arange(terms) < positive * terms, 1.0, -1.0)
    total = 0.0
    for index, each in enumerate(t * (1.0 + u)):
        total = (total + each) * (1.0 + u) if index else each
    bound = sum_error(u, terms, one(np.abs(t).sum()), one(abs(t.sum())))[0]
    # Roundings that are all of magnitude u exceed n u B by a term of second order; those to nearest do not.
    assert abs(total - t.sum()) <= bound * (1.0 + 2.0 * terms * u)
    assert terms < 10 or abs(total - t.sum()) > 0.2 * bound


def test_n_u_b_is_the_bound_if_the_later_roundings_make_the_other_one_larger() -> None:
    assert sum_error(2.0**-8, 4096, one(1.0), one(1.0))[0] == 4096 * 2.0**-8


def test_later_roundings_enlarge_the_error_of_an_earlier_one() -> None:
    u = 2.0**-8
    assert growth(u, 1) == 1.0
    assert growth(u, 17) == pytest.approx((1.0 + u) ** 16)
    assert sum_error(u, 17, one(1.0), one(0.0))[0] == pytest.approx(u * 9.0 * (1.0 + u) ** 16)
    # It is a number however many terms there are.
    assert math.isfinite(growth(u, 10**6))


def test_the_statistical_bound_is_used_if_it_is_the_smaller() -> None:
    magnitude, squares = one(100.0), one(1.0)
    assert sum_error(U, 10_000, magnitude, one(0.0), squares)[0] == pytest.approx(U * TAIL_FACTOR * 100.0, rel=1e-3)
    assert sum_error(U, 10, one(3.0), one(3.0), squares)[0] == pytest.approx(30 * U)
    # Terms of equal magnitude: (n + 1)/2 and T, and with sums that cannot be smaller none is computed.
    assert TAIL_FACTOR < SHORTEST_STATISTICAL < TAIL_FACTOR + 1.0


def test_a_bias_of_16_bits_and_very_many_terms_leave_no_error_of_second_order_out() -> None:
    """bfloat16, K > 2/u: the rounded product inherits the error of the sum, and the result that of both."""
    draw = uniform(2048, 4, 4, "bfloat16")
    x, kernel, bias = wide(draw)
    u, y, p = 2.0**-8, x @ kernel + bias, x @ kernel
    terms = len(kernel) + 1
    magnitude = np.abs(x) @ np.abs(kernel) + np.abs(bias)
    sums = sum_error(U, terms, magnitude, np.abs(y), x**2 @ kernel**2 + bias**2)
    before_bias = u * (np.abs(p) + sums)
    allowed = sums + before_bias + u * (np.abs(y) + sums + before_bias)
    assert np.allclose(answer(draw, ["linear"], "bfloat16").y.allowed, allowed, rtol=1e-9)


def uniform(features: int, units: int, batch: int, dtype: str = "float32", activation: str = "linear") -> Draw:
    layers = (Layer(units=units, activation=activation),)
    return draws(Case(input_shape=(features,), layers=layers, batch=batch, dtype=dtype))[0]


def wide(draw: Draw) -> tuple[Array, Array, Array]:
    bias = draw.biases[0]
    assert bias is not None
    return as_matrix(draw.x).astype(np.float64), draw.kernels[0].astype(np.float64), bias.astype(np.float64)


def verdict(got: Array, reference: Reference) -> str:
    return compare("output", "y", got.astype(np.float64), reference.y, reference.line).outcome


@pytest.mark.parametrize(("units", "batch"), [(8, 8), (32, 32), (64, 1), (1, 64)])
@pytest.mark.parametrize("features", [1, 8, 64, 512, 2048])
def test_right_sums_are_inside_in_any_order(features: int, units: int, batch: int) -> None:
    draw = uniform(features, units, batch)
    reference = answer(draw, ["linear"], "float32")
    bias = draw.biases[0]
    assert bias is not None
    assert reference.y.joint is not None
    terms = features + 1
    expected = (wide(draw)[0] ** 2).sum(axis=1, keepdims=True) / features + bias.astype(np.float64) ** 2
    for name, got in right_sums(draw.x, draw.kernels[0], bias):
        if name == "nine products" and features == 1:
            continue  # 8 additions in place of none: the bound of so few terms leaves no room for them
        assert verdict(got, reference) == "conforms", name
        error = reference.y.error(got.astype(np.float64))
        if features >= 64:
            assert float((error / reference.y.allowed).max()) < 0.25, name
        # By the model errors have at most 1 unit in the root mean square, and 3 for nine times as many terms. A
        # sequential sum has 0.2 to 0.4.
        units = U * np.sqrt(terms * expected)
        rms = float(np.sqrt(np.mean(np.square(error / units))))
        assert rms < (1.5 if name == "nine products" else 0.6), name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("features", [8, 512, 4096])
def test_sums_of_16_bit_numbers_in_float32_are_inside_in_any_order(features: int, dtype: str) -> None:
    draw = uniform(features, 8, 8, dtype)
    reference = answer(draw, ["linear"], dtype)
    bias, form = draw.biases[0], FORMATS[dtype].dtype
    assert bias is not None
    for name, got in right_sums(draw.x, draw.kernels[0], bias):
        assert verdict(got.astype(form), reference) == "conforms", name
    for name, product in right_sums(draw.x, draw.kernels[0], np.zeros_like(bias)):
        assert verdict(product.astype(form) + bias, reference) == "conforms", f"{name}, rounded before the bias"


@pytest.mark.parametrize("features", [64, 512, 4096])
def test_bfloat16_sums_of_blocks_are_outside(features: int) -> None:
    draw = uniform(features, 8, 8, "bfloat16")
    x, kernel, bias = wide(draw)
    got = bfloat16_blocks(x, kernel, bias).astype(FORMATS["bfloat16"].dtype)
    assert verdict(got, answer(draw, ["linear"], "bfloat16")) == "violates"


#: What is wrong -> the sizes (features, units, batch) at which docs/numerics.md promises that it is outside.
PROMISED = {
    "toward zero": [(512, 8, 8), (4096, 8, 8), (64, 32, 32), (512, 32, 32)],
    "bfloat16 sums": [(8, 8, 8), (512, 8, 8), (4096, 8, 8)],
    "bfloat16 blocks": [(64, 8, 8), (512, 8, 8), (4096, 8, 8)],
    "tf32": [(8, 8, 8), (512, 8, 8), (4096, 8, 8)],
    "off by 1e-4": [(8, 8, 8), (512, 8, 8), (4096, 8, 8)],
    "off by 1e-5": [(64, 8, 8), (512, 32, 32)],
}


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name, sizes in PROMISED.items() for size in sizes], ids=str
)
def test_wrong_sums_are_outside_where_the_documents_promise_it(name: str, size: tuple[int, int, int]) -> None:
    draw = uniform(*size)
    bias = draw.biases[0]
    assert bias is not None
    got = WRONG_SUMS[name](draw.x, draw.kernels[0], bias)
    assert verdict(got, answer(draw, ["linear"], "float32")) == "violates"


@pytest.mark.parametrize(("features", "units", "batch", "result"), [(4096, 4, 4, "y"), (4, 4096, 4, "dx")])
def test_the_bound_of_a_long_sum_follows_from_the_signs_of_the_draw(
    features: int, units: int, batch: int, result: str
) -> None:
    draw = uniform(features, units, batch)
    ours, proven = (answer(each, ["linear"], "float32") for each in (draw, replace(draw, half_widths=None)))
    assert (ours.line, proven.line) == ("statistical", "proven")
    for name in ("y", "dx"):
        gain = float(np.median(getattr(proven, name).allowed / getattr(ours, name).allowed))
        assert gain > 5.0 if name == result else gain == 1.0


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "softmax"])
def test_sums_over_positions_have_random_signs_with_every_activation(activation: str) -> None:
    draw = uniform(4, 4, 4096, activation=activation)
    ours, proven = (answer(each, [activation], "float32") for each in (draw, replace(draw, half_widths=None)))
    for one, other in zip(ours.layers[0], proven.layers[0], strict=True):
        assert one is not None
        assert other is not None
        assert float(np.median(other.allowed / one.allowed)) > 3.0


@pytest.mark.parametrize(
    ("activations", "layer", "signs", "is_drawn"),
    [
        (["linear"], 0, True, True),
        (["relu"], 0, True, False),
        (["softmax"], 0, False, False),
        (["log_softmax"], 0, False, False),
        (["tanh", "linear"], 1, True, True),
        (["tanh", "linear"], 0, False, False),
        (["linear", "relu"], 0, False, False),
        (["linear", "linear"], 0, True, True),
    ],
)
def test_sums_over_units_have_random_signs_where_dz_does_not_depend_on_the_kernel_or_has_the_sign_of_dy(
    activations: list[str], layer: int, signs: bool, is_drawn: bool
) -> None:
    layers = tuple(Layer(units=3, activation=each) for each in activations)
    draw = draws(Case(input_shape=(3,), layers=layers))[0]
    found = of_units(draw, activations, layer)
    assert (found.signs, found.half_width is not None) == (signs, is_drawn)
    assert of_units(replace(draw, half_widths=None), activations, layer) == NOT_RANDOM


def test_the_half_widths_are_those_of_the_draw() -> None:
    for dtype in ("float32", "float64"):
        draw = uniform(512, 512, 64, dtype)
        kernel, dy = (np.abs(each.astype(np.float64)).max() for each in (draw.kernels[0], draw.dy))
        assert of_features(draw, 0).half_width == pytest.approx(kernel, rel=1e-3)
        assert of_positions(draw, ["linear"]).half_width == pytest.approx(dy, rel=1e-3)
        assert of_positions(draw, ["relu"]).half_width is None
        assert np.abs(draw.kernels[0].astype(np.float64).mean()) < 5.0 * kernel / math.sqrt(3.0 * 512 * 512)


def test_other_lanes_have_the_proven_bound_alone() -> None:
    for lane in ("wide", "cancelling"):
        case = Case(input_shape=(2048,), layers=(Layer(units=8),), batch=8, lane=lane)
        for draw in draws(case):
            reference = answer(draw, ["linear"], "float32")
            assert reference.line == "proven"
            assert reference.y.joint is None
            bias = draw.biases[0]
            assert bias is not None
            assert verdict(split(draw.x, draw.kernels[0], bias), reference) == "conforms"


def sums_of(x: Array, bias: Array | None = None) -> PartialSums:
    """Return what is known of the partial sums of x·W with numbers of W of variance 1/3."""
    expected = (x**2).sum(axis=1, keepdims=True) / 3.0
    return partial_sums(x, 1.0 / 3.0, bias, expected if bias is None else expected + bias**2)


def test_the_largest_eigenvalue_is_that_of_the_terms_that_are_shared() -> None:
    """Equal samples are as good as one: their errors may all be large at once."""
    x = np.random.default_rng(1).uniform(-1, 1, (16, 256))
    different, equal = sums_of(x), sums_of(np.repeat(x[:1], 16, axis=0))
    assert equal.norm == pytest.approx(16.0)
    assert 1.0 <= different.norm < 2.5
    limits = (different.limit(256), equal.limit(256))
    assert limits[0] is not None
    assert limits[1] is None or limits[1][1] > limits[0][1]
    # Of many samples the bound of the eigenvalue is cheaper, and a little larger.
    many = np.random.default_rng(1).uniform(-1, 1, (256, 256))
    rows = many / np.linalg.norm(many, axis=1, keepdims=True)
    largest = np.linalg.eigvalsh(rows @ rows.T)[-1]
    assert largest < sums_of(many).norm < 1.5 * largest


def test_partial_sums_are_never_more_than_all_terms_in_all_roundings() -> None:
    x = np.random.default_rng(2).uniform(-1, 1, (8, 300))
    found = sums_of(x, np.linspace(-1, 1, 8))
    assert 0.5 <= found.mean + found.of_bias <= 1.0
    one_term = sums_of(x[:, :1])
    assert one_term.mean == pytest.approx(1.0)
    assert one_term.of_bias == 0.0
    # All weight on one term, which is the first: it enters every rounding.
    assert sums_of(np.eye(1, 300)).mean == pytest.approx(1.0)


def test_partial_sums_have_the_bias() -> None:
    found = sums_of(np.full((8, 3), 2.0), np.full(8, 2.0))
    # Each product has a variance of 4/3 and the bias the square 4: it is added first, and enters all 4 roundings.
    assert found.of_bias == pytest.approx(0.5)
    assert found.mean == pytest.approx((4 + 3 + 2) / 4 / 6)


def test_the_unit_is_that_of_the_formula() -> None:
    x = np.random.default_rng(3).uniform(-1, 1, (32, 40))
    bias = np.linspace(-1, 1, 32)
    bound = joint_bound(U, x, 0.5, bias, (32, 32))
    assert bound is not None
    squares = 0.25 / 3.0 * (1.0 + 2.0**-8) ** 4 * (x**2).sum(axis=1)[:, None] + bias**2
    assert np.allclose(bound.unit, U * (1.0 + U) ** 40 * np.sqrt(41 * squares), rtol=1e-12)
    assert (bound.clip, bound.limit) == sums_of(x, bias / 0.5 / (1.0 + 2.0**-8) ** 2).limit(1024)


def test_of_few_elements_or_of_zeros_there_is_no_joint_bound() -> None:
    x = np.random.default_rng(4).uniform(-1, 1, (32, 5))
    zeros = x * (np.arange(32) > 0)[:, None]
    assert joint_bound(U, zeros, 1.0, None, (32, 32)) is None
    for each in (zeros, np.zeros((32, 5))):
        assert joint_bound(U, each, 1.0, np.ones(32), (32, 32)) is not None
    some = np.ones((8, 8))
    assert proven_joint_bound(U, 3, some, some, some) is not None
    assert proven_joint_bound(U, 3, 0.0 * some, 0.0 * some, 0.0 * some) is None
    assert answer(uniform(512, 9, 7), ["linear"], "float32").y.joint is None
    assert answer(uniform(512, 8, 8), ["linear"], "float32").y.joint is not None


def test_few_terms_have_the_joint_bound_of_the_largest_partial_sums() -> None:
    """The tail of Hsu, Kakade and Zhang for independent errors, each of the proxy S + (n - 1)((B + |y|)/2)²."""
    draw = uniform(4, 8, 8)
    x, kernel, bias = wide(draw)
    joint = answer(draw, ["linear"], "float32").y.joint
    assert joint is not None
    exponent = math.log(2.0 * ATTEMPTS * ARRAYS / FALSE_ALARM) / 64
    assert joint.limit == pytest.approx(math.sqrt(1.0 + 2.0 * math.sqrt(exponent) + 2.0 * exponent))
    assert joint.clip == math.inf
    largest = (np.abs(x) @ np.abs(kernel) + np.abs(bias) + np.abs(x @ kernel + bias)) / 2.0
    assert np.allclose(joint.unit, U * np.sqrt(x**2 @ kernel**2 + bias**2 + 4.0 * largest**2), rtol=1e-5)
    long = answer(uniform(512, 8, 8), ["linear"], "float32").y.joint
    assert long is not None
    assert long.clip < math.inf


def test_the_limit_follows_from_the_stated_probability() -> None:
    """With nothing random but the roundings the bound of Bennett's inequality remains: mean and clip alone."""
    bound = PartialSums(mean=0.5, of_bias=0.0, norm=1e-9)
    limit = bound.limit(4096)
    assert limit is not None
    clip, root = limit
    exponent = math.log(2.0 * ATTEMPTS * ARRAYS / FALSE_ALARM) / 4096
    ratio = root**2 / 0.5
    rate = 0.5 / clip**2 * (ratio * math.log(ratio) - ratio + 1.0)
    assert rate == pytest.approx(exponent, rel=1e-3)
    assert root**2 <= clip**2 / 2.0
    assert bound.limit(8) is None
    # A fixed bias and a random one: the fixed one has the larger moment.
    random, fixed = (PartialSums(mean=1.0 - part, of_bias=part, norm=1.0).limit(4096) for part in (0.0, 0.5))
    assert random is not None
    assert fixed is not None
    assert fixed[1] > random[1]


@pytest.mark.parametrize("fault", ["Exact", "Tf32Inside", "Bfloat16Inside"])
@pytest.mark.parametrize("features", [8, 64, 512, 1024])
def test_on_the_uniform_lane_narrow_operands_are_red_and_right_ones_green(fault: str, features: int) -> None:
    """64 outputs, K up to 1024: the power that docs/numerics.md states, through the checks themselves."""
    case = Case(input_shape=(features,), layers=(Layer(units=8),), batch=8)
    asked = question(case, "cpu")
    replies = {each.label: each for each in perform(getattr(faulty_adapters, fault)(), asked.steps)}
    cell = Cell(case=case, implementation=Implementation(name="x", adapter="x", packages=("tests",)), device="cpu")
    found = findings_of(cell, asked, Transcript(replies=replies), Expected(case, asked))
    red = {each.check for each in found if each.outcome != "conforms"}
    assert {"output", "gradients"} <= red if fault != "Exact" else red == set()
