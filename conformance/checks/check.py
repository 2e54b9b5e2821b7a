"""What a check is: when it applies, the steps it asks for, and how it judges their answers."""

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
    """What a check judges: one cell's answers to one question, with what each should be."""

    case: Case
    device: str
    question: Question
    evidence: Evidence


class Check(ABC):
    """One check of `conformance.checks.catalogue`."""

    #: The name in rows and results, one of `conformance.table.case.CHECKS`.
    name: ClassVar[str]

    def applies(self, case: Case) -> bool:
        """Return whether the check says something about a case, by the content of the case alone."""
        return not case.expect.error and case.lane != "shapes"

    def steps(self, setup: Setup) -> Iterable[Probe]:
        """Return the steps that this check needs beside those that every case asks (`checks.composition`)."""
        return ()

    @abstractmethod
    def judge(self, subject: Subject) -> Finding:
        """Return what the check found: every answer that arrived is judged, and a missing one is a violation."""
