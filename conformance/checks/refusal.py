"""The check that the framework refuses what the rule forbids."""

from __future__ import annotations

from typing import Final

from conformance.checks.comparison import compare, worst_of
from conformance.checks.finding import VIOLATES, Finding, first_line, raised_inside, raised_record
from conformance.checks.subject import Subject
from conformance.ledger.expectation import Expectation
from conformance.sandbox.steps import Malformed, NoValue, Output, Raised, Unreached

REFUSAL_STEPS: Final = ("build", "infer", "output")
SIBLING_STEPS: Final = ("sibling build", "sibling output")


class Refused:
    """
    What the rule forbids is refused at build, inference or call.

    It counts as refused only when raised inside one of the framework's packages, below the adapter, and when a legal
    sibling of the row is accepted by the same code: a fault of the adapter is not a refusal. Where it is declared that
    the framework accepts it, the answer is compared with what is declared.
    """

    name = "refusal"

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        evidence = subject.evidence
        replies = evidence.transcript.replies
        for label in SIBLING_STEPS:
            reply = replies.get(label)
            if reply is None or isinstance(reply.answer, NoValue):
                answer = Unreached(because=label) if reply is None else reply.answer
                told = answer.message if isinstance(answer, Raised | Malformed) else type(answer).__name__
                message = f"the legal sibling of the row is not accepted either: {label}: {first_line(told)}"
                return Finding(check=self.name, outcome=VIOLATES, message=message)
        wanted = evidence.expected.of("output")
        for label in REFUSAL_STEPS:
            reply = replies.get(label)
            if reply is None or not isinstance(reply.answer, Raised):
                continue
            raised = raised_record(reply, reply.answer)
            said = f"{label} raised {reply.answer.type}: {first_line(reply.answer.message)}"
            if not raised_inside(reply.answer.modules, evidence.packages):
                message = f"outside the framework {said}"
                return Finding(check=self.name, outcome=VIOLATES, message=message, raised=raised)
            if wanted.accepts is not None:
                message = f"refused, where {', '.join(wanted.behaviours)} declares that it is accepted: {said}"
                return Finding(check=self.name, outcome=VIOLATES, message=message, raised=raised)
            return Finding(check=self.name, expected="refused", observed="refused", raised=raised)
        findings: list[Finding] = []
        for _, accepted in evidence.answers(self.name, ["output"], Output, findings):
            if wanted.accepts is not None and wanted.reference is not None:
                findings.append(self._as_declared(accepted, wanted))
            else:
                findings.append(self._not_refused(accepted))
        return worst_of(self.name, findings)

    def _not_refused(self, accepted: Output) -> Finding:
        shape = accepted.y.shape
        message = f"accepted: an output of shape {shape}"
        return Finding(
            check=self.name, outcome=VIOLATES, message=message, expected="refused", observed={"shape": shape}
        )

    def _as_declared(self, accepted: Output, wanted: Expectation) -> Finding:
        """Return what comes of comparing the answer with that of a framework that accepts in the way declared."""
        assert wanted.reference is not None, "asked of an expectation that has one"
        if str(accepted.y.dtype) != wanted.dtypes["output"]:
            message = f"accepted: an output of dtype {accepted.y.dtype}, expected {wanted.dtypes['output']}"
            return Finding(check=self.name, outcome=VIOLATES, message=message)
        return compare(self.name, "output", accepted.y, wanted.reference.y, wanted.reference.line)
