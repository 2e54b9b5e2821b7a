"""
The checks of rearranged axes: a layer built for rearranged axes gives the rearranged outputs.

Each compares with the main output, within the sum of both bounds.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from conformance.checks.check import Check, Subject
from conformance.checks.comparison import compare, compare_answers, shape_violation, worst_of
from conformance.checks.enclosures import Rearrangement, moved_enclosure
from conformance.checks.finding import Finding
from conformance.checks.question import MAIN, DerivedProbe, Index, Probe, Setup, with_input
from conformance.reference.enclosure import Enclosure
from conformance.sandbox.steps import Build, Forward, Output
from conformance.table.case import MAX_RANK, Case

#: The most axes, batch included, that TensorFlow's softmax takes on the CPU.
_MOST_OF_SOFTMAX: Final = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class RearrangedProbe(DerivedProbe):
    """A step of a model built for rearranged axes, with the name of its check and the rearrangement."""

    check: str
    move: Rearrangement

    def derived_output(self, main: Enclosure) -> Enclosure:
        """Return what encloses the rearranged main output."""
        return moved_enclosure(main, self.move)

    def counterpart(self, index: Index, main_shape: tuple[int, ...]) -> tuple[Index, Index] | None:
        """Return the index of an element, and where the element is before its axes are rearranged."""
        places = self.move(np.arange(math.prod(main_shape)).reshape(main_shape))
        return index, tuple(int(each) for each in np.unravel_index(int(places[index]), main_shape))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """A model built for rearranged axes."""

    name: str
    input_shape: tuple[int | None, ...]
    move: Rearrangement


class _Rearranged(Check):
    """A layer built for rearranged axes gives the rearranged outputs, within the sum of both bounds."""

    @abstractmethod
    def _models(self, case: Case) -> Iterator[_Model]:
        """Yield the models of a case, none if its axes cannot be rearranged."""

    def applies(self, case: Case) -> bool:
        """Return whether the axes of the case can be rearranged in this way."""
        can_be = case.feed_shape is None and len(case.input_shape) > 1
        return super().applies(case) and can_be and next(self._models(case), None) is not None

    def steps(self, setup: Setup) -> Iterator[Probe]:
        """Yield the steps that build each model, and compute its output."""
        for each in self._models(setup.case):
            built = replace(setup.stack, input_shape=each.input_shape)
            yield Probe(step=Build(label=f"build {each.name}", model=each.name, stack=built, device=setup.device))
            x = np.ascontiguousarray(each.move(setup.first.x))
            forward = Forward(label=f"output, axes {each.name}", model=each.name, x=x)
            yield RearrangedProbe(step=forward, draw=with_input(setup.first, x), check=self.name, move=each.move)

    def judge(self, subject: Subject) -> Finding:
        """Return the finding."""
        evidence = subject.evidence
        probes = {each.label: each for each in subject.question.of(RearrangedProbe) if each.check == self.name}
        findings: list[Finding] = []
        answered = dict(evidence.answers(self.name, [MAIN], Output, findings))
        main = answered[MAIN].y if answered else None
        enclosure = evidence.expected.output(MAIN)
        if main is not None and main.shape != enclosure.exact.shape:
            findings.append(shape_violation(self.name, MAIN, main.shape, enclosure.exact.shape).at(MAIN))
            main = None
        for label, answer in evidence.answers(self.name, probes, Output, findings):
            if evidence.is_any_undefined((MAIN, label)):
                continue
            own, line = evidence.expected.output(label), evidence.expected.line(label)
            if evidence.expected.of(label).behaviours:
                findings.append(compare(self.name, label, answer.y, own, line).at(label))
            if main is not None:
                move = probes[label].move
                moved = moved_enclosure(enclosure, move)
                findings.append(compare_answers(self.name, label, (answer.y, own), (move(main), moved), line).at(label))
        return worst_of(self.name, findings)


class PositionsPermuted(_Rearranged):
    """Positions in another order: the inner axes are reversed."""

    name = "positions_permuted"
    description = "from rank 3: a layer built for permuted axes gives the permuted outputs"

    def _models(self, case: Case) -> Iterator[_Model]:
        shape, rank = case.input_shape, len(case.input_shape)
        if case.leading_axes == 1 and rank > 2:
            reverse = (*reversed(range(rank - 1)), rank - 1)
            order = (0, *(axis + 1 for axis in reverse))
            yield _Model(
                name="permuted",
                input_shape=tuple(shape[axis] for axis in reverse),
                move=partial(np.transpose, axes=order),
            )


class AxesMerged(_Rearranged):
    """Positions on fewer or more axes: the inner axes merged into one, or the first of them split into two."""

    name = "axes_merged"
    description = (
        "from rank 2: a layer built for inner axes merged into one, or with the first of them split into "
        "two, gives the same outputs"
    )

    def _models(self, case: Case) -> Iterator[_Model]:
        sizes = tuple(axis for axis in case.input_shape if axis is not None)
        rank = len(case.input_shape)
        if len(sizes) < rank:
            return
        if case.leading_axes == 1 and rank > 2:
            yield _reshaped(case, "merged", (math.prod(sizes[:-1]), sizes[-1]))
        first, *others = sizes
        most = _MOST_OF_SOFTMAX if any("softmax" in each.activation for each in case.layers) else MAX_RANK
        if rank <= 3 and first > 0 and case.leading_axes + rank < most:
            factor = next((each for each in range(2, math.isqrt(first) + 1) if first % each == 0), 1)
            yield _reshaped(case, "split", (factor, first // factor, *others))


def _reshaped(case: Case, name: str, input_shape: tuple[int, ...]) -> _Model:
    leading = (*case.leading, *input_shape[:-1])
    return _Model(name=name, input_shape=input_shape, move=lambda array: array.reshape((*leading, array.shape[-1])))
