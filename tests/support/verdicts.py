"""What tests of checks and verdicts have in common: questions own to NumPy adapters, answers, declared behaviours."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.adapters.protocol import Adapter, Array
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.checks.check import Subject
from conformance.checks.expectations import Expected
from conformance.checks.finding import Evidence, Finding
from conformance.checks.judgement import findings_of
from conformance.checks.outcome import Verdict
from conformance.checks.question import GradientProbe, OutputProbe, Probe, Question
from conformance.checks.references import question
from conformance.checks.verdict import Trial
from conformance.ledger.behaviour import Behaviour, Documentation, Instead
from conformance.ledger.predicate import Predicate
from conformance.ledger.step import Surroundings
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Answer, Forward, Output, Reply, Transcript
from conformance.table.case import Case, Layer
from tests.support.deviations import FIELDS, deviation

IMPLEMENTATION = Implementation(
    name="tests.support.faulty_adapters:x", adapter="tests.support.faulty_adapters:x", packages=("tests",)
)
ONE_LAYER = Case(input_shape=(1,), layers=(Layer(units=1),))


def replied(answers: Mapping[str, Answer]) -> dict[str, Reply]:
    return {label: Reply(label=label, answer=each, seconds=0.0) for label, each in answers.items()}


def answers_of(adapter: Adapter, own: Question) -> dict[str, Answer]:
    """Return what an adapter answers in this process, by the label of the step."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # As on their way from a process, later steps cannot change answers.
        return {each.label: copy.deepcopy(each.answer) for each in perform(adapter, own.steps)}


def question_of(case: Case) -> Question:
    return question(case, "cpu")


def cell_of(case: Case, implementation: Implementation = IMPLEMENTATION) -> Cell:
    return Cell(case=case, implementation=implementation, device="cpu")


def findings(
    case: Case, answers: Mapping[str, Answer], implementation: Implementation = IMPLEMENTATION
) -> list[Finding]:
    """Return what every check finds under the rule."""
    own = question_of(case)
    return [*findings_of(cell_of(case, implementation), own, Transcript(replies=replied(answers)), Expected(case, own))]


def red(case: Case, answers: Mapping[str, Answer]) -> set[str]:
    """Return the checks that do not conform under the rule."""
    return {each.check for each in findings(case, answers) if each.outcome != "conforms"}


def output(y: Any, strides: tuple[int, ...] | None = None) -> Output:
    return Output(y=np.asarray(y, np.float32), placement="cpu", strides=strides)


def around(exact: Any, allowed: float = 0.0) -> Enclosure:
    centre = np.asarray(exact, np.float64)
    return Enclosure(exact=centre, allowed=np.full_like(centre, allowed))


def reference_of(exact: Any, allowed: float = 0.0) -> Reference:
    y = around(exact, allowed)
    return Reference(y=y, dx=y, layers=(), line="proven")


def step(label: str) -> Forward:
    return Forward(label=label, x=np.zeros(1))


def outputs_of(references: Mapping[str, Reference], **fields: Any) -> list[Probe]:
    """Return steps whose outputs are compared with references, by their labels."""
    return [OutputProbe(step=step(label), reference=each, **fields) for label, each in references.items()]


def gradients_of(references: Mapping[str, Reference], **fields: Any) -> list[Probe]:
    """Return steps whose gradients are compared with references, by their labels."""
    return [GradientProbe(step=step(label), reference=each, **fields) for label, each in references.items()]


def subject(
    answers: Mapping[str, Answer],
    probes: Sequence[Probe] = (),
    *,
    case: Case = ONE_LAYER,
    packages: Sequence[str] = ("keras",),
    row_output: Array | None = None,
) -> Subject:
    """Return answers to a question of given steps, beside what the rule says of each."""
    own = Question(probes=tuple(probes), row_output=row_output)
    evidence = Evidence(
        transcript=Transcript(replies=replied(answers)), expected=Expected(case, own), packages=packages
    )
    return Subject(case=case, device="cpu", question=own, evidence=evidence)


def behaviour(
    name: str = "declared", when: Predicate | None = None, *, sometimes: str | None = None, **instead: Any
) -> Behaviour:
    """Return a behaviour of `IMPLEMENTATION`; a deviation's fields are given beside those of `Instead`."""
    changed = {each: instead.pop(each) for each in [*instead] if each in FIELDS}
    return Behaviour(
        id=name,
        implementations=("tests.*",),
        when=Predicate() if when is None else when,
        instead=Instead(deviation=deviation(**changed), **instead),
        documentation=Documentation(kind="bug", why="why", evidence="evidence"),
        sometimes=sometimes,
        file="x.yaml",
        line=1,
    )


def verdict_of(case: Case, transcript: Transcript, *behaviours: Behaviour) -> Verdict:
    """Return what a transcript of a case's question amounts to under behaviours."""
    around_it = Surroundings(device="cpu", versions={})
    return Trial(cell_of(case), question_of(case), transcript, behaviours, around_it).verdict()


def tried(adapter: Adapter, case: Case, *behaviours: Behaviour) -> Verdict:
    """Return what an adapter's answers amount to under behaviours."""
    return verdict_of(case, Transcript(replies=replied(answers_of(adapter, question_of(case)))), *behaviours)
