"""The check that the framework refuses what the rule forbids, and its question."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Final

from conformance.adapters.protocol import Units
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import compare, worst_of
from conformance.checks.finding import VIOLATES, Finding, first_line, raised_inside, raised_record
from conformance.checks.question import Probe, Question, stack_of
from conformance.ledger.expectation import Expectation
from conformance.reference.formats import FORMATS
from conformance.reference.lanes.draws import NoDraw, draws
from conformance.sandbox.steps import Build, Forward, InferShapes, Malformed, NoValue, Output, Raised, Unreached
from conformance.stream import Stream
from conformance.table.case import Case

REFUSAL_STEPS: Final = ("build", "infer", "output")
SIBLING_STEPS: Final = ("sibling build", "sibling output")


class Refused(Check):
    """
    Checks that the framework refuses what the rule forbids, at build, inference or call.

    An exception is a refusal only if a package of the framework raises it, below the adapter, and if the same code
    accepts a legal sibling of the row: a fault of the adapter is no refusal. If the ledger declares that the framework
    accepts it, the answer is compared with the declared one.
    """

    name = "refusal"
    description = "only in rows that expect an error: the framework raises, and accepts a similar row that is legal"

    def applies(self, case: Case) -> bool:
        """Return whether the row expects an error."""
        return case.expect.error

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        evidence = subject.evidence
        replies = evidence.transcript.replies
        for label in SIBLING_STEPS:
            reply = replies.get(label)
            if reply is None or isinstance(reply.answer, NoValue):
                answer = Unreached(because=label) if reply is None else reply.answer
                detail = answer.message if isinstance(answer, Raised | Malformed) else type(answer).__name__
                message = f"the legal sibling of the row is not accepted either: {label}: {first_line(detail)}"
                return Finding(check=self.name, outcome=VIOLATES, message=message, where=label, step=label)
        expectation = evidence.expected.of("output")
        for label in REFUSAL_STEPS:
            reply = replies.get(label)
            if reply is None or not isinstance(reply.answer, Raised):
                continue
            raised = raised_record(reply, reply.answer)
            exception = f"{label} raised {reply.answer.type}: {first_line(reply.answer.message)}"
            if not raised_inside(reply.answer.modules, evidence.packages):
                message = f"outside the framework {exception}"
                return Finding(check=self.name, outcome=VIOLATES, message=message, raised=raised)
            if expectation.accepts is not None:
                names = ", ".join(expectation.behaviours)
                message = f"refused, where {names} declares that it is accepted: {exception}"
                return Finding(check=self.name, outcome=VIOLATES, message=message, raised=raised)
            return Finding(check=self.name, expected="refused", observed="refused", raised=raised)
        findings: list[Finding] = []
        for _, accepted in evidence.answers(self.name, ["output"], Output, findings):
            if expectation.accepts is not None and expectation.reference is not None:
                findings.append(self._as_declared(accepted, expectation))
            else:
                findings.append(self._not_refused(accepted))
        return worst_of(self.name, findings)

    def _not_refused(self, accepted: Output) -> Finding:
        shape = accepted.y.shape
        message = f"accepted: an output of shape {shape}"
        return Finding(
            check=self.name, outcome=VIOLATES, message=message, expected="refused", observed={"shape": shape}
        )

    def _as_declared(self, accepted: Output, expectation: Expectation) -> Finding:
        """Return the finding of comparing the answer with the declared one."""
        assert expectation.reference is not None, "the caller checks it"
        if str(accepted.y.dtype) != expectation.dtypes["output"]:
            message = f"accepted: an output of dtype {accepted.y.dtype}, expected {expectation.dtypes['output']}"
            return Finding(check=self.name, outcome=VIOLATES, message=message, step="output")
        reference = expectation.reference
        return compare(self.name, "output", accepted.y, reference.y, reference.line).at("output")


def refusal(case: Case, device: str) -> Question:
    """Return the question of a case that must be refused: the case, and a legal sibling that must be accepted."""
    legal = _legal_sibling(case)
    sibling = draws(replace(legal, lane="uniform"))[0]
    x = Stream(case.digest, "refused").uniform(case.call_shape).astype(FORMATS[case.dtype].dtype)
    stack = stack_of(case, None)
    if None not in case.input_shape:
        # If only the input is wrong, the layer is built with weights. A layer that is illegal has none.
        with contextlib.suppress(NoDraw):
            stack = stack_of(case, draws(replace(case, feed_shape=None, lane="uniform"))[0])
    steps = (
        Build(label="sibling build", model="sibling", stack=stack_of(legal, sibling), device=device),
        Forward(label="sibling output", model="sibling", x=sibling.x),
        Build(label="build", stack=stack, device=device),
        *([InferShapes(label="infer", batch=None)] if stack.leading_axes == 1 else []),
        Forward(label="output", x=x),
    )
    return Question(probes=tuple(Probe(step=each) for each in steps))


def _legal_sibling(case: Case) -> Case:
    """Return a similar case that is legal: illegal units become 3, an absent last axis 4, an absent batch 2."""
    layers = tuple(layer if _is_count(layer.units) else replace(layer, units=3) for layer in case.layers)
    shape = tuple(4 if axis is None or axis <= 0 else axis for axis in case.input_shape) or (4,)
    batch = 2 if case.batch is None else case.batch
    return replace(case, input_shape=shape, layers=layers, feed_shape=None, batch=batch)


def _is_count(units: Units) -> bool:
    return isinstance(units, int) and not isinstance(units, bool) and units > 0
