"""Every lane draws what it promises, for every dtype, and what is expected of it is what IEEE 754 gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.power import Asked, red_checks
from conformance.case import DTYPES, INPUT_DTYPES, INTEGER_DTYPES, Case, Data, Expect, Layer
from conformance.comparison import compare
from conformance.enclosure import Enclosure
from conformance.finding import CONFORMS, VIOLATES
from conformance.formats import FORMATS, dtype_of
from conformance.question import question
from conformance.reference import Reference, answer
from conformance.steps import Differentiate, Forward
from conformance.values import Draw, NoDraw, as_matrix, draws
from tests.faults import EVERY
from tests.faulty import Exact, rounded

Array = Any


def case_of(lane: str, input_shape: tuple[int, ...] = (16,), units: tuple[int, ...] = (8,), **fields: Any) -> Case:
    """Return a case of a lane; `activation` and `use_bias` are those of all its layers."""
    activation, use_bias = fields.pop("activation", "linear"), fields.pop("use_bias", True)
    layers = tuple(Layer(units=each, activation=activation, use_bias=use_bias) for each in units)
    expect = Expect(nonfinite=True) if lane == "special" else Expect()
    content: dict[str, Any] = {"input_shape": input_shape, "batch": 8, "expect": expect, **fields}
    return Case(layers=layers, lane=lane, **content)


def literal_of(data: Data, input_shape: tuple[int, ...] = (2,), **fields: Any) -> Case:
    return case_of("literal", input_shape, fields.pop("units", (3,)), batch=2, data=data, **fields)


def operands(draw: Draw) -> list[Array]:
    return [draw.x, draw.dy, *draw.kernels, *(each for each in draw.biases if each is not None)]


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def answer_of(draw: Draw, case: Case) -> Reference:
    return answer(draw, [layer.activation for layer in case.layers], case.dtype)


def enclosures(reference: Reference) -> dict[str, Enclosure]:
    """Return the results of a single layer by name, without db where there is no bias."""
    kernel, bias = reference.layers[0]
    found = {"y": reference.y, "dx": reference.dx, "dW": kernel}
    return found if bias is None else {**found, "db": bias}


SAMPLES = {
    "exact": case_of("exact"),
    "uniform": case_of("uniform"),
    "wide": case_of("wide"),
    "cancelling": case_of("cancelling"),
    "special": case_of("special"),
    "denormal": case_of("denormal"),
    "literal": literal_of(Data(x=1.5, kernels=(((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),), biases=(0.25,))),
}
#: What the bytes of each draw's operands hash to. These may never change: other machines ask the same questions.
PINNED = {
    "exact": "27c065fe8a468944",
    "uniform": "5312cc2269d56483",
    "wide": "1dd198c745ae7202",
    "cancelling": "dc9203964d09ea6b",
    "special": "10597343b6c3aeab",
    "denormal": "535c180fab686d34",
    "literal": "cd29bdccfad89086",
}


def digest_of(case: Case) -> str:
    digest = hashlib.sha256()
    for draw in draws(case):
        for each in operands(draw):
            digest.update(f"{each.dtype}{each.shape}".encode() + each.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("lane", SAMPLES)
def test_the_numbers_of_a_lane_are_pinned(lane: str) -> None:
    assert digest_of(SAMPLES[lane]) == digest_of(SAMPLES[lane]) == PINNED[lane]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lane", ["uniform", "wide", "cancelling", "special", "denormal"])
def test_all_numbers_are_of_the_dtype_and_draws_have_names_of_their_own(lane: str, dtype: str) -> None:
    drawn = draws(case_of(lane, dtype=dtype))
    assert len({draw.name for draw in drawn}) == len(drawn) > 1
    for draw in drawn:
        assert {each.dtype for each in operands(draw)} == {FORMATS[dtype].dtype}
        assert all(np.isfinite(wide(each)).all() for each in operands(draw)) == (
            lane != "special" or "over" in draw.name
        )


# wide


@pytest.mark.parametrize(
    ("dtype", "positions", "units"),
    [("float64", 460, 70), ("float32", 70, 12), ("bfloat16", 70, 12), ("float16", 7, 1)],
)
def test_positions_and_units_lie_far_apart(dtype: str, positions: int, units: int) -> None:
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


def test_a_wide_bias_is_seen_at_the_smallest_position() -> None:
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


# cancelling


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


# special


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
def test_in_every_order_ieee_gives_what_the_reference_says(
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


def test_what_is_not_finite_meets_a_nought() -> None:
    """Or a product left out where a factor is 0 would never be seen."""
    draw = next(each for each in draws(case_of("special")) if each.name == "kernel not finite")
    met = (draw.x == 0.0) @ ~np.isfinite(draw.kernels[0])
    assert met.any()


def test_long_sums_of_few_bits_are_not_taken_for_exact() -> None:
    case = case_of("special", (4096,), dtype="bfloat16")
    assert not any(draw.exact for draw in draws(case))
    assert red_checks(Exact(), Asked(case=case, question=question(case, "cpu"))) == set()


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


# denormal


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


# exact: the bias


@pytest.mark.parametrize(
    ("dtype", "bits"), [("float64", 24), ("float32", 11), ("float32", 8), ("float16", 4), ("bfloat16", 4)]
)
@pytest.mark.parametrize("features", [1, 8, 512])
def test_a_bias_read_in_fewer_bits_is_seen(dtype: str, bits: int, features: int) -> None:
    case = case_of("exact", (features,), dtype=dtype)
    biases = [draw.biases[0] for draw in draws(case)]
    assert any((rounded(each, bits) != each).any() for each in biases if each is not None)


def in_orders(terms: Array, seed: int) -> set[bytes]:
    """Return the sums along the first axis, in the dtype of the terms, in four orders, as bits."""
    generator = np.random.default_rng(seed)
    found = set()
    for _ in range(4):
        total = np.zeros(terms.shape[1:], terms.dtype)
        for index in generator.permutation(len(terms)):
            total = (total + terms[index]).astype(terms.dtype)
        found.add((total + terms.dtype.type(0)).tobytes())
    return found


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    features=st.integers(1, 9),
    units=st.integers(1, 9),
    batch=st.integers(1, 5),
    activation=st.sampled_from(["linear", "relu"]),
    use_bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_gradients_and_biases_are_exact_in_every_order(
    dtype: str, features: int, units: int, batch: int, activation: str, use_bias: bool, seed: int
) -> None:
    """Bit by bit, in the dtype itself: also for 16 bits, which some implementations add gradients up in."""
    case = case_of("exact", (features,), (units,), dtype=dtype, batch=batch, activation=activation, use_bias=use_bias)
    try:
        drawn = draws(case)
    except NoDraw:
        return
    for draw in drawn:
        x, kernel, bias = draw.x, draw.kernels[0], draw.biases[0]
        terms = x.T[:, :, None] * kernel[:, None, :]
        if bias is not None:
            terms = np.concatenate([terms, np.broadcast_to(bias, (1, *terms.shape[1:]))])
        z = wide(terms).sum(axis=0)
        dz = draw.dy * (z > 0) if activation == "relu" else draw.dy
        dz = dz.astype(draw.dy.dtype)
        sums = (terms, x[:, :, None] * dz[:, None, :], dz, dz.T[:, :, None] * kernel.T[:, None, :])
        for each in sums:
            (bits,) = in_orders(each, seed)
            got = np.frombuffer(bits, each.dtype).astype(np.float64)
            assert (got == wide(each).sum(axis=0).ravel()).all()


# literal


def test_numbers_fill_arrays_and_arrays_are_those_of_the_row() -> None:
    data = Data(x=((1.0, 2.0), (3.0, 4.0)), kernels=(2.0,), biases=((0.5, 0.25, 0.1),), dy=7.0)
    literal, negated = draws(literal_of(data))
    assert literal.x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert literal.kernels[0].tolist() == [[2.0] * 3] * 2
    assert literal.biases[0] is not None
    assert literal.biases[0].tolist() == [0.5, 0.25, float(np.float32(0.1))]
    assert literal.dy.tolist() == [[7.0] * 3] * 2
    assert negated.name == "weights negated"
    assert (negated.kernels[0] == -literal.kernels[0]).all()
    assert negated.biases[0] is not None
    assert (negated.biases[0] == -literal.biases[0]).all()
    assert (negated.x == literal.x).all()


def test_a_stack_has_arrays_for_each_layer() -> None:
    data = Data(x=1.0, kernels=(2.0, ((1.0,), (2.0,), (3.0,))), biases=(None, 5.0))
    layers = (Layer(units=3, use_bias=False), Layer(units=1))
    draw = draws(replace(literal_of(data), layers=layers))[0]
    assert [each.shape for each in draw.kernels] == [(2, 3), (3, 1)]
    assert draw.biases[0] is None
    assert answer(draw, ["linear", "linear"], "float32").y.exact.tolist() == [[29.0], [29.0]]


@pytest.mark.parametrize(
    ("x", "activation", "exact"),
    [(3.0, "linear", True), (3.0, "tanh", False), (0.1, "linear", False), (2.0**24, "linear", False)],
)
def test_integers_whose_sums_fit_are_exact(x: float, activation: str, exact: bool) -> None:
    case = literal_of(Data(x=x, kernels=(2.0,), biases=(1.0,)), activation=activation)
    assert draws(case)[0].exact == exact


def test_a_dy_that_is_not_given_is_drawn_and_never_nought() -> None:
    first, second = (draws(literal_of(Data(x=x, kernels=(1.0,), biases=(1.0,))))[0].dy for x in (1.0, 2.0))
    assert (first > 0).all()
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize(("output", "red"), [(7.0, set()), (8.0, {"output"}), (np.nan, {"output"})])
def test_an_output_of_the_row_that_the_reference_contradicts_is_a_violation(output: float, red: set[str]) -> None:
    data = Data(x=2.0, kernels=(1.5,), biases=(1.0,))
    case = replace(literal_of(data), expect=Expect(output=output))
    assert red_checks(Exact(), Asked(case=case, question=question(case, "cpu"))) == red


@pytest.mark.parametrize(("x", "nonfinite"), [(np.inf, False), (1.0, True)])
def test_an_answer_is_finite_unless_the_row_says_otherwise(x: float, nonfinite: bool) -> None:
    case = replace(literal_of(Data(x=x, kernels=(1.0,), biases=(0.0,))), expect=Expect(nonfinite=nonfinite))
    with pytest.raises(NoDraw, match="the answer is"):
        question(case, "cpu")
    assert question(replace(case, expect=Expect(nonfinite=not nonfinite)), "cpu").steps


# inputs of another dtype


@pytest.mark.parametrize("input_dtype", INPUT_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_holds_what_is_drawn(dtype: str, input_dtype: str) -> None:
    if dtype == input_dtype:
        return
    for lane in ("exact",) if input_dtype in INTEGER_DTYPES else ("exact", "uniform"):
        case = case_of(lane, dtype=dtype, input_dtype=input_dtype)
        for draw in draws(case):
            held = draw.x.astype(dtype_of(input_dtype))
            assert (wide(held) == wide(draw.x)).all()
            assert draw.x.any()
        fed = [step.x for step in question(case, "cpu").steps if isinstance(step, Forward | Differentiate)]
        assert {each.dtype for each in fed} == {dtype_of(input_dtype)}
        first = draws(case)[0].x
        assert (wide(fed[0]) == wide(first)).all()


@pytest.mark.parametrize("input_dtype", ["bool", "int8", "float16", "bfloat16", "float64"])
def test_the_gradient_of_an_input_is_of_its_dtype_or_absent(input_dtype: str) -> None:
    case = case_of("exact", input_dtype=input_dtype, batch=4)
    asked = Asked(case=case, question=question(case, "cpu"))
    assert red_checks(Exact(), asked) == set()
    wrong = "IntegersHaveGradient" if input_dtype in INTEGER_DTYPES else "InputGradientOfOwnDtype"
    assert red_checks(EVERY[wrong].make(), asked) == {"gradients", "weights_live"}


def test_a_gradient_is_held_to_what_rounding_it_to_the_inputs_dtype_may_cost() -> None:
    enclosure = Enclosure(exact=np.array([1.0]), allowed=np.zeros(1)).rounded(FORMATS["bfloat16"])
    assert enclosure.allowed[0] == pytest.approx(2.0**-8)
    overflow = Enclosure(exact=np.array([1e6]), allowed=np.zeros(1)).rounded(FORMATS["float16"])
    assert overflow.exact[0] == np.inf
