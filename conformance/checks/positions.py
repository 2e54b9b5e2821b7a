"""The check that the same kernel and bias serve every position, and that no position sees another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from conformance.adapters.protocol import Array
from conformance.checks.check import Check, Subject
from conformance.checks.comparison import between, compare, worst_of
from conformance.checks.enclosures import flattened, rows
from conformance.checks.finding import VIOLATES, Finding
from conformance.checks.question import MAIN, DerivedProbe, Index, Probe, Setup, with_input
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Build, Forward, Output
from conformance.table.case import Case

#: Samples that are each fed in a call of its own, where the input has no positions but the batch.
MOST_SAMPLES: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class SeparateProbe(DerivedProbe):
    """A step of a second model, built for (d,), whose samples are positions of the main input."""

    #: The position of each sample, counted over the flattened leading axes of the main input.
    positions: tuple[int, ...]

    def derived_output(self, main: Enclosure) -> Enclosure:
        """Return what encloses these positions of the main output."""
        return rows(main, self.positions)

    def counterpart(self, index: Index, main_shape: tuple[int, ...]) -> tuple[Index, Index] | None:
        """Return the index of an element, and where the element is in the main output."""
        return index, (*_unravelled(self.positions[index[0]], main_shape), index[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplacedProbe(DerivedProbe):
    """A step whose input is the main one at one position, and another at all other positions."""

    #: The position that is as in the main input, counted over the flattened leading axes.
    position: int

    def derived_output(self, main: Enclosure) -> Enclosure:
        """Return what encloses the main output, which says something of the one position alone."""
        return main

    def counterpart(self, index: Index, main_shape: tuple[int, ...]) -> tuple[Index, Index] | None:
        """Return where the element is in both outputs: at the one position."""
        found = (*_unravelled(self.position, main_shape), index[-1])
        return found, found


def _unravelled(position: int, main_shape: tuple[int, ...]) -> Index:
    leading = main_shape[:-1]
    return tuple(int(each) for each in np.unravel_index(position, leading)) if leading else ()


class PositionsIndependent(Check):
    """
    Each position separately, and one beside others that were replaced, against what it is in the whole.

    A second model, built for (d,), is fed positions as samples of their own; whether bits agree is recorded. In another
    step all positions but one are replaced. Positions count over the flattened leading axes.
    """

    name = "positions_independent"

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
            # This model is given no new weights: one that answers with them shares what it should own.
            label, positions, x = separate[0]
            step = Forward(label=f"{label}, after new weights elsewhere", model="alone", x=x)
            draw = with_input(first, x)
            yield SeparateProbe(step=step, draw=draw, positions=positions, after_new_weights=True)

    def judge(self, subject: Subject) -> Finding:
        """Return what the check found."""
        evidence = subject.evidence
        separate = {each.label: each for each in subject.question.of(SeparateProbe)}
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, [MAIN], Output, findings))
        if not separate:
            # An input without positions: there is nothing that could depend on another.
            findings.append(Finding(check=self.name, margin=0.0, facts={"positions": 0}))
            return worst_of(self.name, findings)
        main: Array | None = answered[MAIN].y if answered else None
        enclosure = evidence.expected.output(MAIN)
        if main is not None and main.shape != enclosure.exact.shape:
            message = f"output has shape {main.shape}, expected {enclosure.exact.shape}"
            findings.append(Finding(check=self.name, outcome=VIOLATES, message=message))
            main = None
        bitwise = True
        for label, answer in evidence.answers(self.name, separate, Output, findings):
            findings += self._of_its_own(subject, label, answer.y)
            if main is not None and not evidence.is_any_undefined((label, MAIN)):
                positions = list(separate[label].positions)
                whole = main.reshape(flattened(enclosure).exact.shape)[positions]
                bitwise &= answer.y.tobytes() == whole.tobytes()
                pair = (answer.y, evidence.expected.output(label)), (whole, rows(enclosure, positions))
                where = f"{label}: position alone"
                findings.append(between(self.name, where, *pair, evidence.expected.line(label)))
        findings += self._beside_replaced(subject, main)
        worst = worst_of(self.name, findings)
        return replace(worst, facts={**worst.facts, "bitwise": bitwise})

    def _beside_replaced(self, subject: Subject, main: Array | None) -> list[Finding]:
        """Return what comes of comparing each position whose neighbours were replaced with the main output."""
        evidence = subject.evidence
        replaced = {each.label: each for each in subject.question.of(ReplacedProbe)}
        findings: list[Finding] = []
        for label, answer in evidence.answers(self.name, replaced, Output, findings):
            findings += self._of_its_own(subject, label, answer.y)
            if main is not None and not evidence.is_any_undefined((label, MAIN)):
                findings.append(self._one_position(subject, replaced[label], main, answer.y))
        return findings

    def _one_position(self, subject: Subject, probe: ReplacedProbe, main: Array, got: Array) -> Finding:
        expected, position, label = subject.evidence.expected, probe.position, probe.label
        if got.shape != main.shape:
            message = f"{label} has shape {got.shape}, expected {main.shape}"
            return Finding(check=self.name, outcome=VIOLATES, message=message)
        of_main, of_label = (rows(expected.output(each), (position,)) for each in (MAIN, label))
        shape = flattened(expected.output(MAIN)).exact.shape
        whole, kept = (each.reshape(shape)[[position]] for each in (main, got))
        where = f"{label}: all positions but {position} replaced"
        return between(self.name, where, (kept, of_label), (whole, of_main), expected.line(label))

    def _of_its_own(self, subject: Subject, label: str, got: Array) -> list[Finding]:
        """Return what comes of comparing a step with what is declared of it, which the main output does not show."""
        expected = subject.evidence.expected
        # The rule has a reference of the main output alone, from which the others follow.
        if expected.of(label).reference is None or subject.evidence.is_any_undefined((label, MAIN)):
            return []
        return [compare(self.name, label, got, expected.output(label), expected.line(label))]


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
    Yield what the model built for (d,) is fed: a label, the positions, and the array.

    Positions of an input of higher rank become the samples of one batch; where the batch is all there is, each sample
    is fed in a call of its own.
    """
    positions = math.prod(x.shape[:-1])
    flat = x.reshape(positions, x.shape[-1])
    if len(case.input_shape) > 1:
        yield "positions as samples", tuple(range(positions)), flat
    else:
        for position in range(min(positions, MOST_SAMPLES)):
            yield f"sample {position} alone", (position,), flat[position : position + 1]
