"""The ledger is strict in both directions: what it asserts diverges, anything else violates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from conformance.settlement import settle

from conformance.ledger import Crash, Entry, Equals, Margin, Message, Observed, Raises

RAISED = {
    "stage": "build",
    "step": "build alone",
    "type": "ValueError",
    "message": "min_ndim=2, found ndim=1",
    "module": "keras.x",
}


def entry(observed: Observed, checks: tuple[str, ...] = ("output",), **fields: Any) -> Entry:
    plain = Entry(
        implementations=("keras-*",),
        cases=("4-3-*",),
        devices=None,
        checks=checks,
        kind="by_design",
        observed=observed,
        why="a fact",
        link="https://example.org",
        evidence=None,
        since=None,
        file="cases/divergences.yaml",
        line=7,
        column=5,
    )
    return replace(plain, **fields)


def settled(
    entries: list[Entry], *checks: dict[str, Any], crash: dict[str, Any] | None = None, timed_out: bool = False
) -> Any:
    cell: dict[str, Any] = {"implementation": "keras-jax", "device": "cpu", "case": "4-3-nobatch-exact"}
    return settle(entries, checks=checks, crash=crash, timed_out=timed_out, **cell)


def violation(**fields: Any) -> dict[str, Any]:
    return {"check": "output", "outcome": "violates", "message": "off", **fields}


def test_the_worst_check_is_the_outcome() -> None:
    conforms = {"check": "parameters", "outcome": "conforms"}
    unsupported = {"check": "gradients", "outcome": "unsupported", "message": "why"}
    assert settled([], conforms).outcome == "conforms"
    assert settled([], conforms, violation()).outcome == "violates"
    assert settled([], conforms, unsupported).outcome == "conforms"
    assert settled([], unsupported).outcome == "unsupported"
    assert settled([], unsupported).reason == "why"


def test_what_an_entry_asserts_diverges_and_carries_its_reason() -> None:
    result = settled([entry(Raises(stage="build", type="ValueError", message="min_ndim=2"))], violation(raised=RAISED))
    assert result.outcome == "diverges"
    assert result.checks[0]["divergence"]["why"] == "a fact"
    assert result.checks[0]["divergence"]["where"] == "cases/divergences.yaml:7"


@pytest.mark.parametrize(
    "observed",
    [
        Raises(stage="call", type="ValueError", message="min_ndim=2"),
        Raises(stage="build", type="TypeError", message="min_ndim=2"),
        Raises(stage="build", type="ValueError", message="min_ndim=3"),
        Equals(value=[1]),
    ],
)
def test_another_observation_than_the_asserted_one_violates_and_names_the_entry(observed: Observed) -> None:
    result = settled([entry(observed)], violation(raised=RAISED))
    assert result.outcome == "violates"
    assert "cases/divergences.yaml:7" in result.checks[0]["message"]


def test_a_divergence_that_went_away_violates() -> None:
    result = settled([entry(Equals(value=3))], {"check": "output", "outcome": "conforms"})
    assert result.outcome == "violates"
    assert "went away" in result.checks[0]["message"]


def test_an_entry_excuses_the_checks_it_names_alone() -> None:
    entries = [entry(Equals(value=3), checks=("parameters",))]
    known = {"check": "parameters", "outcome": "violates", "observed": 3}
    assert settled(entries, known).outcome == "diverges"
    assert settled(entries, known, violation()).outcome == "violates"


def test_a_build_that_raises_takes_every_check_along() -> None:
    known = entry(Raises(stage="build", type="ValueError", message="min_ndim=2"), checks=())
    others = [violation(raised=RAISED), {**violation(raised=RAISED), "check": "linear_in_x"}]
    assert settled([known], *others).outcome == "diverges"
    assert settled([known], *others, violation()).outcome == "violates"
    assert settled([known], {"check": "parameters", "outcome": "conforms"}).outcome == "violates"


def test_an_entry_excuses_the_cells_it_covers_alone() -> None:
    elsewhere = [entry(Equals(value=3), cases=("5-*",)), entry(Equals(value=3), implementations=("torch",))]
    assert settled(elsewhere, violation(observed=3)).outcome == "violates"


def test_an_observation_is_compared_as_the_results_file_holds_it() -> None:
    assert (
        settled([entry(Equals(value=[[None, 4], "nan"]))], violation(observed=((None, 4), float("nan")))).outcome
        == "diverges"
    )


@pytest.mark.parametrize(
    ("low", "high", "margin", "outcome"),
    [
        (1e5, 1e9, 1e5, "diverges"),
        (1e5, 1e9, 1e9, "diverges"),
        (1e5, 1e9, 9.9e4, "violates"),
        (1e5, 1e9, "inf", "violates"),
        (math.inf, math.inf, math.inf, "diverges"),
        (math.inf, math.inf, "inf", "diverges"),
        (1e5, 1e9, None, "violates"),
    ],
)
def test_an_error_is_known_by_its_order_of_magnitude(low: float, high: float, margin: Any, outcome: str) -> None:
    assert settled([entry(Margin(low=low, high=high))], violation(margin=margin)).outcome == outcome


def test_a_known_error_that_went_away_violates() -> None:
    conforms = {"check": "output", "outcome": "conforms", "margin": 0.5}
    assert settled([entry(Margin(low=2.0, high=3.0))], conforms).outcome == "violates"


def test_a_message_is_known_by_a_part() -> None:
    assert settled([entry(Message(part="of"))], violation()).outcome == "diverges"
    assert settled([entry(Message(part="on"))], violation()).outcome == "violates"


ABORT = {"step": "output", "reason": "SIGABRT", "stderr": ""}


def test_a_crash_is_known_by_how_it_ended() -> None:
    assert settled([], violation(), crash=ABORT).outcome == "crashed"
    assert settled([entry(Crash(reason="SIGABRT"), checks=())], violation(), crash=ABORT).outcome == "diverges"
    assert settled([entry(Crash(reason="SIGSEGV"), checks=())], violation(), crash=ABORT).outcome == "crashed"


def test_what_a_known_crash_left_without_evidence_diverges_with_it() -> None:
    result = settled([entry(Crash(reason="SIGABRT"), checks=())], violation(), crash=ABORT)
    assert [each["outcome"] for each in result.checks] == ["diverges"]
    assert result.divergence["why"] == "a fact"


def test_a_time_out_is_not_a_crash() -> None:
    late = {**ABORT, "reason": "no answer within 300 s of CPU time"}
    assert settled([], crash=late, timed_out=True).outcome == "timed_out"
    assert settled([entry(Crash(reason="no answer"), checks=())], crash=late, timed_out=True).outcome == "timed_out"


def test_a_crash_that_went_away_violates() -> None:
    result = settled([entry(Crash(reason="SIGABRT"), checks=())], {"check": "output", "outcome": "conforms"})
    assert result.outcome == "violates"
    assert "went away" in result.checks[-1]["message"]


def test_what_conforms_before_a_known_crash_stays_as_it_was() -> None:
    conforms = {"check": "parameters", "outcome": "conforms"}
    result = settled([entry(Crash(reason="SIGABRT"), checks=())], conforms, violation(), crash=ABORT)
    assert [each["outcome"] for each in result.checks] == ["conforms", "diverges"]


def test_an_entry_of_a_crash_says_nothing_of_checks() -> None:
    conforms = {"check": "parameters", "outcome": "conforms"}
    result = settled([entry(Crash(reason="SIGABRT"), checks=())], conforms, violation())
    assert result.checks[:2] == (conforms, violation())


def test_an_observation_is_known_of_the_check_it_is_named_for_alone() -> None:
    assert settled([entry(Equals(value=3), checks=("parameters",))], violation(observed=3)).outcome == "violates"


def test_a_divergence_outweighs_what_conforms() -> None:
    conforms = {"check": "parameters", "outcome": "conforms"}
    assert settled([entry(Equals(value=3))], violation(observed=3), conforms).outcome == "diverges"


def test_any_entry_of_several_may_be_the_one_that_knows() -> None:
    entries = [entry(Equals(value=2), line=5), entry(Equals(value=3), line=9)]
    (check,) = settled(entries, violation(observed=3)).checks
    assert check["divergence"]["where"] == "cases/divergences.yaml:9"


def test_an_entry_leaves_a_check_that_is_not_supported_alone() -> None:
    unsupported = {"check": "output", "outcome": "unsupported", "message": "why"}
    assert settled([entry(Equals(value=3))], unsupported).checks == (unsupported,)
