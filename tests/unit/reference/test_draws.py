"""Draws follow from content alone, are exact where they say so, and are wide enough to catch a narrow operand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import Draw, NoDraw, as_matrix, draws, is_exact, is_powerless
from conformance.stream import Stream
from conformance.table.case import Case, Layer
from tests.support.faulty_adapters import rounded


def case_of(input_shape: tuple[int, ...], units: list[int], activation: str = "linear", **fields: object) -> Case:
    layers = tuple(Layer(units=each, activation=activation) for each in units)
    return replace(Case(input_shape=input_shape, layers=layers, lane="exact"), **fields)  # type: ignore[arg-type]


def test_the_mapping_of_bits_to_numbers_is_pinned() -> None:
    """These numbers may never change: a results file of another machine or year asks the same questions."""
    stream = Stream(b"digest", "purpose")
    assert stream.bits((2,)).tolist() == [13579835200163292853, 12252567982133810458]
    assert stream.integers(-2, 2, (6,)).tolist() == [-1, 0, 0, 2, -1, 1]
    assert stream.odd(12, (3,)).tolist() == [2649, -2063, -3209]
    assert stream.uniform((2,)).tolist() == [-0.6022396683692932, 0.635314404964447]
    assert stream.permutation(5).tolist() == [4, 1, 2, 3, 0]


def test_equal_content_gives_equal_draws_and_words_play_no_part() -> None:
    first, second = (draws(case_of((5,), [3], why=why, row=row)) for why, row in (("a", "x:1"), ("b", "y:2")))
    for one, other in zip(first, second, strict=True):
        assert one.x.tobytes() == other.x.tobytes()
        assert one.kernels[0].tobytes() == other.kernels[0].tobytes()


def test_another_index_has_the_same_question_with_other_values() -> None:
    assert draws(case_of((5,), [3]), 0)[0].x.tobytes() != draws(case_of((5,), [3]), 1)[0].x.tobytes()


def test_there_is_one_exact_draw_for_each_operand_made_wide() -> None:
    names = [each.name for each in draws(case_of((7,), [5, 3]))]
    assert names == ["x wide", "kernel 0 wide", "kernel 1 wide", "dy wide"]


WIDE = [1, 8, 64, 512, 4096, 65536]


@pytest.mark.parametrize("bits", [11, 8], ids=["tf32", "bfloat16"])
@pytest.mark.parametrize("features", WIDE)
def test_a_narrow_operand_gives_other_numbers_forward_and_backward(features: int, bits: int) -> None:
    """Simulated TF32 and bfloat16 operands fail on the exact lane at every K, in y, dW and dx."""
    wrong = {"y": 0, "dW": 0, "dx": 0}
    for draw in draws(case_of((features,), [8])):
        x, kernel, dy = (each.astype(np.float64) for each in (draw.x, draw.kernels[0], draw.dy))
        nx, nk, ndy = rounded(x, bits), rounded(kernel, bits), rounded(dy, bits)
        wrong["y"] += bool((nx @ nk != x @ kernel).any())
        wrong["dW"] += bool((nx.T @ ndy != x.T @ dy).any())
        wrong["dx"] += bool((ndy @ nk.T != dy @ kernel.T).any())
    assert all(count >= 2 for count in wrong.values()), wrong


@pytest.mark.parametrize("wide", ["x", "kernel 0", "kernel 1", "kernel 2", "dy"])
def test_each_operand_of_a_stack_is_wide_in_its_own_draw(wide: str) -> None:
    draw = next(each for each in draws(case_of((64, 32), [48, 32, 16], "relu")) if each.name == f"{wide} wide")
    operand = {"x": draw.x, "dy": draw.dy, **{f"kernel {i}": each for i, each in enumerate(draw.kernels)}}[wide]
    assert (rounded(operand, 11) != operand).any()


def in_any_order(terms: np.ndarray, dtype: np.dtype[np.generic], orders: int, seed: int) -> set[bytes]:
    """Return the sums of products, as bits, in `orders` random orders of plain sequential summation."""
    generator = np.random.default_rng(seed)
    found = set()
    for _ in range(orders):
        total = np.zeros(terms.shape[1:], dtype)
        for index in generator.permutation(terms.shape[0]):
            total = (total + terms[index]).astype(dtype)
        found.add((total + 0).tobytes())
    return found


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    units=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    activation=st.sampled_from(["linear", "relu"]),
    use_bias=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_every_order_of_summation_gives_the_same_bits(
    shape: list[int], units: list[int], activation: str, use_bias: bool, seed: int
) -> None:
    layers = tuple(Layer(units=each, activation=activation, use_bias=use_bias) for each in units)
    try:
        drawn = draws(Case(input_shape=tuple(shape), layers=layers, lane="exact"))
    except NoDraw:
        return
    for draw in drawn:
        a = as_matrix(draw.x)
        for kernel, bias in zip(draw.kernels, draw.biases, strict=True):
            terms = a.T[:, :, None] * kernel[:, None, :]
            if bias is not None:
                terms = np.concatenate([terms, np.broadcast_to(bias, (1, *terms.shape[1:]))])
            assert len(in_any_order(terms, np.dtype(np.float32), 4, seed)) == 1
            exact = sum((terms[index].astype(np.float64) for index in range(len(terms))), np.zeros(terms.shape[1:]))
            a = exact.astype(np.float32)
            assert (a.astype(np.float64) == exact).all()
            a = np.maximum(a, 0) if activation == "relu" else a


def test_the_check_of_exactness_bites() -> None:
    """A draw whose sums need one bit more than a float32 has is not exact."""
    one = np.ones((1, 1), np.float32)
    most = Draw(name="", x=one * 2.0**24, kernels=(one,), biases=(None,), dy=one, exact=True)
    assert is_exact(most, ["linear"], FORMATS["float32"])
    more = replace(most, biases=(np.ones(1, np.float32),))
    assert not is_exact(more, ["linear"], FORMATS["float32"])
    backwards = replace(most, x=np.full((2, 1), 2.0**23 + 1, np.float32), dy=np.ones((2, 1), np.float32))
    assert not is_exact(backwards, ["linear"], FORMATS["float32"])


def test_the_check_of_exactness_looks_at_every_sum_of_every_layer() -> None:
    one, zero, large = np.ones((1, 1)), np.zeros((1, 1)), np.full((1, 1), 2.0**23 + 1)

    def exact(
        x: np.ndarray, *kernels: np.ndarray, dy: np.ndarray = one, activation: str = "linear", **more: str
    ) -> bool:
        dtype = more.get("dtype", "float32")
        biases = (np.zeros(1),) * len(kernels)
        draw = Draw(name="", x=x, kernels=kernels, biases=biases, dy=dy, exact=True)
        return is_exact(draw, [activation, *["linear"] * (len(kernels) - 1)], FORMATS[dtype])

    assert exact(one * 2.0**11, one, dtype="float16")
    assert not exact(one * (2.0**11 + 1), one, dtype="float16")  # though its accumulator holds it
    assert not exact(np.array([[2.0**24, 1.0]]), np.array([[1.0], [-1.0]]))  # though the sum is small
    assert exact(large, one)
    assert not exact(large, one, activation="relu")  # its numbers are halves
    assert not exact(np.zeros((2, 1)), one, dy=np.repeat(large, 2, axis=0))  # db alone is large
    assert exact(one, one, one, dy=large)
    assert not exact(one, one, one, dy=large, activation="relu")
    assert not exact(2.0 * one, zero, one, dy=large)  # dW of the first layer alone


def test_no_exact_draw_sits_on_the_kink_of_relu() -> None:
    for use_bias in (True, False):
        case = Case(input_shape=(16, 9), layers=(Layer(units=12, activation="relu", use_bias=use_bias),), lane="exact")
        for draw in draws(case):
            z = as_matrix(draw.x).astype(np.float64) @ draw.kernels[0]
            z = z if draw.biases[0] is None else z + draw.biases[0]
            assert (z != 0).all()


def test_biases_are_distinct() -> None:
    for lane in ("exact", "uniform"):
        first = draws(case_of((7,), [64], lane=lane))[0].biases[0]
        assert first is not None
        assert len(set(first.tolist())) == 64


def test_uniform_pre_activations_have_a_standard_deviation_of_about_one() -> None:
    draw = draws(case_of((256,), [64], lane="uniform", batch=64))[0]
    assert 0.9 < float(np.std(draw.x @ draw.kernels[0])) < 1.1
    assert (draw.x < 0).any()
    assert (draw.x > 0).any()


@pytest.mark.parametrize(
    ("spoilt", "activation"),
    [
        ({"x": np.zeros((2, 3), np.float32)}, "linear"),
        ({"dy": np.zeros((2, 3), np.float32)}, "linear"),
        ({"kernels": (np.ones((3, 3), np.float32),)}, "linear"),
        ({"biases": (np.full(3, -1e9, np.float32),)}, "relu"),
        ({"biases": (np.full(3, 1e9, np.float32),)}, "tanh"),
        ({"biases": (np.array([1e9, 0, 0], np.float32),)}, "softmax"),
        *(
            ({"biases": (np.full(3, -1e9, np.float32),)}, each)
            for each in (
                "elu",
                "selu",
                "softplus",
                "softsign",
                "silu",
                "gelu",
                "gelu_tanh",
                "hard_sigmoid",
                "exponential",
            )
        ),
        ({"biases": (np.array([20, 0, 0], np.float32),)}, "exponential"),  # beyond the range of float16
    ],
)
def test_a_draw_without_power_is_refused(spoilt: dict[str, object], activation: str) -> None:
    draw = draws(case_of((3,), [3]))[0]
    assert not is_powerless(draw, ["linear"])
    assert is_powerless(replace(draw, **spoilt), [activation])  # type: ignore[arg-type]


def test_units_that_are_no_count_have_no_draw() -> None:
    with pytest.raises(NoDraw, match="units \\[-1\\]"):
        draws(case_of((3,), [-1]))


def test_wide_entries_have_the_bits_they_claim() -> None:
    for bits in (12, 13, 24, 53):
        entries = Stream(b"", bits).odd(bits, (200,))
        assert all(abs(int(each)).bit_length() == bits and int(each) % 2 == 1 for each in entries)
        assert (entries < 0).any()
        assert Fraction(int(entries[0])) == int(entries[0])
