"""The verdict on cells whose behaviours hold sometimes, or are gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.adapters.protocol import Array, Gradients
from conformance.checks.verdict import Trial
from conformance.ledger.behaviour import Behaviour
from conformance.ledger.predicate import Predicate
from conformance.ledger.step import Surroundings
from conformance.sandbox.steps import Declined, Transcript
from conformance.table.case import Case, Data, Expect, Layer
from tests.support.declared_cells import CASE, RAISES, UNIFORM, OffByOne, at, outcomes
from tests.support.faulty_adapters import _DropsBias
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import IMPLEMENTATION, answers_of, behaviour, cell_of, question_of, replied, tried

#: All numbers are 1: the sums are small integers.
ONES = replace(CASE, lane="literal", data=Data(x=1, kernels=(1,), biases=(1,)))


def test_an_answer_under_sometimes_is_by_the_rule_or_as_declared_and_nothing_in_between() -> None:
    sometimes = behaviour("loses", sometimes="processor", loses_bias=True)
    assert tried(NumPyAdapter(Honest()), CASE, sometimes).outcome == "conforms"
    assert tried(NumPyAdapter(_DropsBias()), CASE, sometimes).outcome == "diverges"
    assert tried(NumPyAdapter(OffByOne()), CASE, sometimes).outcome == "violates"


def test_a_behaviour_under_sometimes_may_differ_from_step_to_step() -> None:
    class EverySecond(Honest):
        calls = 0

        def biased(self, p: Array, bias: Array) -> Array:
            self.calls += 1
            return p if self.calls % 2 else p + bias

    assert tried(NumPyAdapter(EverySecond()), CASE, behaviour(loses_bias=True)).outcome == "violates"
    verdict = tried(
        NumPyAdapter(EverySecond()), replace(CASE, checks=("output",)), behaviour(loses_bias=True, sometimes="chance")
    )
    assert verdict.outcome == "diverges"


def test_a_behaviour_under_sometimes_is_never_gone() -> None:
    assert tried(NumPyAdapter(Honest()), CASE, behaviour(loses_bias=True, sometimes="processor")).gone == ()


def test_of_several_under_sometimes_the_fewest_that_explain_an_answer_are_taken() -> None:
    both = (
        behaviour("loses", sometimes="processor", loses_bias=True),
        behaviour("casts", sometimes="processor", casts={"bias": "float16"}),
    )
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, *both)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))


@pytest.mark.parametrize(
    ("declared", "case"),
    [
        (behaviour("a", loses_bias=True), CASE),
        (behaviour("a", dtypes={"output": "float64"}), CASE),
        (RAISES, CASE),
        (behaviour("a", computes_in="float16"), UNIFORM),
        (behaviour("a", at("infer"), infers="fed"), CASE),
    ],
    ids=["values", "dtype", "exception", "format", "inferred"],
)
def test_a_cell_that_conforms_on_a_decisive_step_shows_the_behaviour_to_be_gone(
    declared: Behaviour, case: Case
) -> None:
    verdict = tried(NumPyAdapter(Honest()), case, declared)
    assert verdict.outcome == "conforms"
    assert [each["where"] for each in verdict.gone] == ["x.yaml:1"]


@pytest.mark.parametrize(
    ("declared", "case"),
    [
        # Small integers are the same in float16 and float32.
        (behaviour(computes_in="float16"), ONES),
        (behaviour(error={"absolute": 4}), replace(UNIFORM, layers=(Layer(units=3, activation="tanh"),))),
        (behaviour(sums_in={"output": "float16"}), UNIFORM),
        (behaviour(when=Predicate(step={"dtype": "float64"}), loses_bias=True), CASE),
    ],
    ids=["the same numbers", "error alone", "sums alone", "not covered"],
)
def test_a_cell_that_both_allow_shows_nothing_to_be_gone(declared: Behaviour, case: Case) -> None:
    verdict = tried(NumPyAdapter(Honest()), case, declared)
    assert (verdict.outcome, verdict.gone) == ("conforms", ())


def test_a_declined_step_shows_nothing_and_a_check_without_it_is_not_the_outcome() -> None:
    asked = question_of(CASE)
    answers = {
        label: Declined(reason="no") if isinstance(answer, Gradients) else answer
        for label, answer in answers_of(NumPyAdapter(Honest()), asked).items()
    }
    declining = replace(IMPLEMENTATION, unanswerable=dict.fromkeys(("gradients", "weights_live"), "why"))
    dx = behaviour(when=at("gradient"), dtypes={"dx": "float64"})
    around = Surroundings(device="cpu", versions={})
    trial = Trial(cell_of(CASE, declining), asked, Transcript(replies=replied(answers)), [dx], around)
    verdict = trial.verdict()
    assert (verdict.outcome, verdict.gone) == ("conforms", ())
    assert outcomes(verdict) == {"gradients": "unsupported", "weights_live": "unsupported"}


def test_a_refusal_as_required_shows_that_accepting_is_gone() -> None:
    wrong = replace(CASE, layers=(Layer(units=True),), expect=Expect(error=True))
    accepts = behaviour("accepts", at("forward"), accepts="int_units")
    refused = tried(NumPyAdapter(Honest()), wrong, accepts)
    assert (refused.outcome, [each["id"] for each in refused.gone]) == ("conforms", ["accepts"])


def test_one_of_two_behaviours_may_be_gone_while_the_other_occurs() -> None:
    both = (behaviour("loses", loses_bias=True), behaviour("widens", dtypes={"output": "float64"}))
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, *both)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))
    assert [each["id"] for each in verdict.gone] == ["widens"]
    assert tried(NumPyAdapter(OffByOne()), CASE, *both).outcome == "violates"


def test_entries_that_contradict_each_other_on_a_row_outside_the_table_are_named_by_its_red_cell() -> None:
    both = [behaviour(name, computes_in=name) for name in ("float16", "bfloat16")]
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, *both)
    assert verdict.outcome == "violates"
    told = {each.get("under") for each in verdict.checks if each["outcome"] == "violates"}
    assert told == {"the ledger contradicts itself: float16 and bfloat16 both set computes_in, to different values"}
    one = tried(NumPyAdapter(_DropsBias()), CASE, both[0], behaviour("loses", loses_bias=True))
    assert one.outcome == "diverges"
