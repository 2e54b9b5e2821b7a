"""What the answers of one cell come to under each check of its case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from conformance.adapters.registry import Implementation
from conformance.checks.catalogue import reported_checks
from conformance.checks.cell import Cell
from conformance.checks.check import Subject
from conformance.checks.finding import UNSUPPORTED, Evidence, Expected, Finding
from conformance.checks.question import Question
from conformance.sandbox.steps import Transcript


def judge(cell: Cell, asked: Question, transcript: Transcript, expected: Expected) -> Iterator[Finding]:
    """Yield the finding of every check the cell's case is asked; `expected` says what each step should answer."""
    evidence = Evidence(transcript=transcript, expected=expected, packages=cell.implementation.packages)
    subject = Subject(case=cell.case, device=cell.device, question=asked, evidence=evidence)
    for check in reported_checks(cell.case):
        yield _excused(check.judge(subject), cell.implementation)


def _excused(finding: Finding, implementation: Implementation) -> Finding:
    """Return a finding whose evidence the model declined to give as unsupported, where the registry allows that."""
    reason = implementation.unanswerable.get(finding.check)
    if finding.declined is None or reason is None:
        return finding
    return replace(finding, outcome=UNSUPPORTED, message=reason)
