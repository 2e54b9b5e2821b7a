"""Every lane draws what it promises, for every dtype, and numbers of its own."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from conformance.checks.references import question
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS, dtype_of
from conformance.reference.lanes.draws import DRAWN_LANES, draws
from conformance.sandbox.steps import Differentiate, Forward
from conformance.table.case import DTYPES, INPUT_DTYPES, INTEGER_DTYPES, Case, Data
from tests.power.faults import EVERY
from tests.support.fault_matrix import CaseQuestion, red_checks
from tests.support.faulty_adapters import Exact
from tests.support.lanes import case_of, literal_of, operands, wide
from tools.name_lists import LANE_NAMES, lanes_module

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


@pytest.mark.parametrize("input_dtype", INPUT_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_input_is_what_is_drawn(dtype: str, input_dtype: str) -> None:
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
    asked = CaseQuestion(case=case, question=question(case, "cpu"))
    assert red_checks(Exact(), asked) == set()
    wrong = "IntegersHaveGradient" if input_dtype in INTEGER_DTYPES else "InputGradientOfOwnDtype"
    assert red_checks(EVERY[wrong].make(), asked) == {"gradients", "weights_live"}


def test_a_gradient_may_be_rounded_to_the_dtype_of_the_input() -> None:
    enclosure = Enclosure(exact=np.array([1.0]), allowed=np.zeros(1)).rounded(FORMATS["bfloat16"])
    assert enclosure.allowed[0] == pytest.approx(2.0**-8)
    overflow = Enclosure(exact=np.array([1e6]), allowed=np.zeros(1)).rounded(FORMATS["float16"])
    assert overflow.exact[0] == np.inf


def test_the_names_of_lanes_that_rows_may_have_are_current() -> None:
    assert LANE_NAMES.read_text(encoding="utf-8") == lanes_module(DRAWN_LANES), "run `make schema`"
    assert lanes_module([*DRAWN_LANES, "planted"]) != lanes_module(DRAWN_LANES)
