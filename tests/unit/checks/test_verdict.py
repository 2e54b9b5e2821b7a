"""
What answers amount to under declared behaviours: conforms, diverges as declared, or violates; and what is gone.

Beside each behaviour that explains an answer a fault is planted that it does not explain, which stays red.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.adapters.protocol import Array, Gradients, Stack
from conformance.checks.outcome import Verdict
from conformance.checks.references import question
from conformance.checks.verdict import Trial
from conformance.ledger.behaviour import Behaviour, Refusal
from conformance.ledger.predicate import Predicate
from conformance.ledger.step import Surroundings
from conformance.run.cell_runner import steps_with_last
from conformance.run.runner import explanation
from conformance.sandbox.steps import Build, Crash, Declined, Forward, Raised, Step, Transcript
from conformance.table.case import Case, Data, Expect, Layer
from tests.support.faulty import Honest, NumPyAdapter, _DropsBias, _Float64Output, _Raises, times
from tests.support.records import cell_record
from tests.support.verdicts import IMPLEMENTATION, answers_of, asked_of, behaviour, cell_of, replied, tried, verdict_of

CASE = Case(input_shape=(4,), layers=(Layer(units=3),), lane="exact")
UNIFORM = replace(CASE, lane="uniform")
FLOAT64 = replace(UNIFORM, dtype="float64")
#: All numbers are 1: the sums are small integers.
ONES = replace(CASE, lane="literal", data=Data(x=1, kernels=(1,), biases=(1,)))


def at(call: str, **layers: Any) -> Predicate:
    return Predicate(step={"call": call}, layers=layers)


def outcomes(verdict: Verdict) -> dict[str, str]:
    """Return the checks of a verdict that do not conform, with their outcomes."""
    return {each["check"]: each["outcome"] for each in verdict.checks if each["outcome"] != "conforms"}


def explained_by(verdict: Verdict) -> dict[str, str]:
    return {each["check"]: each["divergence"]["id"] for each in verdict.checks if "divergence" in each}


class _OffByOne(_DropsBias):
    """Loses the bias, and adds 1 to one element beside it."""

    def output(self, y: Array) -> Array:
        y = y.copy()
        y[(-1,) * y.ndim] += 1
        return y


class _DropsBiasOfGradient(_DropsBias):
    """Loses the bias, and gives a gradient of the kernel that is off."""

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return times(a.T, dz) + dz.dtype.type(1)


# As the rule says, as declared, or neither


def test_what_is_as_the_rule_says_conforms_where_nothing_is_declared() -> None:
    verdict = tried(NumPyAdapter(Honest()), CASE)
    assert (verdict.outcome, verdict.covered, verdict.behaviours, verdict.gone) == ("conforms", (), (), ())
    assert verdict.checks
    assert not outcomes(verdict)


def test_what_is_neither_violates() -> None:
    verdict = tried(NumPyAdapter(_DropsBias()), CASE)
    assert verdict.outcome == "violates"
    assert all("near" not in each for each in verdict.checks)


def test_what_is_as_declared_diverges_and_names_the_behaviour_and_its_entry() -> None:
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, behaviour("loses", loses_bias=True))
    assert (verdict.outcome, verdict.behaviours, verdict.covered) == ("diverges", ("loses",), ("loses",))
    assert outcomes(verdict)["output"] == "diverges"
    assert {*explained_by(verdict).values()} == {"loses"}
    (found,) = (each for each in verdict.checks if each["check"] == "output")
    assert found["divergence"] == {
        "id": "loses",
        "where": "x.yaml:1",
        "kind": "bug",
        "why": "why",
        "evidence": "evidence",
    }
    # What is seen is told in terms of the rule.
    assert found["margin"] > 1


@pytest.mark.parametrize("fault", [_OffByOne, _DropsBiasOfGradient])
def test_one_more_fault_beside_what_is_declared_stays_red_and_the_declared_is_told_as_near(fault: type[Honest]) -> None:
    verdict = tried(NumPyAdapter(fault()), CASE, behaviour("loses", loses_bias=True))
    assert verdict.outcome == "violates"
    assert verdict.behaviours == ()
    red = [each for each in verdict.checks if each["outcome"] == "violates"]
    assert all(each["near"] == [{"id": "loses", "where": "x.yaml:1"}] for each in red)


def test_a_cell_may_have_a_check_that_is_known_beside_one_that_is_new() -> None:
    verdict = tried(NumPyAdapter(_DropsBiasOfGradient()), CASE, behaviour("loses", loses_bias=True))
    assert outcomes(verdict)["output"] == "diverges"
    assert outcomes(verdict)["gradients"] == "violates"
    said = explanation(cell_record({"outcome": verdict.outcome, "checks": verdict.checks}))
    assert "declared for this cell, but not what was seen: loses (x.yaml:1)" in said


def test_a_behaviour_excuses_the_steps_it_covers_alone() -> None:
    only_gradients = behaviour("loses", at("gradient"), loses_bias=True)
    assert tried(NumPyAdapter(_DropsBias()), CASE, only_gradients).outcome == "violates"
    other_dtype = behaviour("loses", Predicate(step={"dtype": "float64"}), loses_bias=True)
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, other_dtype)
    assert (verdict.outcome, verdict.covered) == ("violates", ())


def test_a_behaviour_excuses_the_layers_it_applies_to_alone() -> None:
    two = replace(CASE, layers=(Layer(units=3), Layer(units=2, activation="relu")))
    of_all, of_one = behaviour(loses_bias=True), behaviour(when=Predicate(layers={"units": 2}), loses_bias=True)
    assert tried(NumPyAdapter(_DropsBias()), two, of_all).outcome == "diverges"
    assert tried(NumPyAdapter(_DropsBias()), two, of_one).outcome == "violates"


def test_what_is_in_part_as_declared_and_in_part_as_the_rule_says_is_red_where_the_declared_fails() -> None:
    class OnesAlone(Honest):
        """Loses the bias where the input is no unit vector and not zero."""

        def product(self, x: Array, kernel: Array) -> Array:
            self.is_plain = np.abs(x).sum() > x.size / x.shape[-1]
            return super().product(x, kernel)

        def biased(self, p: Array, bias: Array) -> Array:
            return p if self.is_plain else p + bias

    verdict = tried(NumPyAdapter(OnesAlone()), CASE, behaviour("loses", loses_bias=True))
    assert verdict.outcome == "violates"
    assert outcomes(verdict)["output"] == "diverges"
    assert outcomes(verdict)["weights_read_back"] == "violates"


def test_behaviours_that_cover_one_step_are_applied_together_and_each_is_named() -> None:
    class Both(_DropsBias, _Float64Output):
        pass

    both = (behaviour("loses", loses_bias=True), behaviour("widens", dtypes={"output": "float64"}))
    verdict = tried(NumPyAdapter(Both()), CASE, *both)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses", "widens"))
    assert explained_by(verdict)["output_dtype"] == "widens"
    for each in both:
        assert tried(NumPyAdapter(Both()), CASE, each).outcome == "violates"


def test_a_behaviour_that_nothing_needs_is_not_named() -> None:
    wide = behaviour("wide", error={"absolute": 8})
    verdict = tried(NumPyAdapter(_DropsBias()), UNIFORM, behaviour("loses", loses_bias=True), wide)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))
    assert set(verdict.covered) == {"loses", "wide"}


def test_of_behaviours_that_explain_a_cell_alone_one_is_named_and_none_that_it_does_not_show() -> None:
    gives_up = behaviour("gives up", sometimes="chance", refuses=Refusal(type="E", message=("no",)))
    loses = (behaviour("loses", loses_bias=True), behaviour("loses too", sometimes="chance", loses_bias=True))
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, gives_up, *loses)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))


class _ComputesInFloat32(Honest):
    def operand(self, x: Array) -> Array:
        return x.astype(np.float32)

    def product(self, x: Array, kernel: Array) -> Array:
        return super().product(x, kernel).astype(x.dtype)

    def kernel_gradient(self, a: Array, dz: Array) -> Array:
        return super().kernel_gradient(a, dz).astype(dz.dtype)

    def input_gradient(self, dz: Array, kernel: Array) -> Array:
        return super().input_gradient(dz, kernel).astype(dz.dtype)


class _ComputesInFloat16(_ComputesInFloat32):
    def operand(self, x: Array) -> Array:
        return x.astype(np.float16)


def test_values_are_held_to_the_bound_of_what_is_declared() -> None:
    declared = behaviour("float32", computes_in="float32")
    assert tried(NumPyAdapter(_ComputesInFloat32()), FLOAT64, declared).outcome == "diverges"
    assert tried(NumPyAdapter(_ComputesInFloat16()), FLOAT64, declared).outcome == "violates"


def test_a_record_holds_the_width_of_the_bounds_and_says_where_they_have_no_power() -> None:
    narrow = tried(NumPyAdapter(_ComputesInFloat32()), FLOAT64, behaviour(computes_in="float32"))
    assert 0 < narrow.widths["output"] < 1e-5
    assert narrow.has_power
    tanh = replace(FLOAT64, layers=(Layer(units=3, activation="tanh"),), checks=("output",))
    wide = tried(NumPyAdapter(_ComputesInFloat32()), tanh, behaviour(error={"absolute": 1e18}))
    assert wide.widths["output"] > 1
    assert (wide.outcome, wide.has_power) == ("diverges", False)


# Exceptions and crashes


GIVES_UP = Refusal(type="RuntimeError", message=("gave", "up"))
RAISES = behaviour("raises", at("forward"), refuses=GIVES_UP)


def test_an_exception_that_is_declared_excuses_its_step_and_what_follows_from_it() -> None:
    verdict = tried(NumPyAdapter(_Raises()), CASE, RAISES)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("raises",))


@pytest.mark.parametrize(
    "refuses",
    [
        Refusal(type="ValueError", message=("gave", "up")),
        Refusal(type="RuntimeError", message=("up", "gave")),
        Refusal(type="RuntimeError", message=("min_ndim=2",)),
    ],
)
def test_another_exception_violates(refuses: Refusal) -> None:
    assert tried(NumPyAdapter(_Raises()), CASE, behaviour(when=at("forward"), refuses=refuses)).outcome == "violates"


def test_an_exception_at_another_step_violates() -> None:
    class AlsoOfGradients(_Raises):
        def differentiated(self, gradients: Any) -> Any:
            raise RuntimeError("the layer gave up")

    assert tried(NumPyAdapter(AlsoOfGradients()), CASE, RAISES).outcome == "violates"


def test_every_other_answer_is_judged_beside_an_exception_that_is_declared() -> None:
    class WrongGradient(_Raises):
        def bias_gradient(self, dz: Array) -> Array:
            return super().bias_gradient(dz) + dz.dtype.type(1)

    verdict = tried(NumPyAdapter(WrongGradient()), CASE, RAISES)
    assert (verdict.outcome, outcomes(verdict)["gradients"]) == ("violates", "violates")
    assert outcomes(verdict)["output"] == "diverges"


def test_an_exception_outside_of_the_framework_is_none_of_its() -> None:
    """What is raised by the adapter is declared as such, or it violates."""
    asked = asked_of(CASE)
    answers = answers_of(NumPyAdapter(_Raises()), asked)
    ours = {
        label: replace(each, modules=("conformance.adapters.own",)) if isinstance(each, Raised) else each
        for label, each in answers.items()
    }
    transcript = Transcript(replies=replied(ours))
    assert verdict_of(CASE, transcript, RAISES).outcome == "violates"
    by_adapter = behaviour(when=at("forward"), refuses=replace(GIVES_UP, by_adapter=True))
    assert verdict_of(CASE, transcript, by_adapter).outcome == "diverges"


def crashed(label: str, reason: str, *, timed_out: bool = False, fault: Honest | None = None) -> Transcript:
    """Return what comes of a question at whose step `label` the process ends."""
    asked = asked_of(CASE)
    labels = [each.label for each in asked.steps]
    answers = answers_of(NumPyAdapter(fault or Honest()), asked)
    before = {each: answers[each] for each in labels[: labels.index(label)]}
    crash = Crash(label=label, reason=reason, stderr="")
    return Transcript(replies=replied(before), crash=crash, timed_out=timed_out)


ABORTS = behaviour("aborts", at("gradient"), crashes=("SIGABRT",))


def test_a_crash_is_known_by_its_step_and_its_signal() -> None:
    assert verdict_of(CASE, crashed("gradients", "SIGABRT")).outcome == "crashed"
    as_declared = verdict_of(CASE, crashed("gradients", "SIGABRT"), ABORTS)
    assert (as_declared.outcome, as_declared.behaviours) == ("diverges", ("aborts",))
    assert as_declared.divergence is not None
    assert as_declared.divergence["id"] == "aborts"
    assert as_declared.reason == "gradients: SIGABRT"
    assert verdict_of(CASE, crashed("gradients", "SIGSEGV"), ABORTS).outcome == "crashed"
    assert verdict_of(CASE, crashed("output", "SIGABRT"), ABORTS).outcome == "crashed"


def test_a_crash_at_a_step_that_no_check_looks_at_is_one() -> None:
    verdict = verdict_of(replace(CASE, checks=("parameters",)), crashed("gradients", "SIGABRT"))
    assert (verdict.outcome, outcomes(verdict)) == ("crashed", {})


def test_a_crash_may_come_sometimes() -> None:
    sometimes = replace(ABORTS, sometimes="chance")
    assert verdict_of(CASE, crashed("gradients", "SIGABRT"), sometimes).outcome == "diverges"
    assert verdict_of(CASE, crashed("gradients", "SIGSEGV"), sometimes).outcome == "crashed"
    assert tried(NumPyAdapter(Honest()), CASE, sometimes).outcome == "conforms"


def test_a_time_out_is_no_crash() -> None:
    late = crashed("gradients", "no answer within 60 s; SIGABRT", timed_out=True)
    assert verdict_of(CASE, late, ABORTS).outcome == "timed_out"


def test_every_answer_before_a_crash_that_is_declared_is_judged() -> None:
    wrong = crashed("gradients", "SIGABRT", fault=_DropsBias())
    verdict = verdict_of(CASE, wrong, ABORTS)
    assert verdict.outcome == "violates"
    assert outcomes(verdict)["output"] == "violates"
    assert outcomes(verdict)["gradients"] == "diverges"


def test_a_process_that_survives_where_a_crash_is_declared_conforms_and_the_crash_is_gone() -> None:
    verdict = tried(NumPyAdapter(Honest()), CASE, ABORTS)
    assert verdict.outcome == "conforms"
    assert [each["id"] for each in verdict.gone] == ["aborts"]


# Sometimes


def test_what_holds_sometimes_is_as_the_rule_says_or_as_declared_and_nothing_in_between() -> None:
    sometimes = behaviour("loses", sometimes="processor", loses_bias=True)
    assert tried(NumPyAdapter(Honest()), CASE, sometimes).outcome == "conforms"
    assert tried(NumPyAdapter(_DropsBias()), CASE, sometimes).outcome == "diverges"
    assert tried(NumPyAdapter(_OffByOne()), CASE, sometimes).outcome == "violates"


def test_what_holds_sometimes_may_differ_from_step_to_step() -> None:
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


def test_what_holds_sometimes_is_never_gone() -> None:
    assert tried(NumPyAdapter(Honest()), CASE, behaviour(loses_bias=True, sometimes="processor")).gone == ()


def test_of_several_that_hold_sometimes_as_few_as_explain_an_answer_are_taken() -> None:
    both = (
        behaviour("loses", sometimes="processor", loses_bias=True),
        behaviour("casts", sometimes="processor", casts={"bias": "float16"}),
    )
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, *both)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))


# Gone


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
def test_a_cell_that_conforms_where_a_behaviour_leaves_no_room_for_it_says_that_it_is_gone(
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
def test_a_cell_that_both_allow_says_nothing(declared: Behaviour, case: Case) -> None:
    verdict = tried(NumPyAdapter(Honest()), case, declared)
    assert (verdict.outcome, verdict.gone) == ("conforms", ())


def test_a_step_that_was_declined_says_nothing_and_a_check_without_it_is_not_the_outcome() -> None:
    asked = asked_of(CASE)
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


def test_what_must_be_refused_and_is_refused_says_that_accepting_it_is_gone() -> None:
    wrong = replace(CASE, layers=(Layer(units=True),), expect=Expect(error=True))
    accepts = behaviour("accepts", at("forward"), accepts="int_units")
    refused = tried(NumPyAdapter(Honest()), wrong, accepts)
    assert (refused.outcome, [each["id"] for each in refused.gone]) == ("conforms", ["accepts"])


def test_one_of_two_behaviours_may_be_gone_while_the_other_is_seen() -> None:
    both = (behaviour("loses", loses_bias=True), behaviour("widens", dtypes={"output": "float64"}))
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, *both)
    assert (verdict.outcome, verdict.behaviours) == ("diverges", ("loses",))
    assert [each["id"] for each in verdict.gone] == ["widens"]
    assert tried(NumPyAdapter(_OffByOne()), CASE, *both).outcome == "violates"


def test_entries_that_contradict_each_other_on_a_row_outside_the_table_are_named_by_its_red_cell() -> None:
    both = [behaviour(name, computes_in=name) for name in ("float16", "bfloat16")]
    verdict = tried(NumPyAdapter(_DropsBias()), CASE, *both)
    assert verdict.outcome == "violates"
    told = {each.get("under") for each in verdict.checks if each["outcome"] == "violates"}
    assert told == {"the ledger contradicts itself: float16 and bfloat16 both set computes_in, to different values"}
    one = tried(NumPyAdapter(_DropsBias()), CASE, both[0], behaviour("loses", loses_bias=True))
    assert one.outcome == "diverges"


# What must be refused, and is accepted as declared


class _TakesTrueForOne(Honest):
    units = 1

    def built(self, stack: Stack) -> Stack:
        layers = (replace(each, units=self.units if each.units is True else each.units) for each in stack.layers)
        return replace(stack, layers=tuple(layers))


def test_what_is_accepted_as_declared_diverges_and_with_another_shape_violates() -> None:
    wrong = replace(CASE, layers=(Layer(units=True),), expect=Expect(error=True))
    accepts = behaviour("accepts", at("forward"), accepts="int_units")

    class Blank(_TakesTrueForOne):
        def used(self, stack: Stack) -> Stack:
            layer = stack.layers[0]
            if layer.kernel is not None:
                return stack
            count = int(self.units)
            kernel, bias = np.ones((4, count), np.float32), np.ones(count, np.float32)
            return replace(stack, layers=(replace(layer, kernel=kernel, bias=bias),))

    assert tried(NumPyAdapter(Blank()), wrong).outcome == "violates"
    assert tried(NumPyAdapter(Blank()), wrong, accepts).outcome == "diverges"

    class Two(Blank):
        units = 2

    assert tried(NumPyAdapter(Two()), wrong, accepts).outcome == "violates"


# Values that mean nothing, and values that are given


def test_values_that_mean_nothing_are_not_judged_and_all_else_is() -> None:
    undefined = behaviour(undefined=frozenset({"output"}))

    class Garbage(Honest):
        def output(self, y: Array) -> Array:
            return y * y.dtype.type(7)

    class GarbageOfAnotherShape(Garbage):
        def output(self, y: Array) -> Array:
            return y[..., :1]

    class GarbageWithWrongGradients(Garbage):
        def bias_gradient(self, dz: Array) -> Array:
            return super().bias_gradient(dz) + dz.dtype.type(1)

    assert tried(NumPyAdapter(Garbage()), CASE).outcome == "violates"
    assert tried(NumPyAdapter(Garbage()), CASE, undefined).outcome == "diverges"
    assert tried(NumPyAdapter(GarbageOfAnotherShape()), CASE, undefined).outcome == "violates"
    assert tried(NumPyAdapter(GarbageWithWrongGradients()), CASE, undefined).outcome == "violates"


# Steps that are asked last


def labels(steps: tuple[Step, ...]) -> list[str]:
    return [each.label for each in steps]


def test_steps_whose_process_must_answer_no_other_come_last() -> None:
    steps = question(replace(CASE, checks=("output", "gradients")), "cpu").steps
    moved = steps_with_last(steps, {"gradients"})
    assert sorted(labels(moved)) == sorted(labels(steps))
    assert labels(moved)[labels(moved).index("gradients") - 1] == "output, other batch"
    # What follows new weights of the same model stays behind them.
    assert [each for each in labels(moved) if each != "output, other batch"] == [
        each for each in labels(steps) if each != "output, other batch"
    ]
    assert steps_with_last(steps, set()) == steps


def test_a_step_of_another_model_is_asked_before_those_that_are_last() -> None:
    built = question(CASE, "cpu").steps[0]
    assert isinstance(built, Build)
    x = np.ones((2, 4), np.float32)
    steps = (
        built,
        Forward(label="bad", x=x),
        Forward(label="after", x=x),
        replace(built, label="build alone", model="alone"),
        Forward(label="alone", model="alone", x=x),
    )
    assert labels(steps_with_last(steps, {"bad"})) == ["build", "after", "build alone", "alone", "bad"]
