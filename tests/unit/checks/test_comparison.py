"""What the comparator may not overlook, one small case each; `tests.power.mutations` has the edits they notice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies

from conformance.adapters.protocol import Gradients
from conformance.checks.comparison import compare, compare_answers, worst_of
from conformance.checks.finding import Absence, Finding, Missing
from conformance.checks.gradients import GradientValues
from conformance.checks.outputs import OutputValues, Repeatable
from conformance.checks.question import REPEATED
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.reference.sum_bounds import JointBound
from conformance.sandbox.steps import (
    Answer,
    Output,
    Unreached,
)
from tests.support.check_answers import DB, DW, HALF, ONE, REFUSED, RIGHT
from tests.support.verdicts import ONE_LAYER, around, gradients_of, output, outputs_of, reference_of, subject

Array = np.ndarray


def test_no_error_where_none_is_allowed_is_no_part_of_the_margin() -> None:
    enclosure = Enclosure(exact=np.array([1.0, 2.0]), allowed=np.array([0.0, 0.5]))
    finding = compare("output", "y", np.array([1.0, 2.25]), enclosure, "proven")
    assert finding.worst is not None
    assert (finding.outcome, finding.margin, finding.worst.index) == ("conforms", 0.5, (1,))


@drawn(strategies.floats(min_value=5e-324, max_value=1e308))
def test_the_bound_is_within_and_the_next_number_is_not(allowed: float) -> None:
    """Both quotients are 1 or next to it, where rounding could make one of them the other."""
    for most, outcome in ((allowed, "conforms"), (np.nextafter(allowed, np.inf), "violates")):
        for got in ([most, 0.0], [-most, 0.0]):
            assert compare("output", "y", np.array(got), around([0.0, 0.0], allowed), "proven").outcome == outcome


def test_the_worst_element_is_that_of_the_largest_ratio_not_error() -> None:
    bound = Enclosure(exact=np.zeros(2), allowed=np.array([10.0, 1.0]))
    finding = compare("output", "y", np.array([5.0, 0.75]), bound, "proven")
    assert finding.worst is not None
    assert (finding.worst.index, finding.margin) == ((1,), 0.75)


def test_an_array_of_nothing_conforms() -> None:
    assert compare("output", "y", np.zeros((0, 3)), around(np.zeros((0, 3))), "proven").outcome == "conforms"


@pytest.mark.parametrize("expected", [np.nan, np.inf, -np.inf, 3.0])
@pytest.mark.parametrize("got", [np.nan, np.inf, -np.inf, 3.0])
def test_what_is_not_finite_is_right_where_it_is_expected_alone(expected: float, got: float) -> None:
    finding = compare("output", "y", np.array([got]), around([expected]), "proven")
    assert (finding.outcome == "conforms") == (repr(got) == repr(expected))
    assert finding.margin == (0.0 if finding.outcome == "conforms" else np.inf)


def test_the_message_counts_the_elements_that_are_off() -> None:
    finding = compare("output", "y", np.array([0.0, 2.0, 0.0, 0.0]), around(np.zeros(4), 1.0), "proven")
    assert str(finding.message).endswith("1 of 4 elements are off")


SIZE, CLIP, LIMIT = 64, 4.0, 2.0


def together(got: Array, unit: float = 1.0) -> Finding:
    """Compare with 0, within a bound that no single element reaches."""
    joint = JointBound(unit=np.full(got.shape, unit), clip=CLIP, limit=LIMIT)
    enclosure = replace(around(np.zeros_like(got), 1e6), joint=joint)
    return compare("output", "y", got, enclosure, "statistical")


@pytest.mark.parametrize(
    ("got", "outcome"),
    [
        (np.full(SIZE, 1.05 * LIMIT), "violates"),
        (np.full(SIZE, -1.05 * LIMIT), "violates"),
        (np.full(SIZE, 0.99 * LIMIT), "conforms"),
        (np.where(np.arange(SIZE) < SIZE // 3, 1e5, 0.0), "violates"),  # its mean and median are within
        # However large the errors of few elements are, each counts as the clip.
        (np.where(np.arange(SIZE) < SIZE // 5, 1e5, 0.0), "conforms"),
    ],
)
def test_the_root_mean_square_of_enough_errors_has_a_bound(got: Array, outcome: str) -> None:
    finding = together(got)
    assert finding.outcome == outcome
    assert finding.facts["rms_allowed"] == LIMIT
    # The same errors, in larger units.
    assert together(got, 1e6).outcome == "conforms"


def test_an_array_without_a_joint_bound_is_judged_element_by_element() -> None:
    finding = compare("output", "y", np.full(SIZE, 1e5), around(np.zeros(SIZE), 1e6), "statistical")
    assert finding.outcome == "conforms"
    assert "rms" not in finding.facts


def test_the_same_output_is_checked_against_each_of_its_references() -> None:
    y = np.ones(2)
    references = {"output": reference_of(y), "output, other draw": reference_of(np.zeros(2))}
    answers = dict.fromkeys(references, output(y))
    assert OutputValues().judge(subject(answers, outputs_of(references))).outcome == "violates"


def test_the_row_s_own_output_is_checked_against_the_reference_first() -> None:
    right, wrong = np.ones(2), np.array([1.0, 2.0])

    def found(expected: Array) -> Finding:
        probes = outputs_of({"output": reference_of(right)})
        own = subject({"output": output(right)}, probes, row_output=expected)
        return OutputValues().judge(own)

    assert found(right).outcome == "conforms"
    assert "the output of the row" in str(found(wrong).message)


def gradients(
    found: Gradients, *, dx: float = 1.0, input_dtype: str | None = None, layers: Any = ((DW, DB), (DW, DB))
) -> Finding:
    reference = Reference(y=around([1.0]), dx=around([dx]), layers=layers, line="proven")
    case = replace(ONE_LAYER, input_dtype=input_dtype)
    return GradientValues().judge(subject({"gradients": found}, gradients_of({"gradients": reference}), case=case))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (RIGHT, None),
        (replace(RIGHT, layers=RIGHT.layers[:1]), "gradients of 1 layers, expected 2"),
        (replace(RIGHT, layers=(*RIGHT.layers, RIGHT.layers[0])), "gradients of 3 layers, expected 2"),
        (replace(RIGHT, dx=None), "has no dx"),
        (replace(RIGHT, dx=np.ones(1)), "dx of dtype float64"),
        (replace(RIGHT, layers=((ONE, HALF.astype(np.float64)), RIGHT.layers[0])), "['float64'], expected float32"),
        (replace(RIGHT, layers=((ONE.astype(np.float64), HALF.astype(np.float64)),) * 2), "dtype ['float64']"),
    ],
)
def test_gradients_are_of_every_layer_and_of_the_dtype(found: Gradients, message: str | None) -> None:
    finding = gradients(found)
    assert finding.outcome == ("conforms" if message is None else "violates")
    assert message is None or message in str(finding.message)


def test_a_gradient_of_a_bias_that_is_not_there_violates() -> None:
    assert gradients(RIGHT, layers=((DW, None), (DW, DB))).outcome == "violates"
    without = replace(RIGHT, layers=((ONE, None), (ONE, HALF)))
    assert gradients(without, layers=((DW, None), (DW, DB))).outcome == "conforms"


def test_integers_have_no_gradient() -> None:
    assert gradients(replace(RIGHT, dx=None), input_dtype="int32").outcome == "conforms"
    assert "the input is int32" in str(gradients(RIGHT, input_dtype="int32").message)


def test_the_gradient_of_a_short_input_is_rounded_to_it() -> None:
    beyond = 1.0 + 2.0**-12
    short = replace(RIGHT, dx=np.ones(1, np.float16))
    assert gradients(short, dx=beyond, input_dtype="float16").outcome == "conforms"
    # What is not rounded is held to the bound of what is not rounded, and is of another dtype besides.
    assert gradients(RIGHT, dx=beyond, input_dtype="float16").margin == np.inf
    assert gradients(short, dx=1.0 + 2.0**-9, input_dtype="float16").outcome == "violates"
    assert gradients(short, dx=1.0).outcome == "violates"


def test_the_margin_of_each_kind_of_gradient_is_that_of_its_worst_layer() -> None:
    found = replace(RIGHT, layers=((ONE + np.float32(0.25), HALF), (ONE, HALF - np.float32(0.75))))
    assert gradients(found).facts["margins"] == {"dx": 0.0, "dW": 0.25, "db": 0.75}


def repeated(*outputs: Any, allowed: float = 0.25) -> Finding:
    answers: dict[str, Answer] = dict(zip(REPEATED, map(output, outputs), strict=True))
    return Repeatable().judge(subject(answers, outputs_of(dict.fromkeys(REPEATED, reference_of([0.0], allowed)))))


def test_two_answers_differ_by_the_sum_of_both_bounds_at_most() -> None:
    assert repeated([0.25], [0.25], [-0.25]).outcome == "conforms"
    assert repeated([0.25], [0.25], [-0.5]).outcome == "violates"
    # Answers alike are repeatable, right or wrong.
    assert repeated([7.0], [7.0], [7.0]).outcome == "conforms"


def test_bits_agree_where_those_of_all_calls_do() -> None:
    assert repeated([0.0], [0.0], [0.0]).facts["bitwise"] is True
    assert repeated([0.0], [0.0], [-0.0]).facts["bitwise"] is False


def test_an_answer_of_another_shape_is_not_compared_with_another() -> None:
    both = np.zeros((1, 2)), around(np.zeros((2, 2)))
    finding = compare_answers("repeatable", "y", both, both, "proven")
    assert "expected (2, 2)" in str(finding.message)
    one, other = (np.zeros((2, 2)), around(np.zeros((2, 2)))), (np.zeros((2, 2)), around(np.zeros((2, 1))))
    assert compare_answers("repeatable", "y", one, other, "proven").outcome == "violates"
    short = np.zeros((1, 2)), around(np.zeros((2, 2)))
    assert compare_answers("repeatable", "y", one, short, "proven").outcome == "violates"


@pytest.mark.parametrize(
    ("got", "other", "outcome"),
    [
        ((3.0, 2.0, 0.25), (2.0, 1.0, 0.25), "conforms"),
        ((3.5, 2.0, 0.25), (2.0, 1.0, 0.25), "conforms"),
        ((3.75, 2.0, 0.25), (2.0, 1.0, 0.25), "violates"),
        ((3.5, 2.0, 0.5), (2.0, 1.0, 0.0), "conforms"),  # each has a radius of its own
        ((3.75, 2.0, 0.5), (2.0, 1.0, 0.0), "violates"),
        ((1.0, 2.0, 0.25), (2.0, 1.0, 0.25), "violates"),  # it is by this much larger, not smaller
        ((np.nan, np.nan, 0.0), (np.nan, np.nan, 0.0), "conforms"),
        ((np.inf, np.inf, 0.0), (np.inf, np.inf, 0.0), "conforms"),
        ((np.inf, np.inf, 0.0), (np.nan, np.inf, 0.0), "violates"),
        ((1.0, np.nan, 0.0), (np.nan, np.nan, 0.0), "violates"),
        # Where the exact answers differ so, each is compared with its own.
        ((np.nan, np.nan, 0.0), (2.0, 2.0, 0.0), "conforms"),
        ((2.0, np.nan, 0.0), (2.0, 2.0, 0.0), "violates"),
        ((2.0, 2.0, 0.0), (np.inf, np.inf, 0.0), "conforms"),
        ((3.0, 2.0, 0.0), (np.inf, np.inf, 0.0), "violates"),
    ],
)
def test_two_answers_differ_by_at_most_their_enclosures(
    got: tuple[float, float, float], other: tuple[float, float, float], outcome: str
) -> None:
    pairs = [(np.array([answer]), around([exact], allowed)) for answer, exact, allowed in (got, other)]
    assert compare_answers("repeatable", "y", pairs[0], pairs[1], "proven").outcome == outcome


def test_the_tails_of_what_encloses_two_answers_are_part_of_their_difference() -> None:
    one = Enclosure(exact=np.array([1.0]), allowed=np.zeros(1), tail=np.array([0.5]))
    other = Enclosure(exact=np.array([1.0]), allowed=np.zeros(1), tail=np.array([0.25]))
    assert (
        compare_answers("repeatable", "y", (np.array([3.25]), one), (np.array([3.0]), other), "exact").outcome
        == "conforms"
    )
    assert (
        compare_answers("repeatable", "y", (np.array([3.0]), one), (np.array([3.0]), other), "exact").outcome
        == "violates"
    )


def test_an_element_without_a_bound_is_not_judged_and_counted() -> None:
    enclosure = Enclosure(exact=np.array([1.0, 2.0, 3.0]), allowed=np.array([0.5, np.inf, np.inf]))
    finding = compare("output", "y", np.array([1.25, np.nan, 9.0]), enclosure, "proven")
    assert (finding.outcome, finding.margin, finding.facts) == ("conforms", 0.5, {"unbounded": 2})
    assert compare("output", "y", np.array([2.0, 2.0, 3.0]), enclosure, "proven").outcome == "violates"
    assert "unbounded" not in compare("output", "y", np.zeros(1), around(np.zeros(1)), "proven").facts


def test_of_nothing_to_judge_a_check_conforms_and_what_is_declined_comes_last() -> None:
    assert worst_of("output", []) == Finding(check="output")
    declined = Finding(check="output", outcome="violates", message="a", absence=Absence(declined="cannot"))
    other = Finding(check="output", outcome="violates", message="b")
    assert worst_of("output", [Finding(check="output", margin=2.0), declined, other]) is other
    assert worst_of("output", [declined, Finding(check="output", margin=2.0)]) is declined


def test_missing_evidence_names_the_step_that_is_the_cause_and_who_raised() -> None:
    evidence = subject({"build": REFUSED, "output": Unreached(because="build")}).evidence
    with pytest.raises(Missing) as missing:
        evidence.get("output", "output", Output)
    finding = missing.value.finding
    assert (finding.outcome, finding.raised and finding.raised["step"]) == ("violates", "build")
    assert finding.raised is not None
    assert finding.raised["module"] == "numpy.y"


def test_a_margin_of_nothing_is_on_the_record() -> None:
    assert Finding(check="output", margin=0.0, observed=False).record()["margin"] == 0.0
    assert "message" not in Finding(check="output").record()
