"""The verdict on cells with declared exceptions and crashes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.adapters.protocol import Array
from conformance.ledger.behaviour import Refusal
from conformance.sandbox.steps import Crash, Raised, Transcript
from tests.support.declared_cells import CASE, GIVES_UP, RAISES, OffByOne, at, outcomes
from tests.support.faulty_adapters import _DropsBias, _Raises
from tests.support.numpy_adapter import Honest, NumPyAdapter
from tests.support.verdicts import answers_of, behaviour, question_of, replied, tried, verdict_of


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


def test_of_two_refusals_of_one_step_the_step_shows_either_and_nothing_else() -> None:
    """A step raises one exception: that of the first check that it meets."""
    other = behaviour("other", at("forward"), refuses=Refusal(type="ValueError", message=("min_ndim=2",)))
    for pair in ((RAISES, other), (other, RAISES)):
        verdict = tried(NumPyAdapter(_Raises()), CASE, *pair)
        assert (verdict.outcome, verdict.behaviours) == ("diverges", ("raises",))
        assert tried(NumPyAdapter(OffByOne()), CASE, *pair).outcome == "violates"
    third = behaviour("third", at("forward"), refuses=Refusal(type="ValueError", message=("rank",)))
    assert tried(NumPyAdapter(_Raises()), CASE, other, third).outcome == "violates"


def test_an_exception_at_another_step_violates() -> None:
    class AlsoOfGradients(_Raises):
        def differentiated(self, gradients: Any) -> Any:
            raise RuntimeError("the layer gave up")

    assert tried(NumPyAdapter(AlsoOfGradients()), CASE, RAISES).outcome == "violates"


def test_every_other_answer_is_judged_if_an_exception_is_declared() -> None:
    class WrongGradient(_Raises):
        def bias_gradient(self, dz: Array) -> Array:
            return super().bias_gradient(dz) + dz.dtype.type(1)

    verdict = tried(NumPyAdapter(WrongGradient()), CASE, RAISES)
    assert (verdict.outcome, outcomes(verdict)["gradients"]) == ("violates", "violates")
    assert outcomes(verdict)["output"] == "diverges"


def test_an_exception_outside_of_the_framework_is_none_of_its() -> None:
    """What is raised by the adapter is declared as such, or it violates."""
    asked = question_of(CASE)
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
    asked = question_of(CASE)
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
    verdict = verdict_of(replace(CASE, checks=("placement",)), crashed("gradients", "SIGABRT"))
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
