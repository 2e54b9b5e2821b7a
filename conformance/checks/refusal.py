"""The check that the framework refuses what the rule forbids, and the question it asks."""

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
    What the rule forbids is refused at build, inference or call.

    It counts as refused only when raised inside one of the framework's packages, below the adapter, and when a legal
    sibling of the row is accepted by the same code: a fault of the adapter is not a refusal. Where it is declared that
    the framework accepts it, the answer is compared with what is declared.
    """

    name = "refusal"

    def applies(self, case: Case) -> bool:
        """Return whether the row expects an error."""
        return case.expect.error

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
                return Finding(check=self.name, outcome=VIOLATES, message=message, where=label)
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


def refusal(case: Case, device: str) -> Question:
    """Return the question of a case that must be refused: the case, and a legal sibling that must not be."""
    legal = _legal_sibling(case)
    sibling = draws(replace(legal, lane="uniform"))[0]
    fed = Stream(case.digest, "refused").uniform(case.fed_shape).astype(FORMATS[case.dtype].dtype)
    stack = stack_of(case, None)
    if None not in case.input_shape:
        # A wrong input to a legal layer: built with weights, as the layer's users would. Others have no weights.
        with contextlib.suppress(NoDraw):
            stack = stack_of(case, draws(replace(case, feed_shape=None, lane="uniform"))[0])
    steps = (
        Build(label="sibling build", model="sibling", stack=stack_of(legal, sibling), device=device),
        Forward(label="sibling output", model="sibling", x=sibling.x),
        Build(label="build", stack=stack, device=device),
        *([InferShapes(label="infer", batch=None)] if stack.leading_axes == 1 else []),
        Forward(label="output", x=fed),
    )
    return Question(probes=tuple(Probe(step=each) for each in steps))


def _legal_sibling(case: Case) -> Case:
    """Return a case near by that every framework takes: illegal units become 3, an absent last axis 4, no batch 2."""
    layers = tuple(layer if _is_count(layer.units) else replace(layer, units=3) for layer in case.layers)
    shape = tuple(4 if axis is None or axis <= 0 else axis for axis in case.input_shape) or (4,)
    batch = 2 if case.batch is None else case.batch
    return replace(case, input_shape=shape, layers=layers, feed_shape=None, batch=batch)


def _is_count(units: Units) -> bool:
    return isinstance(units, int) and not isinstance(units, bool) and units > 0
