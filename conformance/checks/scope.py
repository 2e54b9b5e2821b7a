"""
What each behaviour of the ledger covers in a table: how many cells, and how wide its bounds are beside the answers.

Every cell there could be is looked at, whether or not it can run here: the question is whether an entry could ever be
seen, and whether two of them contradict each other on some cell.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from conformance.adapters.registry import Implementation, registered
from conformance.checks.cell import cell_of, concerns
from conformance.checks.composition import question_without_references
from conformance.checks.expectations import Declared
from conformance.checks.question import GradientProbe, OutputProbe
from conformance.checks.references import question
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.expectation import Conflict, Covering, check_agreement, width
from conformance.ledger.step import AskedStep, Surroundings, asked_steps
from conformance.reference.deviation import NO_DEVIATION
from conformance.reference.draw import Draw, Plan
from conformance.reference.lanes.draws import NoDraw
from conformance.table.case import Case
from conformance.table.yaml_document import Fault

#: Cells of a behaviour of which the width is computed, and the most elements one of them may have.
SAMPLED: Final = 3
_SMALL: Final = 2**14
#: Lanes whose numbers are rounded.
_ROUNDED: Final = ("uniform", "wide", "cancelling")
#: Lanes whose numbers a predicate may ask about: not all are finite.
_WITH_NUMBERS: Final = ("special", "literal")


@dataclass(kw_only=True)
class Scope:
    """
    One behaviour, and the cells of a table it covers on the CPU, each a case and an implementation.

    `conflicts` maps what another behaviour contradicts to the first cell on which it does.
    """

    behaviour: Behaviour
    cells: list[tuple[Case, Implementation]] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)

    @property
    def width(self) -> float | None:
        """The median over some of the cells of what is allowed over the answer, None where no bound is changed."""
        if self.behaviour.instead.deviation == NO_DEVIATION:
            return None
        computing = [each for each in self.cells if not each[0].expect.error and each[0].lane != "shapes"]
        small = [each for each in computing if _elements(each[0]) <= _SMALL]
        # On the exact lane most bounds are 0.
        small = [each for each in small if each[0].lane in _ROUNDED] or small
        chosen = small[:: max(1, len(small) // SAMPLED)][:SAMPLED]
        found = [each for case, implementation in chosen for each in _widths(self.behaviour, case, implementation)]
        return statistics.median(found) if found else None

    def __str__(self) -> str:
        width = self.width
        said = "" if width is None else f", width {width:.2g}"
        count = len(self.cells)
        return f"{self.behaviour.where}: {self.behaviour.id}: {count} cell{'' if count == 1 else 's'}{said}"


def scopes_of(behaviours: Sequence[Behaviour], cases: Sequence[Case]) -> list[Scope]:
    """Return the scope of each behaviour in a table."""
    scopes = {each.id: Scope(behaviour=each) for each in behaviours}
    known = [(each, of_implementation(behaviours, each.name)) for each in registered().values()]
    for case in cases:
        name, steps = case.id, _steps(case)
        # What a step has is the same for all implementations, and is looked at once.
        reached = {each.id: [(step, each.reaches(step, name)) for step in steps] for each in behaviours}
        reached = {each: [pair for pair in pairs if pair[1]] for each, pairs in reached.items()}
        for implementation, own in known:
            near = [each for each in own if reached[each.id]]
            if not near or not concerns(case, implementation):
                continue
            environment = cell_of(case, implementation, "cpu").implementation.environment
            around = Surroundings(device="cpu", environment=environment)
            covering = [each for each in near if each.when.suits(around)]
            for each in covering:
                scopes[each.id].cells.append((case, implementation))
            for conflict in _conflicts(covering, reached):
                at = f"{implementation.name}/{name}"
                scopes[conflict.names[-1]].conflicts.setdefault(str(conflict), at)
    return list(scopes.values())


def _conflicts(
    covering: Sequence[Behaviour], reached: Mapping[str, Sequence[tuple[AskedStep, frozenset[int]]]]
) -> Iterator[Conflict]:
    """Yield each contradiction among behaviours that always hold, on a step that several of them cover."""
    together: dict[str, list[Covering]] = {}
    stacks = {}
    for each in covering:
        for step, reach in reached[each.id] if each.sometimes is None else ():
            together.setdefault(step.label, []).append((each, reach))
            stacks[step.label] = step.stack
    for label, several in together.items():
        if len(several) > 1:
            try:
                check_agreement(several, len(stacks[label].layers), stacks[label].dtype)
            except Conflict as conflict:
                yield conflict


def _steps(case: Case) -> tuple[AskedStep, ...]:
    """Return the steps of a case that differ in what a predicate sees; none where the case has no draw."""
    try:
        has_draw_of_its_own = case.expect.error or case.lane in _WITH_NUMBERS or case.lane == "shapes"
        drawn = None if has_draw_of_its_own else _blank(case)
        steps = question_without_references(case, "cpu", drawn=drawn).steps
    except NoDraw:
        return ()
    distinct = {(each.call, id(each.stack), id(each.x), each.layout): each for each in asked_steps(steps)}
    return tuple(distinct.values())


def _blank(case: Case) -> tuple[Draw, ...]:
    """Return draws of a case whose numbers are all zero: what a predicate sees of most steps, for nothing."""
    plan = Plan.of(case, 0)
    dtype = plan.format.dtype
    shapes = zip(plan.features, plan.units, strict=True)
    biases = (np.zeros(units, dtype) if has else None for units, has in zip(plan.units, plan.use_bias, strict=True))
    first = Draw(
        name="first",
        x=np.zeros(plan.x_shape, dtype),
        kernels=tuple(np.zeros(shape, dtype) for shape in shapes),
        biases=tuple(biases),
        dy=np.zeros(plan.dy_shape, dtype),
        exact=False,
    )
    return (first, replace(first, name="second"))


def _elements(case: Case) -> int:
    widths = [*case.fed_shape[-1:], *(layer.units for layer in case.layers if isinstance(layer.units, int))]
    positions = math.prod(case.fed_shape[:-1])
    sizes = [positions * width for width in widths] + [one * other for one, other in itertools.pairwise(widths)]
    return max(sizes, default=0)


def _widths(behaviour: Behaviour, case: Case, implementation: Implementation) -> Iterator[float]:
    """Yield how wide the bounds are of each step of a cell that a behaviour covers and has bounds for."""
    try:
        asked = question(case, "cpu")
    except (NoDraw, NotImplementedError):
        return
    steps = {each.label: each for each in asked_steps(asked.steps)}
    around = Surroundings(device="cpu", environment=cell_of(case, implementation, "cpu").implementation.environment)
    declared = Declared(case, asked, steps, around, [behaviour])
    for probe in (*asked.of(OutputProbe), *asked.of(GradientProbe)):
        found = declared.of(probe.label)
        if found.behaviours and found.reference is not None and not probe.after_new_weights:
            yield width(found.reference, steps[probe.label].call)


def faults_of_scope(scopes: Sequence[Scope]) -> Iterator[Fault]:
    """Yield a fault for every behaviour that no cell can show, and for every one that contradicts another."""
    for each in scopes:
        where = (each.behaviour.file, each.behaviour.line, each.behaviour.column)
        if not each.cells:
            yield Fault(*where, f"{each.behaviour.id}: no cell of the table and the registry has a step it covers")
        for conflict, cell in each.conflicts.items():
            yield Fault(*where, f"{conflict}, on {cell}")
