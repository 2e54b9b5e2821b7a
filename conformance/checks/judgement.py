"""The findings of all checks of a cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from conformance.adapters.registry import Implementation
from conformance.checks.catalogue import checks_of
from conformance.checks.cell import Cell
from conformance.checks.check import Subject
from conformance.checks.finding import UNSUPPORTED, Evidence, Expected, Finding
from conformance.checks.question import Question
from conformance.sandbox.steps import Transcript


def findings_of(cell: Cell, question: Question, transcript: Transcript, expected: Expected) -> Iterator[Finding]:
    """Yield the finding of each check of a cell. `expected` has what each step should answer."""
    evidence = Evidence(transcript=transcript, expected=expected, packages=cell.implementation.packages)
    subject = Subject(case=cell.case, device=cell.device, question=question, evidence=evidence)
    for check in checks_of(cell.case):
        yield _excused(check.judge(subject), cell.implementation)


def _excused(finding: Finding, implementation: Implementation) -> Finding:
    """Return a finding as unsupported if the model declined to answer and the registry allows that."""
    reason = implementation.unanswerable.get(finding.check)
    if finding.declined is None or reason is None:
        return finding
    return replace(finding, outcome=UNSUPPORTED, message=reason)
