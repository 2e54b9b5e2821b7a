"""
What the answers of one cell amount to, the ledger applied.

Each answer is judged under the rule. Where something fails, all of them are judged again under the behaviours that
cover steps of the cell: the cell diverges where everything then holds, and violates where something does not. A cell
that conforms though a behaviour leaves no room for it says that the behaviour is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from conformance.checks.cell import Cell
from conformance.checks.expectations import Declared, Expected
from conformance.checks.finding import VIOLATES, Evidence, Finding
from conformance.checks.judge import judge
from conformance.checks.outcome import Record, Verdict, of_crash, worst_outcome
from conformance.checks.question import Question
from conformance.checks.step import are_apart, satisfies
from conformance.ledger.behaviour import Behaviour
from conformance.ledger.expectation import Conflict, Expectation, width
from conformance.ledger.step import AskedStep, Surroundings, asked_steps
from conformance.sandbox.steps import NoValue, Output, Transcript


class Trial:
    """One cell's answers, judged under the rule and under any choice of behaviours."""

    def __init__(
        self, cell: Cell, asked: Question, transcript: Transcript, behaviours: Sequence[Behaviour], around: Surroundings
    ) -> None:
        self._cell, self._asked, self._transcript = cell, asked, transcript
        self._steps = {each.label: each for each in asked_steps(asked.steps)}
        self._around = around
        self._rule = Expected(cell.case, asked)
        case = cell.case.id
        self.covering = tuple(
            each for each in behaviours if any(each.covers(step, around, case) for step in self._steps.values())
        )

    # An answer may hold signalling NaN, of which every operation warns.
    @np.errstate(invalid="ignore")
    def verdict(self) -> Verdict:
        """Return what the answers amount to."""
        return replace(self._verdict(), covered=tuple(each.id for each in self.covering))

    def _verdict(self) -> Verdict:
        under_rule = self._judged(self._rule)
        if self._holds(under_rule, self._rule):
            worst = worst_outcome(each.outcome for each in under_rule)
            reasons = sorted({str(each.message) for each in under_rule}) if worst == "unsupported" else []
            records = tuple(each.record() for each in under_rule)
            return Verdict(outcome=worst, checks=records, reason="; ".join(reasons) or None, gone=self._gone())
        applied: tuple[Behaviour, ...] = self.covering
        gone: tuple[Behaviour, ...] = ()
        declared = self._declared(applied)
        found = self._judged(declared)
        if not self._holds(found, declared):
            fewer = self._without_one_that_is_gone()
            if fewer is not None:
                applied, gone = fewer
                declared = self._declared(applied)
                found = self._judged(declared)
        if self._holds(found, declared):
            return self._diverges(under_rule, applied, declared, gone)
        return self._violates(under_rule, found, declared)

    def _diverges(
        self, under_rule: Sequence[Finding], applied: Sequence[Behaviour], declared: Declared, gone: Sequence[Behaviour]
    ) -> Verdict:
        """Return the verdict where all holds as declared, naming for each check the behaviours it fails without."""
        named, needed = self._fewest(applied)
        records = tuple(
            {**each.record(), "outcome": "diverges", "divergence": _divergence(needed.get(each.check) or named)}
            if each.outcome == VIOLATES
            else each.record()
            for each in under_rule
        )
        crash = self._transcript.crash
        return Verdict(
            outcome="diverges",
            checks=records,
            reason=None if crash is None else f"{crash.label}: {crash.reason}",
            divergence=None if crash is None else _divergence(named),
            behaviours=tuple(each.id for each in named),
            gone=tuple(map(_divergence_of, gone)),
            widths=self._widths(declared),
        )

    def _fewest(self, behaviours: Sequence[Behaviour]) -> tuple[list[Behaviour], Mapping[str, list[Behaviour]]]:
        """
        Return those of some behaviours without which the cell fails, and for each check those without which it fails.

        Of two that explain the same, one is among them.
        """
        found = list(behaviours)
        needed: dict[str, list[Behaviour]] = {}
        for each in reversed(behaviours):
            fewer = [other for other in found if other is not each]
            if not fewer:
                break
            declared = self._declared(fewer)
            judged = self._judged(declared)
            if self._holds(judged, declared):
                found = fewer
                continue
            for finding in judged:
                if finding.outcome == VIOLATES:
                    needed.setdefault(finding.check, []).insert(0, each)
        return found, needed

    def _violates(self, under_rule: Sequence[Finding], found: Sequence[Finding], declared: Declared) -> Verdict:
        """Return the verdict where something is neither as the rule says nor as declared."""
        records: list[Record] = []
        for rule, other in zip(under_rule, found, strict=True):
            if rule.outcome == VIOLATES != other.outcome:
                records.append({**rule.record(), "outcome": "diverges", "divergence": _divergence(self.covering)})
            elif other.outcome == VIOLATES:
                records.append(self._told(rule if rule.outcome == VIOLATES else other, other, declared.conflict))
            else:
                records.append(rule.record())
        if self._transcript.crash is None or self._evidence(declared).crashed_as_declared:
            return Verdict(outcome=VIOLATES, checks=tuple(records))
        return of_crash(self._transcript, tuple(records))

    def _told(self, finding: Finding, other: Finding, conflict: Conflict | None) -> Record:
        """
        Return the record of a violation, with the behaviours that cover the cell and do not explain it.

        `under` says what fails where they are applied, if that is something else, or why they cannot be.
        """
        if not self.covering:
            return finding.record()
        near = [{"id": each.id, "where": each.where} for each in self.covering]
        under = {"under": other.message} if other is not finding and other.message != finding.message else {}
        under |= {"under": f"the ledger contradicts itself: {conflict}"} if conflict is not None else {}
        return {**finding.record(), "near": near, **under}

    def _without_one_that_is_gone(self) -> tuple[tuple[Behaviour, ...], tuple[Behaviour, ...]] | None:
        """Return the behaviours less one, and that one, where all holds without it."""
        for each in self.covering if len(self.covering) > 1 else ():
            fewer = tuple(other for other in self.covering if other is not each)
            declared = self._declared(fewer)
            if self._holds(self._judged(declared), declared):
                return fewer, (each,)
        return None

    def _gone(self) -> tuple[Record, ...]:
        """Return the behaviours that leave no room for a step that is as the rule says."""
        found = []
        for each in self.covering:
            if each.instead.widens_only or each.sometimes is not None:
                continue
            declared = Declared(self._cell.case, self._asked, self._steps, self._around, [each])
            if any(self._is_decisive(step, declared) for step in self._steps.values() if declared.covering(step.label)):
                found.append(_divergence_of(each))
        return tuple(found)

    def _is_decisive(self, step: AskedStep, declared: Declared) -> bool:
        if declared.of(step.label).accepts is not None:
            return True  # the cell conforms, so that it was refused
        reply = self._transcript.replies.get(step.label)
        if reply is None or isinstance(reply.answer, NoValue):
            return False
        if step.call == "infer" and self._cell.case.expect.error:
            return False  # the rule gives what must be refused no shape
        return are_apart(step, self._rule.of(step.label), declared.of(step.label))

    def _declared(self, behaviours: Sequence[Behaviour]) -> Declared:
        return Declared(self._cell.case, self._asked, self._steps, self._around, behaviours, self._is_as_expected)

    def _is_as_expected(self, label: str, expectation: Expectation) -> bool:
        crash = self._transcript.crash
        if crash is not None and crash.label == label:
            return any(signal in crash.reason for signal in expectation.crashes)
        reply = self._transcript.replies.get(label)
        output = None
        if reply is not None and isinstance(reply.answer, Output):
            declared = expectation.reference if expectation.behaviours else None
            if declared is not None:
                output = declared.y
            elif self._asked.main is not None:
                output = self._rule.output(label)
        packages = self._cell.implementation.packages
        return satisfies(self._cell.case, self._steps[label], reply, expectation, output, packages)

    def _judged(self, expected: Expected) -> list[Finding]:
        return list(judge(self._cell, self._asked, self._transcript, expected))

    def _evidence(self, expected: Expected) -> Evidence:
        return Evidence(transcript=self._transcript, expected=expected, packages=self._cell.implementation.packages)

    def _holds(self, findings: Sequence[Finding], expected: Expected) -> bool:
        ended = self._transcript.crash is not None and not self._evidence(expected).crashed_as_declared
        return not ended and all(each.outcome != VIOLATES for each in findings)

    def _widths(self, declared: Declared) -> Mapping[str, float]:
        found = {}
        for label, step in self._steps.items():
            expectation = declared.of(label)
            reference = expectation.reference
            if reference is not None and expectation.behaviours and reference is not self._rule.of(label).reference:
                found[label] = width(reference, step.call)
        return found


def _divergence(behaviours: Sequence[Behaviour]) -> Record:
    """Return what a record says of the behaviours that explain it: the first whole, all by name."""
    names = [each.id for each in behaviours]
    return {**_divergence_of(behaviours[0]), **({"behaviours": names} if len(names) > 1 else {})}


def _divergence_of(behaviour: Behaviour) -> Record:
    content = {
        "id": behaviour.id,
        "where": behaviour.where,
        "kind": behaviour.kind,
        "why": behaviour.why,
        "link": behaviour.link,
        "evidence": behaviour.evidence,
        "seen_with": dict(behaviour.seen_with),
    }
    return {name: value for name, value in content.items() if value}
