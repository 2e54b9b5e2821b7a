"""What a check judges: a case and its question, with the answers that came and what each should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from conformance.checks.finding import Evidence, Finding
from conformance.checks.question import Question
from conformance.table.case import Case


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One cell's answers to one question."""

    case: Case
    device: str
    question: Question
    evidence: Evidence


class Check(Protocol):
    """One check: its name in rows and results, and how it judges."""

    @property
    def name(self) -> str:
        """The check's name in rows and results."""
        ...

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found; every answer that arrived is judged, and one that is missing is a violation."""
        ...
