"""
The verdict on a cell, under the rule and the ledger.

All answers are judged under the rule. If a check fails, they are judged again under the behaviours that cover steps of
the cell. The cell diverges if all checks then conform, and violates otherwise. If a cell conforms although one of its
steps is decisive for a behaviour, the behaviour is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from conformance.checks.cell import Cell
from conformance.checks.expectations import Declared, Expected
from conformance.checks.finding import VIOLATES, Evidence, Finding
from conformance.checks.judgement import findings_of
from conformance.checks.outcome import Record, Verdict, crash_verdict, worst_outcome
from conformance.checks.question import Question
from conformance.checks.step import are_disjoint, satisfies
from conformance.ledger.behaviour import Behaviour
from conformance.ledger.expectation import Conflict, Expectation, width
from conformance.ledger.step import ModelStep, Surroundings, model_steps
from conformance.sandbox.steps import NoValue, Output, Transcript


class Trial:
    """The answers of one cell, which can be judged under the rule and under any set of behaviours."""

    def __init__(
        self,
        cell: Cell,
        question: Question,
        transcript: Transcript,
        behaviours: Sequence[Behaviour],
        surroundings: Surroundings,
    ) -> None:
        self._cell, self._question, self._transcript = cell, question, transcript
        self._steps = {each.label: each for each in model_steps(question.steps)}
        self._surroundings = surroundings
        self._rule = Expected(cell.case, question)
        case, steps = cell.case.id, self._steps.values()
        self.covering = tuple(
            each for each in behaviours if any(each.covered_layers(step, surroundings, case) for step in steps)
        )

    # An answer may hold signalling NaN, of which every operation warns.
    @np.errstate(invalid="ignore")
    def verdict(self) -> Verdict:
        """Return the verdict."""
        return replace(self._verdict(), covered=tuple(each.id for each in self.covering))

    def _verdict(self) -> Verdict:
        under_rule = self._judged(self._rule)
        if self._conforms(under_rule, self._rule):
            worst = worst_outcome(each.outcome for each in under_rule)
            reasons = sorted({str(each.message) for each in under_rule}) if worst == "unsupported" else []
            records = tuple(each.record() for each in under_rule)
            return Verdict(outcome=worst, checks=records, reason="; ".join(reasons) or None, gone=self._gone())
        applied: tuple[Behaviour, ...] = self.covering
        gone: tuple[Behaviour, ...] = ()
        declared = self._declared(applied)
        found = self._judged(declared)
        if not self._conforms(found, declared):
            fewer = self._explanation_without_one()
            if fewer is not None:
                applied, gone = fewer
                declared = self._declared(applied)
                found = self._judged(declared)
        if self._conforms(found, declared):
            return self._diverges(under_rule, applied, declared, gone)
        return self._violates(under_rule, found, declared)

    def _diverges(
        self, under_rule: Sequence[Finding], applied: Sequence[Behaviour], declared: Declared, gone: Sequence[Behaviour]
    ) -> Verdict:
        """Return the verdict if all checks conform under behaviours. Each check names those without which it fails."""
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
        Return the behaviours without which the cell fails, and for each check those without which it fails.

        If two behaviours explain the same, one of them is returned.
        """
        found = list(behaviours)
        needed: dict[str, list[Behaviour]] = {}
        for each in reversed(behaviours):
            fewer = [other for other in found if other is not each]
            if not fewer:
                break
            declared = self._declared(fewer)
            judged = self._judged(declared)
            if self._conforms(judged, declared):
                found = fewer
                continue
            for finding in judged:
                if finding.outcome == VIOLATES:
                    needed.setdefault(finding.check, []).insert(0, each)
        return found, needed

    def _violates(self, under_rule: Sequence[Finding], found: Sequence[Finding], declared: Declared) -> Verdict:
        """Return the verdict if a check fails both under the rule and under the behaviours."""
        records: list[Record] = []
        for rule, other in zip(under_rule, found, strict=True):
            if rule.outcome == VIOLATES != other.outcome:
                records.append({**rule.record(), "outcome": "diverges", "divergence": _divergence(self.covering)})
            elif other.outcome == VIOLATES:
                records.append(
                    self._violation_record(rule if rule.outcome == VIOLATES else other, other, declared.conflict)
                )
            else:
                records.append(rule.record())
        if self._transcript.crash is None or self._evidence(declared).crashed_as_declared:
            return Verdict(outcome=VIOLATES, checks=tuple(records))
        return crash_verdict(self._transcript, tuple(records))

    def _violation_record(self, finding: Finding, other: Finding, conflict: Conflict | None) -> Record:
        """
        Return the record of a violation, with the behaviours that cover the cell and do not explain it.

        `under` has the message under these behaviours if it is another, or why they cannot be applied.
        """
        if not self.covering:
            return finding.record()
        near = [{"id": each.id, "where": each.where} for each in self.covering]
        under = {"under": other.message} if other is not finding and other.message != finding.message else {}
        under |= {"under": f"the ledger contradicts itself: {conflict}"} if conflict is not None else {}
        return {**finding.record(), "near": near, **under}

    def _explanation_without_one(self) -> tuple[tuple[Behaviour, ...], tuple[Behaviour, ...]] | None:
        """Return the behaviours without the one that is gone, and that one. None if no such behaviour exists."""
        for each in self.covering if len(self.covering) > 1 else ():
            fewer = tuple(other for other in self.covering if other is not each)
            declared = self._declared(fewer)
            if self._conforms(self._judged(declared), declared):
                return fewer, (each,)
        return None

    def _gone(self) -> tuple[Record, ...]:
        """Return the behaviours for which a step is decisive, although all steps satisfy the rule."""
        found = []
        for each in self.covering:
            if each.instead.widens_only or each.sometimes is not None:
                continue
            declared = Declared(self._cell.case, self._question, self._steps, self._surroundings, [each])
            if any(self._is_decisive(step, declared) for step in self._steps.values() if declared.covering(step.label)):
                found.append(_divergence_of(each))
        return tuple(found)

    def _is_decisive(self, step: ModelStep, declared: Declared) -> bool:
        if declared.of(step.label).accepts is not None:
            return True  # the cell conforms, so the framework refused
        reply = self._transcript.replies.get(step.label)
        if reply is None or isinstance(reply.answer, NoValue):
            return False
        if step.call == "infer" and self._cell.case.expect.error:
            return False  # the rule has no shapes for what must be refused
        return are_disjoint(step, self._rule.of(step.label), declared.of(step.label))

    def _declared(self, behaviours: Sequence[Behaviour]) -> Declared:
        return Declared(
            self._cell.case, self._question, self._steps, self._surroundings, behaviours, self._is_as_expected
        )

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
            elif self._question.main is not None:
                output = self._rule.output(label)
        packages = self._cell.implementation.packages
        return satisfies(self._cell.case, self._steps[label], reply, expectation, output, packages)

    def _judged(self, expected: Expected) -> list[Finding]:
        return list(findings_of(self._cell, self._question, self._transcript, expected))

    def _evidence(self, expected: Expected) -> Evidence:
        return Evidence(transcript=self._transcript, expected=expected, packages=self._cell.implementation.packages)

    def _conforms(self, findings: Sequence[Finding], expected: Expected) -> bool:
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
    """Return the record of the behaviours that explain a cell: the first one in full, all by id."""
    names = [each.id for each in behaviours]
    return {**_divergence_of(behaviours[0]), **({"behaviours": names} if len(names) > 1 else {})}


def _divergence_of(behaviour: Behaviour) -> Record:
    documentation = behaviour.documentation
    content = {
        "id": behaviour.id,
        "where": behaviour.where,
        "kind": documentation.kind,
        "why": documentation.why,
        "link": documentation.link,
        "evidence": documentation.evidence,
        "seen_with": dict(documentation.seen_with),
    }
    return {name: value for name, value in content.items() if value}
