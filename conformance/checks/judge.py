"""Every check there is, and what the answers of one cell come to under each that its case is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell, checks_asked
from conformance.checks.finding import UNSUPPORTED, Evidence, Expected, Finding
from conformance.checks.positions import PositionsIndependent
from conformance.checks.question import Question
from conformance.checks.refusal import Refused
from conformance.checks.relations import LinearInX, MemoryLayouts, Rearranged
from conformance.checks.shapes import OutputDtype, OutputShape, ParameterCounts, Placement
from conformance.checks.subject import Check, Subject
from conformance.checks.values import GradientValues, OutputValues, Repeatable
from conformance.checks.weights import WeightsLive, WeightsReadBack
from conformance.sandbox.steps import Transcript

_ALL: Final[tuple[Check, ...]] = (
    OutputShape(),
    ParameterCounts(),
    OutputDtype(),
    Placement(),
    OutputValues(),
    GradientValues(),
    Repeatable(),
    WeightsLive(),
    PositionsIndependent(),
    Rearranged("positions_permuted"),
    Rearranged("axes_merged"),
    WeightsReadBack(),
    LinearInX(),
    MemoryLayouts(),
    Refused(),
)
CHECKS: Final[Mapping[str, Check]] = {each.name: each for each in _ALL}


def judge(cell: Cell, asked: Question, transcript: Transcript, expected: Expected) -> Iterator[Finding]:
    """Yield the finding of every check the cell's case is asked; `expected` says what each step should answer."""
    evidence = Evidence(transcript=transcript, expected=expected, packages=cell.implementation.packages)
    subject = Subject(case=cell.case, device=cell.device, question=asked, evidence=evidence)
    for name in checks_asked(cell.case):
        yield _excused(CHECKS[name].judge(subject), cell.implementation)


def _excused(finding: Finding, implementation: Implementation) -> Finding:
    """Return a finding whose evidence the model declined to give as unsupported, where the registry allows that."""
    reason = implementation.unanswerable.get(finding.check)
    if finding.declined is None or reason is None:
        return finding
    return replace(finding, outcome=UNSUPPORTED, message=reason)
