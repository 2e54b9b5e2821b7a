"""A check: when it applies, the steps that it adds to a question, and how it judges the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from conformance.checks.finding import Evidence, Finding
from conformance.checks.question import Probe, Question, Setup
from conformance.table.case import Case


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a check judges: a cell's answers to one question, and what they should be."""

    case: Case
    device: str
    question: Question
    evidence: Evidence


class Check(ABC):
    """One check of `conformance.checks.catalogue`."""

    #: The name in rows and results.
    name: ClassVar[str]
    #: What must be right, for `cases/README.md`.
    description: ClassVar[str]

    def applies(self, case: Case) -> bool:
        """Return whether the check can judge a case. It depends on the content of the case only."""
        return not case.expect.error and case.lane != "shapes"

    def steps(self, setup: Setup) -> Iterable[Probe]:
        """Return the steps that the check adds to those of every case (`conformance.checks.composition`)."""
        return ()

    @abstractmethod
    def judge(self, subject: Subject) -> Finding:
        """Return the finding. Every answer that arrived is judged; a missing one is a violation."""
