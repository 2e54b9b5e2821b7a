"""Each check finds the fault it is for, says where, and takes missing evidence for a violation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.adapters.protocol import Gradients, Parameter
from conformance.checks.cell import check_names
from conformance.checks.comparison import bits_digest, compare, worst_of
from conformance.checks.finding import Element, Finding, raised_record
from conformance.checks.references import question
from conformance.checks.shapes import ParameterCounts
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import (
    Answer,
    Build,
    Declined,
    Done,
    Inferred,
    Malformed,
    Output,
    Parameters,
    Raised,
    Reply,
    SetWeights,
    Unreached,
)
from conformance.table.case import Case, Expect, Layer
from conformance.table.check_names import CHECKS
from tests.support.faulty_adapters import Exact
from tests.support.verdicts import IMPLEMENTATION, answers_of, findings, subject

CASE = Case(input_shape=(3, 5), layers=(Layer(units=4), Layer(units=5)), lane="exact")
ONE = Enclosure(exact=np.array([1.0, -2.0]), allowed=np.array([0.25, 0.0]))


def test_an_error_at_the_bound_is_within_and_one_beyond_is_not() -> None:
    assert compare("output", "y", np.array([1.25, -2.0]), ONE, "proven").outcome == "conforms"
    finding = compare("output", "y", np.array([np.nextafter(1.25, 2), -2.0]), ONE, "proven")
    assert finding.outcome == "violates"
    assert finding.worst is not None
    assert finding.worst.index == (0,)
    assert finding.line == "proven"


def test_where_nothing_is_allowed_the_smallest_difference_is_a_violation_of_infinite_margin() -> None:
    finding = compare("output", "y", np.array([1.0, np.nextafter(-2, 0)]), ONE, "exact")
    assert finding.outcome == "violates"
    assert finding.margin == np.inf
    assert finding.worst == Element(index=(1,), got=np.nextafter(-2, 0), exact=-2.0, allowed=0.0)


def test_the_margin_is_the_largest_and_not_the_mean() -> None:
    bound = Enclosure(exact=np.zeros(4), allowed=np.ones(4))
    assert compare("output", "y", np.array([0.0, 0.0, -0.75, 0.5]), bound, "proven").margin == 0.75


def test_one_bad_element_of_many_is_found_wherever_it_is() -> None:
    bound = Enclosure(exact=np.zeros((3, 4)), allowed=np.ones((3, 4)))
    for index in np.ndindex(3, 4):
        got = np.zeros((3, 4))
        got[index] = -1.5
        finding = compare("output", "y", got, bound, "proven")
        assert (finding.outcome, finding.worst and finding.worst.index) == ("violates", index)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_violates_however_much_is_allowed(value: float) -> None:
    bound = Enclosure(exact=np.zeros(2), allowed=np.full(2, np.finfo(np.float64).max))
    finding = compare("output", "y", np.array([0.0, value]), bound, "proven")
    assert (finding.outcome, finding.worst and finding.worst.index) == ("violates", (1,))


def test_plus_and_minus_zero_are_equal() -> None:
    bound = Enclosure(exact=np.zeros(1), allowed=np.zeros(1))
    assert compare("output", "y", np.array([-0.0]), bound, "exact").outcome == "conforms"


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (), (3,), (1,)])
def test_another_shape_is_never_broadcast(shape: tuple[int, ...]) -> None:
    finding = compare("output", "y", np.ones(shape), Enclosure(exact=np.ones(2), allowed=np.ones(2)), "proven")
    assert finding.outcome == "violates"
    assert "shape" in str(finding.message)


def test_the_worst_finding_is_a_violation_even_with_a_smaller_margin() -> None:
    violation = Finding(check="output", outcome="violates", message="no")
    assert worst_of("output", [Finding(check="output", margin=0.9), violation]) is violation
    assert worst_of("output", [Finding(check="output", margin=0.1), Finding(check="output", margin=0.9)]).margin == 0.9


def answered() -> dict[str, Answer]:
    """Return the answers of the exact adapter."""
    return answers_of(Exact(), question(CASE, "cpu"))


def outcomes(answers: dict[str, Answer]) -> dict[str, str]:
    return {each.check: each.outcome for each in findings(CASE, answers)}


@pytest.mark.parametrize("length", [0, 1, 8000, 8001, 100_000])
def test_a_long_message_has_both_its_ends(length: int) -> None:
    whole = "".join(chr(97 + index % 26) for index in range(length))
    raised = Raised(type="ValueError", message=whole, modules=("keras.x",), traceback="")
    kept = raised_record(Reply(label="output", answer=raised, seconds=0.0), raised)["message"]
    assert kept == whole if length <= 8000 else kept == f"{whole[:4000]}\n…\n{whole[-4000:]}"


def test_with_all_evidence_every_check_conforms() -> None:
    assert outcomes(answered()) == dict.fromkeys(check_names(CASE), "conforms")
    assert set(check_names(CASE)) == set(CHECKS) - {
        "refusal",
        "positions_permuted",
        "weights_read_back",
        "state_independent",
    }


@pytest.mark.parametrize(
    "answer",
    [
        Raised(type="ValueError", message="no", modules=("keras.x",), traceback=""),
        Declined(reason="cannot"),
        Malformed(message="a list"),
        Unreached(because="build"),
        Done(),
        None,
    ],
    ids=["raised", "declined", "malformed", "unreached", "of another kind", "absent"],
)
@pytest.mark.parametrize(
    "label",
    [each.label for each in question(CASE, "cpu").steps if not isinstance(each, Build | SetWeights)],
)
def test_missing_evidence_violates(label: str, answer: Answer | None) -> None:
    """Take the answer of any one step away: some check must be red, and no check alters that looked at other steps."""
    answers = answered()
    if answer is None:
        del answers[label]
    else:
        answers[label] = answer
    found = {each.check: each for each in findings(CASE, answers)}
    red = {check for check, each in found.items() if each.outcome == "violates"}
    assert red
    assert all("no evidence" in str(found[check].message) for check in red)


@pytest.mark.parametrize(
    ("gone", "spoilt", "check"),
    [
        ("infer", "output", "output_shape"),
        ("output again", "output once more", "output"),
        ("output, dy wide", "gradients, dy wide", "weights_live"),
        ("positions as samples", "output, only position 3 kept", "positions_independent"),
        ("output, transposed", "output, strided", "memory_layouts"),
    ],
)
@pytest.mark.parametrize("declines", [True, False])
def test_every_other_answer_is_judged_if_one_is_missing(gone: str, spoilt: str, check: str, declines: bool) -> None:
    """What is missing is a finding of its own step; what a model declined comes after any other violation."""
    raised = Raised(type="ValueError", message="no", modules=("keras.x",), traceback="")
    answers = answered() | {gone: Declined(reason="cannot") if declines else raised}
    found = next(each for each in findings(CASE, answers) if each.check == check)
    assert (found.outcome, found.declined) == ("violates", "cannot" if declines else None)
    wrong = answers[spoilt]
    if isinstance(wrong, Gradients):
        answers[spoilt] = replace(wrong, dx=None)
    else:
        assert isinstance(wrong, Output)
        answers[spoilt] = replace(wrong, y=wrong.y[:, :-1] if check == "output_shape" else wrong.y + 1)
    found = next(each for each in findings(CASE, answers) if each.check == check)
    assert (found.outcome, found.declined) == ("violates", None)
    assert ("no evidence" in str(found.message)) is (not declines or isinstance(wrong, Gradients))


def test_a_declined_check_is_unsupported_only_with_a_reason_in_the_registry() -> None:
    allowed = replace(IMPLEMENTATION, unanswerable={"gradients": "why"})
    declining = answered() | {"gradients": Declined(reason="cannot"), "output, dy wide": Declined(reason="cannot")}
    found = {each.check: each for each in findings(CASE, declining, allowed)}
    assert (found["gradients"].outcome, found["gradients"].message) == ("unsupported", "why")
    assert found["weights_live"].outcome == "violates"
    assert {each.check: each.outcome for each in findings(CASE, declining)}["gradients"] == "violates"
    raising = answered() | {"gradients": Raised(type="ValueError", message="no", modules=("keras.x",), traceback="")}
    assert {each.check: each.outcome for each in findings(CASE, raising, allowed)}["gradients"] == "violates"


def test_no_evidence_at_all_violates_every_check() -> None:
    assert set(outcomes({}).values()) == {"violates"}


def changed(label: str, change: Any) -> dict[str, str]:
    answers = answered()
    answers[label] = change(answers[label])
    return {check: outcome for check, outcome in outcomes(answers).items() if outcome == "violates"}


def off_by_one(output: Output) -> Output:
    y = output.y.copy()
    y[(-1,) * y.ndim] += 1
    return replace(output, y=y)


@pytest.mark.parametrize(
    ("label", "change", "red"),
    [
        ("infer", lambda a: Inferred(shapes=((None, 3, 4),)), {"output_shape"}),
        ("infer", lambda a: Inferred(shapes=((2, 3, 4), (2, 3, 5))), {"output_shape"}),
        ("infer", lambda a: Inferred(shapes=((None, 3, 5), (None, 3, 4))), {"output_shape"}),
        ("output", off_by_one, {"output", "repeatable", "positions_independent", "axes_merged", "linear_in_x"}),
        ("output once more", off_by_one, {"output", "repeatable"}),
        ("output, dy wide", off_by_one, {"output", "weights_live"}),
        ("output", lambda a: replace(a, placement="gpu"), {"placement"}),
        ("output", lambda a: replace(a, y=a.y.astype(np.float64)), {"output_dtype", "repeatable"}),
        ("positions as samples", off_by_one, {"positions_independent"}),
        ("output, axes split", off_by_one, {"axes_merged"}),
    ],
)
def test_a_changed_answer_turns_its_checks_red(label: str, change: Any, red: set[str]) -> None:
    assert set(changed(label, change)) == red


@pytest.mark.parametrize("which", ["dx", "kernel 0", "bias 0", "kernel 1", "bias 1"])
@pytest.mark.parametrize("label", ["gradients", "gradients, kernel 1 wide"])
def test_each_gradient_is_looked_at(label: str, which: str) -> None:
    def spoil(gradients: Gradients) -> Gradients:
        if which == "dx":
            assert gradients.dx is not None
            return replace(gradients, dx=gradients.dx + 1)
        name, layer = which.split()
        layers: list[list[Any]] = [list(pair) for pair in gradients.layers]
        spot = layers[int(layer)][name == "bias"]
        assert spot is not None
        layers[int(layer)][name == "bias"] = spot + 1
        return replace(gradients, layers=tuple((kernel, bias) for kernel, bias in layers))

    assert "gradients" in changed(label, spoil)


def test_a_missing_bias_gradient_violates() -> None:
    def spoil(gradients: Gradients) -> Gradients:
        return replace(gradients, layers=tuple((kernel, None) for kernel, _ in gradients.layers))

    assert "gradients" in changed("gradients", spoil)


GOOD = (
    Parameter(layer=0, name="kernel", shape=(5, 4), dtype="float32", trainable=True, reported="w"),
    Parameter(layer=0, name="bias", shape=(4,), dtype="float32", trainable=True, reported="b"),
)


@pytest.mark.parametrize(
    ("parameters", "own", "fault"),
    [
        (GOOD, 24, None),
        ((replace(GOOD[0], shape=(4, 5)), GOOD[1]), 24, None),
        ((replace(GOOD[0], shape=(1, 1, 5, 4)), GOOD[1]), None, None),
        ((replace(GOOD[0], shape=(2, 10)), GOOD[1]), 24, "axes"),
        ((replace(GOOD[0], shape=(20,)), GOOD[1]), 24, "axes"),
        ((GOOD[0],), 20, "bias"),
        ((*GOOD, GOOD[1]), 28, "bias"),
        ((GOOD[0], replace(GOOD[1], trainable=False)), 24, "not trainable"),
        ((GOOD[0], replace(GOOD[1], dtype="float16")), 24, "float16"),
        (GOOD, 25, "counts 25"),
        ((*GOOD, replace(GOOD[1], layer=1)), 24, "no layer"),
    ],
)
def test_parameters(parameters: tuple[Parameter, ...], own: int | None, fault: str | None) -> None:
    case = Case(input_shape=(5,), layers=(Layer(units=4),))
    answers = {"parameters": Parameters(parameters=parameters, own_count=None if own is None else str(own))}
    finding = ParameterCounts().judge(subject(answers, case=case))
    assert finding.outcome == ("conforms" if fault is None else "violates")
    assert fault is None or fault in str(finding.message)


def test_a_row_that_expects_an_error_has_only_the_check_refusal() -> None:
    assert check_names(replace(CASE, expect=Expect(error=True))) == ("refusal",)
    assert check_names(replace(CASE, checks=("output", "parameters"))) == ("parameters", "output")


def test_bits_are_equal_where_every_bit_is_and_nowhere_else() -> None:
    array = np.array([[1.0, -2.0], [0.0, 3.0]], np.float32)
    digest = bits_digest(array)
    assert len(digest) == 16
    assert bits_digest(array.copy()) == bits_digest(np.asfortranarray(array)) == digest
    one_ulp = array.copy()
    one_ulp[1, 1] = np.nextafter(one_ulp[1, 1], np.float32(4.0))
    negative_zero = array.copy()
    negative_zero[1, 0] = -0.0
    others: list[Any] = [
        one_ulp,
        negative_zero,
        array.T,
        array.reshape(4),
        array.view(np.int32),
        array.astype(np.float64),
    ]
    assert len({digest, *map(bits_digest, others)}) == len(others) + 1
    assert bits_digest(np.zeros((0, 3), np.float32)) != bits_digest(np.zeros((0, 4), np.float32))


def test_the_record_of_an_output_has_its_bits() -> None:
    found = {}
    for change in (0.0, 2.0**-20):
        answers = answered()
        answer = answers["output"]
        assert isinstance(answer, Output)
        changed = answer.y.copy()
        changed.flat[0] += change * changed.flat[0]
        answers["output"] = replace(answer, y=changed)
        record = next(each for each in findings(CASE, answers) if each.check == "output")
        found[change] = record.facts["bits"]
        assert found[change] == bits_digest(changed)
    assert len(set(found.values())) == 2
