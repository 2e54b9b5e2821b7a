"""The check that every position has the same kernel and bias, and that positions are independent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import compare, compare_answers, shape_violation, worst_of
from conformance.checks.enclosures import flattened, position_enclosure
from conformance.checks.finding import Finding
from conformance.checks.question import MAIN, DerivedProbe, Index, Probe, Setup, with_input
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Build, Forward, Output
from conformance.table.case import Case

#: Samples that have a call of their own if the batch is the only axis of positions.
MOST_SAMPLES: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparateProbe(DerivedProbe):
    """A step of a second model, built for (d,). Its samples are positions of the main input."""

    #: The position of each sample, counted over the flattened leading axes of the main input.
    positions: tuple[int, ...]

    def derived_output(self, main: Enclosure) -> Enclosure:
        """Return what encloses these positions of the main output."""
        return position_enclosure(main, self.positions)

    def counterpart(self, index: Index, main_shape: tuple[int, ...]) -> tuple[Index, Index] | None:
        """Return the index of an element, and where the element is in the main output."""
        return index, (*_unravelled(self.positions[index[0]], main_shape), index[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplacedProbe(DerivedProbe):
    """A step whose input equals the main one at one position and differs at all others."""

    #: The position that is not replaced, counted over the flattened leading axes.
    position: int

    def derived_output(self, main: Enclosure) -> Enclosure:
        """Return what encloses the main output at the one position, and anything at all others."""
        flat = flattened(main)
        allowed = np.full_like(flat.allowed, np.inf)
        allowed[self.position] = flat.allowed[self.position]
        return Enclosure(exact=main.exact, allowed=allowed.reshape(main.exact.shape), tail=main.tail)

    def counterpart(self, index: Index, main_shape: tuple[int, ...]) -> tuple[Index, Index] | None:
        """Return where the element is in both outputs: at the one position."""
        found = (*_unravelled(self.position, main_shape), index[-1])
        return found, found


def _unravelled(position: int, main_shape: tuple[int, ...]) -> Index:
    leading = main_shape[:-1]
    return tuple(int(each) for each in np.unravel_index(position, leading)) if leading else ()


class PositionsIndependent(Check):
    """
    Compares each position alone, and one position with all others replaced, with the main output.

    A second model, built for (d,), receives positions as samples; the finding records whether all bits agree. In
    another step all positions but one are replaced.
    """

    name = "positions_independent"
    description = (
        "a layer built for one position gives the same output for each position alone; if all other "
        "positions change, the output of one does not"
    )

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps with replaced positions, then those of the second model."""
        first = setup.first
        for position, x in _replaced(first.x):
            label = f"output, only position {position} kept"
            yield ReplacedProbe(step=Forward(label=label, x=x), draw=with_input(first, x), position=position)
        stack = replace(setup.stack, input_shape=setup.stack.input_shape[-1:], leading_axes=1)
        yield Probe(step=Build(label="build alone", model="alone", stack=stack, device=setup.device))
        separate = list(_separate(setup.case, first.x))
        for label, positions, x in separate:
            step = Forward(label=label, model="alone", x=x)
            yield SeparateProbe(step=step, draw=with_input(first, x), positions=positions)
        if separate and setup.others:
            # This model receives no new weights. If it answers with them, two models share their weights.
            label, positions, x = separate[0]
            step = Forward(label=f"{label}, after new weights elsewhere", model="alone", x=x)
            draw = with_input(first, x)
            yield SeparateProbe(step=step, draw=draw, positions=positions, after_new_weights=True)

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        evidence = subject.evidence
        separate = {each.label: each for each in subject.question.of(SeparateProbe)}
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, [MAIN], Output, findings))
        if not separate:
            # The input has no positions.
            findings.append(Finding(check=self.name, margin=0.0, facts={"positions": 0}))
            return worst_of(self.name, findings)
        main: Array | None = answered[MAIN].y if answered else None
        enclosure = evidence.expected.output(MAIN)
        if main is not None and main.shape != enclosure.exact.shape:
            findings.append(shape_violation(self.name, MAIN, main.shape, enclosure.exact.shape).at(MAIN))
            main = None
        bitwise = True
        for label, answer in evidence.answers(self.name, separate, Output, findings):
            findings += self._declared_findings(subject, label, answer.y)
            if main is not None and not evidence.is_any_undefined((label, MAIN)):
                positions = list(separate[label].positions)
                whole = main.reshape(flattened(enclosure).exact.shape)[positions]
                bitwise &= answer.y.tobytes() == whole.tobytes()
                pair = (answer.y, evidence.expected.output(label)), (whole, position_enclosure(enclosure, positions))
                where = f"{label}: position alone"
                findings.append(compare_answers(self.name, where, *pair, evidence.expected.line(label)).at(label))
        findings += self._replaced_findings(subject, main)
        worst = worst_of(self.name, findings)
        return replace(worst, facts={**worst.facts, "bitwise": bitwise})

    def _replaced_findings(self, subject: Subject, main: Array | None) -> list[Finding]:
        """Return the findings of comparing each position whose neighbours were replaced with the main output."""
        evidence = subject.evidence
        replaced = {each.label: each for each in subject.question.of(ReplacedProbe)}
        findings: list[Finding] = []
        for label, answer in evidence.answers(self.name, replaced, Output, findings):
            findings += self._declared_findings(subject, label, answer.y)
            if main is not None and not evidence.is_any_undefined((label, MAIN)):
                findings.append(self._one_position(subject, replaced[label], main, answer.y))
        return findings

    def _one_position(self, subject: Subject, probe: ReplacedProbe, main: Array, actual: Array) -> Finding:
        expected, position, label = subject.evidence.expected, probe.position, probe.label
        if actual.shape != main.shape:
            return shape_violation(self.name, label, actual.shape, main.shape).at(label)
        of_main, of_label = (position_enclosure(expected.output(each), (position,)) for each in (MAIN, label))
        shape = flattened(expected.output(MAIN)).exact.shape
        whole, one = (each.reshape(shape)[[position]] for each in (main, actual))
        where = f"{label}: all positions but {position} replaced"
        return compare_answers(self.name, where, (one, of_label), (whole, of_main), expected.line(label)).at(label)

    def _declared_findings(self, subject: Subject, label: str, actual: Array) -> list[Finding]:
        """Return the finding of comparing a step with what is declared for it, which the main output does not show."""
        expected = subject.evidence.expected
        # Under the rule only the main output has a reference. The other outputs follow from it.
        if expected.of(label).reference is None or subject.evidence.is_any_undefined((label, MAIN)):
            return []
        return [compare(self.name, label, actual, expected.output(label), expected.line(label)).at(label)]


def _replaced(x: Array) -> Iterator[tuple[int, Array]]:
    """Yield a position, and the input in which every other position has the opposite sign."""
    positions = math.prod(x.shape[:-1])
    if positions > 1 and x.shape[-1] > 0:
        position = positions // 2
        replaced = -x.reshape(positions, -1)
        replaced[position] = x.reshape(positions, -1)[position]
        yield position, replaced.reshape(x.shape)


def _separate(case: Case, x: Array) -> Iterator[tuple[str, tuple[int, ...], Array]]:
    """
    Yield the steps of the model built for (d,): a label, the positions, and the input.

    Positions of an input of higher rank become the samples of one batch. If the batch is the only axis of positions,
    each sample has a call of its own.
    """
    positions = math.prod(x.shape[:-1])
    flat = x.reshape(positions, x.shape[-1])
    if len(case.input_shape) > 1:
        yield "positions as samples", tuple(range(positions)), flat
    else:
        for position in range(min(positions, MOST_SAMPLES)):
            yield f"sample {position} alone", (position,), flat[position : position + 1]
