"""float16 and bfloat16: the bound is the formula stated, rejects no right layer, and sees sums taken in 16 bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from conformance.ledger import load_ledger
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.predicate import Predicate
from conformance.reference import Deviation, Reference, answer
from conformance.reference.draw import Draw, NoDraw, as_matrix, is_exact
from conformance.reference.enclosure import DECLARED_ULPS, Arithmetic, Enclosure
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import draws
from conformance.table.case import ACTIVATIONS, Case, Layer
from conformance.table.files import default_cases
from tests.support.faulty_adapters import Exact, rounded
from tests.support.numpy_activations import BACKWARD, FORWARD
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import behaviour, tried

Array = np.ndarray
SHORT = ["float16", "bfloat16"]
U32 = 2.0**-24


def case_of(
    input_shape: tuple[int, ...], units: list[int], activations: list[str], dtype: str, **fields: object
) -> Case:
    layers = tuple(Layer(units=m, activation=each) for m, each in zip(units, activations, strict=True))
    return replace(Case(input_shape=input_shape, layers=layers, dtype=dtype), **fields)  # type: ignore[arg-type]


def summed(left: Array, right: Array, *, wide: type[np.generic] | np.dtype[np.generic] = np.float32) -> Array:
    """Return the product, summed one term after the other in `wide` and rounded once."""
    total = np.zeros((left.shape[0], right.shape[1]), wide)
    for term in range(left.shape[1]):
        total = total + left[:, term, None].astype(wide) * right[None, term].astype(wide)
    return np.asarray(total.astype(left.dtype))


def run(draw: Draw, activations: list[str], *, twice: bool, narrow_db: bool = False) -> list[Array]:
    """Return y, then dW and db of every layer from the last on, then dx; rounded `twice` before a bias or once."""
    dtype, a = draw.x.dtype, as_matrix(draw.x)
    trail = []
    for kernel, bias, activation in zip(draw.kernels, draw.biases, activations, strict=True):
        assert bias is not None
        if twice:
            z = np.asarray((summed(a, kernel) + bias).astype(dtype))
        else:
            wider = summed(a.astype(np.float32), kernel.astype(np.float32))
            z = np.asarray((wider + bias.astype(np.float32)).astype(dtype))
        y = np.asarray(FORWARD[activation](z)).astype(dtype)
        trail.append((a, z, y))
        a = y
    found, da = [a], as_matrix(draw.dy)
    for (x, z, y), kernel, activation in zip(
        reversed(trail), reversed(draw.kernels), reversed(activations), strict=True
    ):
        dz = np.asarray(BACKWARD[activation](z, y, da)).astype(dtype)
        ones = np.ones((1, len(dz)), dtype)
        found += [summed(x.T, dz), summed(ones, dz, wide=dtype if narrow_db else np.dtype(np.float32))[0]]
        da = summed(dz, kernel.T)
    return [*found, da]


def enclosures(reference: Reference) -> list[Enclosure]:
    pairs = [each for pair in reversed(reference.layers) for each in pair if each is not None]
    return [reference.y, *pairs, reference.dx]


def excesses(found: list[Array], reference: Reference) -> list[float]:
    """Return by how much each answer is farther off than allowed, at most 0 where it is right."""
    pairs = zip(found, enclosures(reference), strict=True)
    return [
        float((each.error(got.astype(np.float64).reshape(each.exact.shape)) - each.allowed).max())
        for got, each in pairs
    ]


@pytest.mark.parametrize("dtype", SHORT)
def test_the_bound_of_one_layer_is_the_formula(dtype: str) -> None:
    draw = draws(case_of((50,), [4], ["linear"], dtype))[0]
    bias = draw.biases[0]
    assert bias is not None
    x, kernel, bias = as_matrix(draw.x).astype(np.float64), draw.kernels[0].astype(np.float64), bias.astype(np.float64)
    u = FORMATS[dtype].unit_roundoff
    p = x @ kernel
    magnitude = np.abs(x) @ np.abs(kernel) + np.abs(bias)
    sums = U32 * (1 + U32) ** 50 * (magnitude + 50 * (magnitude + np.abs(p + bias)) / 2)
    before_bias = u * (np.abs(p) + sums)
    formula = sums + before_bias + u * (np.abs(p + bias) + sums + before_bias)
    formula = formula + 2 * FORMATS[dtype].half_smallest_subnormal
    allowed = answer(draw, ["linear"], dtype).y.allowed
    assert np.allclose(allowed, formula, rtol=1e-6, atol=0.0)
    assert (allowed >= formula).all()


@pytest.mark.parametrize("twice", [True, False], ids=["rounded twice", "rounded once"])
@pytest.mark.parametrize("dtype", SHORT)
@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 10), min_size=1, max_size=2),
    units=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    data=st.data(),
)
def test_an_honest_implementation_is_never_rejected(
    dtype: str, twice: bool, shape: list[int], units: list[int], data: st.DataObject
) -> None:
    activations = [data.draw(st.sampled_from(["linear", "relu", "tanh", "sigmoid", "softmax"])) for _ in units]
    assert set(activations) <= set(ACTIVATIONS)
    try:
        draw = draws(case_of(tuple(shape), units, activations, dtype))[0]
    except NoDraw:
        reject()
    assert max(excesses(run(draw, activations, twice=twice), answer(draw, activations, dtype))) <= 0.0


@pytest.mark.parametrize("dtype", SHORT)
def test_a_bias_gradient_summed_in_the_dtype_is_right_where_it_is_declared_alone(dtype: str) -> None:
    draw = draws(case_of((256,), [8], ["linear"], dtype, batch=64))[0]
    found = run(draw, ["linear"], twice=True, narrow_db=True)
    y, kernel, bias, dx = excesses(found, answer(draw, ["linear"], dtype))
    assert bias > 0.0
    assert max(y, kernel, dx) <= 0.0
    for declared, is_enough in (("db", True), ("dW", False), ("dx", False), ("output", False)):
        # What is declared of one sum says nothing of another.
        deviations = [Deviation(sums_in={declared: dtype})]
        assert (max(excesses(found, answer(draw, ["linear"], dtype, deviations))) <= 0.0) is is_enough


@pytest.mark.parametrize("dtype", SHORT)
def test_sums_taken_in_the_dtype_are_rejected(dtype: str) -> None:
    draw = draws(case_of((512,), [16], ["linear"], dtype, batch=4))[0]
    bias = draw.biases[0]
    assert bias is not None
    y = summed(as_matrix(draw.x), draw.kernels[0], wide=draw.x.dtype) + bias
    enclosure = answer(draw, ["linear"], dtype).y
    assert float((enclosure.error(y.astype(np.float64)) / enclosure.allowed).max()) > 2.0


@pytest.mark.parametrize("function", DECLARED_ULPS["float32"])
def test_a_function_in_bfloat16_is_that_of_float32_rounded_once(function: str) -> None:
    allowed = Arithmetic(FORMATS["bfloat16"], False).ulps(function)
    wide = Arithmetic(FORMATS["float32"], False).ulps(function)
    assert allowed == pytest.approx((1.0 + wide) * (1.0 + 2.0**-8) - 1.0, rel=1e-9)
    assert Arithmetic(FORMATS["bfloat16"], True).ulps(function) == 0.0


@pytest.mark.parametrize("dtype", [*SHORT, "float64"])
@pytest.mark.parametrize("features", [1, 8, 64, 512, 1024])
def test_there_is_an_exact_draw_wider_than_the_next_format(features: int, dtype: str) -> None:
    """An operand of float32, of bfloat16, or of a format of 8 bits gives other numbers, forward and backward."""
    narrower = {"float64": 24, "float16": 8, "bfloat16": 4}[dtype]
    wrong = {"y": 0, "dW": 0, "dx": 0}
    for draw in draws(case_of((features,), [16], ["linear"], dtype, lane="exact", batch=4)):
        assert is_exact(draw, ["linear"], FORMATS[dtype])
        x, kernel, dy = (each.astype(np.float64) for each in (draw.x, draw.kernels[0], draw.dy))
        nx, nk, ndy = (rounded(each, narrower) for each in (x, kernel, dy))
        wrong["y"] += bool((nx @ nk != x @ kernel).any())
        wrong["dW"] += bool((nx.T @ ndy != x.T @ dy).any())
        wrong["dx"] += bool((ndy @ nk.T != dy @ kernel.T).any())
    assert all(count >= 2 for count in wrong.values()), wrong


@pytest.mark.parametrize("dtype", SHORT)
@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=2),
    units=st.lists(st.integers(1, 30), min_size=1, max_size=2),
    activation=st.sampled_from(["linear", "relu"]),
    batch=st.integers(1, 12),
)
def test_exact_draws_are_exact_even_where_sums_are_taken_in_the_dtype(
    dtype: str, shape: list[int], units: list[int], activation: str, batch: int
) -> None:
    activations = [activation] * len(units)
    try:
        drawn = draws(case_of(tuple(shape), units, activations, dtype, lane="exact", batch=batch))
    except NoDraw:
        reject()
    for draw in drawn:
        reference = answer(draw, activations, dtype)
        assert not any(each.allowed.any() for each in enclosures(reference))
        assert max(excesses(run(draw, activations, twice=True, narrow_db=True), reference)) == 0.0


def test_exact_draws_of_float64_are_exact_in_float64() -> None:
    """In whole numbers of any size, which nothing rounds."""
    for draw in draws(case_of((512,), [16], ["linear"], "float64", lane="exact", batch=4)):
        bias = draw.biases[0]
        assert bias is not None
        x, kernel, dy = (np.vectorize(int, otypes=[object])(each) for each in (draw.x, draw.kernels[0], draw.dy))
        reference = answer(draw, ["linear"], "float64")
        dkernel, _ = reference.layers[0]
        assert (x @ kernel + np.vectorize(int, otypes=[object])(bias) == reference.y.exact).all()
        assert (x.T @ dy == dkernel.exact).all()
        assert (dy @ kernel.T == reference.dx.exact).all()


def test_a_sum_that_float64_would_round_is_not_exact() -> None:
    one = np.ones((1, 1))
    draw = Draw(name="", x=one * 2.0**53, kernels=(one,), biases=(one[0],), dy=one, exact=True)
    assert not is_exact(draw, ["linear"], FORMATS["float64"])
    assert is_exact(replace(draw, x=one * (2.0**53 - 2)), ["linear"], FORMATS["float64"])


class SumsInItsDtype(Honest):
    """Adds up the gradient of a bias in the dtype of the layer."""

    def bias_gradient(self, dz: Array) -> Array:
        return summed(np.ones((1, len(dz)), dz.dtype), dz, wide=dz.dtype)[0]


@pytest.mark.parametrize("dtype", SHORT)
def test_a_sum_in_the_dtype_diverges_where_it_is_declared_and_violates_where_it_is_not(dtype: str) -> None:
    case = case_of((16,), [8], ["linear"], dtype, batch=256)
    sums = behaviour(when=Predicate(step={"call": "gradient", "dtype": dtype}), sums_in={"db": dtype})
    others = (
        behaviour(when=Predicate(step={"call": "gradient", "dtype": dtype}), sums_in={"dW": dtype}),
        behaviour(when=Predicate(step={"call": "gradient", "dtype": "float32"}), sums_in={"db": dtype}),
    )
    found = tried(NumPyAdapter(SumsInItsDtype()), case, sums)
    assert (found.outcome, found.behaviours) == ("diverges", ("declared",))
    by_check = {each["check"]: each["outcome"] for each in found.checks}
    assert {check for check, outcome in by_check.items() if outcome == "diverges"} == {"gradients", "weights_live"}
    assert {"gradients", "gradients, second"} <= set(found.widths)
    assert all(each.startswith("gradients, ") or each == "gradients" for each in found.widths)
    for behaviours in ((), others[:1], others[1:]):
        assert tried(NumPyAdapter(SumsInItsDtype()), case, *behaviours).outcome == "violates"
    # What is summed as the rule says is right all the same, and says nothing of the behaviour.
    right = tried(Exact(), case, sums)
    assert (right.outcome, right.gone) == ("conforms", ())


@pytest.mark.parametrize("dtype", SHORT)
def test_where_every_sum_is_exact_it_does_not_matter_how_it_is_taken(dtype: str) -> None:
    sums = behaviour(when=Predicate(step={"call": "gradient"}), sums_in={"db": dtype})
    case = case_of((16,), [8], ["linear"], dtype, batch=16, lane="exact")
    for adapter in (Exact(), NumPyAdapter(SumsInItsDtype())):
        found = tried(adapter, case, sums)
        assert (found.outcome, found.gone) == ("conforms", ())


def test_torch_declares_no_gradient_summed_in_its_dtype() -> None:
    for implementation in ("torch", "keras-torch"):
        declared = of_implementation(load_ledger([default_cases()]), implementation)
        assert [each.id for each in declared if {"dW", "db"} & set(each.instead.deviation.sums_in)] == []
