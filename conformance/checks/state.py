"""The check that a model does not depend on the other models of its process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import worst_of
from conformance.checks.finding import Finding
from conformance.checks.gradients import compared_gradients
from conformance.checks.outputs import compared_outputs
from conformance.checks.question import MAIN, Probe, ReferencedProbe, Setup, stack_of
from conformance.reference import Reference, answer
from conformance.reference.lanes.draws import Draw, draws
from conformance.sandbox.steps import Build, Differentiate, Forward, Output
from conformance.stream import Stream
from conformance.table.case import DTYPES, Case

#: How many other dtypes have a model of their own.
_OTHER_DTYPES: Final = 2
#: What the last axis of the input, the units and the batch of the larger model are multiplied by.
_LARGER: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class OtherModelProbe(ReferencedProbe):
    """A step of another model in the same process."""

    #: What the other model computes.
    case: Case
    #: Returns the exact answer to the step.
    exact_answer: Callable[[], Reference]

    def with_reference(self, answer_to: Callable[[Draw], Reference], main: Reference) -> Self:
        """Return the probe with the exact answer of the other model."""
        return replace(self, reference=self.exact_answer())


class MainAgainProbe(ReferencedProbe):
    """A step of the main model after another model computed."""


class StateIndependent(Check):
    """
    Compares the answers of several models that take turns in one process with their references.

    The others have the input shape of the main model and another dtype, activation or bias, or are larger. A plan or a
    buffer that is found again by the shape alone is wrong for one of them. Only rows that name the check have it.
    """

    name = "state_independent"
    description = (
        "only in rows that name it: models of another dtype, bias, activation or size take turns with the layer in one "
        "process, and each answers as if it were alone"
    )

    def applies(self, case: Case) -> bool:
        """Return whether the row names the check, and its lane has numbers for other models."""
        return super().applies(case) and self.name in (case.checks or ()) and case.lane in ("exact", "uniform")

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps of each other model, in an order drawn for the case, and of the main one after each."""
        first, main = setup.first, setup.case
        others = list(_other_models(main))
        turns = Stream(main.digest, "turns").integers(0, 2**31, (len(others),))
        for index in sorted(range(len(others)), key=lambda each: int(turns[each])):
            name, case = others[index]
            yield from _model_steps(name, case, setup.device)
            output = Forward(label=f"output, after {name}", x=first.x, layout=main.layout)
            yield MainAgainProbe(step=output, draw=first)
        gradients = Differentiate(label="gradients, after all", x=first.x, dy=first.dy, layout=main.layout)
        yield MainAgainProbe(step=gradients, draw=first)

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        question, evidence = subject.question, subject.evidence
        outputs: dict[str, Array] = {}
        findings: list[Finding] = []
        for probe in (*question.of(OtherModelProbe), *question.of(MainAgainProbe)):
            if isinstance(probe.step, Forward):
                findings += compared_outputs(self.name, evidence, [probe.label], outputs)
            else:
                case = probe.case if isinstance(probe, OtherModelProbe) else subject.case
                found = compared_gradients(self.name, case, evidence, [probe.label])
                # A model that declines to differentiate is the business of the check `gradients`.
                findings += [each for each in found if each.declined is None]
        first = dict(evidence.answers(self.name, [MAIN], Output, findings))
        again = [outputs[each.label] for each in question.of(MainAgainProbe) if each.label in outputs]
        worst = worst_of(self.name, findings)
        if MAIN not in first:
            return worst
        bitwise = all(each.tobytes() == first[MAIN].y.tobytes() for each in again)
        return replace(worst, facts={**worst.facts, "bitwise": bitwise})


def _model_steps(name: str, case: Case, device: str) -> Iterator[Probe]:
    """Yield the steps that build another model, and compute its output and its gradients."""
    draw = draws(case)[0]
    activations = [layer.activation for layer in case.layers]
    exact_answer = functools.cache(functools.partial(answer, draw, activations, case.dtype))
    yield Probe(step=Build(label=f"build {name}", model=name, stack=stack_of(case, draw), device=device))
    output = Forward(label=f"output, {name}", model=name, x=draw.x, layout=case.layout)
    gradients = Differentiate(label=f"gradients, {name}", model=name, x=draw.x, dy=draw.dy, layout=case.layout)
    for step in (output, gradients):
        yield OtherModelProbe(step=step, draw=draw, dtype=case.dtype, case=case, exact_answer=exact_answer)


def _other_models(case: Case) -> Iterator[tuple[str, Case]]:
    """Yield the name of each other model and what it computes."""
    for dtype in [each for each in DTYPES if each != case.dtype][-_OTHER_DTYPES:]:
        yield f"model of {dtype}", replace(case, dtype=dtype)
    has_bias = all(layer.use_bias for layer in case.layers)
    layers = tuple(replace(layer, use_bias=not has_bias) for layer in case.layers)
    yield f"model {'without' if has_bias else 'with'} bias", replace(case, layers=layers)
    if any(layer.activation != "linear" for layer in case.layers):
        layers = tuple(replace(layer, activation="linear") for layer in case.layers)
        yield "linear model", replace(case, layers=layers)
    *inner, last = case.input_shape
    if isinstance(last, int) and isinstance(case.batch, int):
        layers = tuple(
            replace(layer, units=_LARGER * layer.units if isinstance(layer.units, int) else layer.units)
            for layer in case.layers
        )
        shape = (*inner, _LARGER * last)
        yield "larger model", replace(case, input_shape=shape, layers=layers, batch=_LARGER * case.batch)
