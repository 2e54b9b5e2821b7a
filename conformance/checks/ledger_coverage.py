"""
The coverage of the ledger: the cells of a table that each behaviour covers, and the width of its bounds.

All cells of the table and the registry count, whether or not they can run on this machine. An entry that covers no cell
is a fault, and so are two entries that contradict each other on a cell.
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
from conformance.checks.cell import cell_of, has_cell
from conformance.checks.composition import question_without_references
from conformance.checks.expectations import Declared
from conformance.checks.question import GradientProbe, OutputProbe
from conformance.checks.references import question
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.expectation import Conflict, Covering, check_agreement, width
from conformance.ledger.step import ModelStep, Surroundings, model_steps
from conformance.reference.deviation import NO_DEVIATION
from conformance.reference.draw import Draw, Plan
from conformance.reference.lanes.draws import NoDraw
from conformance.table.case import Case
from conformance.table.yaml_document import Fault

#: Cells of a behaviour for which the width is computed.
SAMPLED: Final = 3
#: The most elements of such a cell.
_SMALL: Final = 2**14
#: Lanes whose numbers are rounded.
_ROUNDED: Final = ("uniform", "wide", "cancelling")
#: Lanes with numbers that are not finite, on which a predicate can depend.
_WITH_NUMBERS: Final = ("special", "literal")


@dataclass(kw_only=True)
class Coverage:
    """The cells of a table that a behaviour covers on the CPU."""

    behaviour: Behaviour
    #: A case and an implementation each.
    cells: list[tuple[Case, Implementation]] = field(default_factory=list)
    #: A contradiction to another behaviour -> the first cell on which it occurs.
    conflicts: dict[str, str] = field(default_factory=dict)

    @property
    def width(self) -> float | None:
        """The median of the widths of some cells, None if the behaviour changes no bound."""
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
        suffix = "" if width is None else f", width {width:.2g}"
        count = len(self.cells)
        return f"{self.behaviour.where}: {self.behaviour.id}: {count} cell{'' if count == 1 else 's'}{suffix}"


def coverages_of(behaviours: Sequence[Behaviour], cases: Sequence[Case]) -> list[Coverage]:
    """Return the coverage of each behaviour in a table."""
    coverages = {each.id: Coverage(behaviour=each) for each in behaviours}
    implementations = [(each, of_implementation(behaviours, each.name)) for each in registered().values()]
    for case in cases:
        name, steps = case.id, _steps(case)
        # The facts about a step are the same for all implementations.
        matching = {each.id: [(step, each.matching_layers(step, name)) for step in steps] for each in behaviours}
        matching = {each: [pair for pair in pairs if pair[1]] for each, pairs in matching.items()}
        for implementation, own in implementations:
            near = [each for each in own if matching[each.id]]
            if not near or not has_cell(case, implementation):
                continue
            environment = cell_of(case, implementation, "cpu").implementation.environment
            surroundings = Surroundings(device="cpu", environment=environment)
            covering = [each for each in near if each.when.matches_surroundings(surroundings)]
            for each in covering:
                coverages[each.id].cells.append((case, implementation))
            for conflict in _conflicts(covering, matching):
                at = f"{implementation.name}/{name}"
                coverages[conflict.names[-1]].conflicts.setdefault(str(conflict), at)
    return list(coverages.values())


def _conflicts(
    covering: Sequence[Behaviour], matching: Mapping[str, Sequence[tuple[ModelStep, frozenset[int]]]]
) -> Iterator[Conflict]:
    """Yield each contradiction among behaviours that always hold, on a step that several of them cover."""
    together: dict[str, list[Covering]] = {}
    stacks = {}
    for each in covering:
        for step, layers in matching[each.id] if each.sometimes is None else ():
            together.setdefault(step.label, []).append((each, layers))
            stacks[step.label] = step.stack
    for label, several in together.items():
        if len(several) > 1:
            try:
                check_agreement(several, len(stacks[label].layers), stacks[label].dtype)
            except Conflict as conflict:
                yield conflict


def _steps(case: Case) -> tuple[ModelStep, ...]:
    """Return the steps of a case that differ in their facts, none if the case has no draw."""
    try:
        has_draw_of_its_own = case.expect.error or case.lane in _WITH_NUMBERS or case.lane == "shapes"
        drawn = None if has_draw_of_its_own else _blank(case)
        steps = question_without_references(case, "cpu", drawn=drawn).steps
    except NoDraw:
        return ()
    distinct = {(each.call, id(each.stack), id(each.x), each.layout): each for each in model_steps(steps)}
    return tuple(distinct.values())


def _blank(case: Case) -> tuple[Draw, ...]:
    """Return draws of a case with zeros only. They are cheap, and no predicate depends on finite numbers."""
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
    widths = [*case.call_shape[-1:], *(layer.units for layer in case.layers if isinstance(layer.units, int))]
    positions = math.prod(case.call_shape[:-1])
    sizes = [positions * width for width in widths] + [one * other for one, other in itertools.pairwise(widths)]
    return max(sizes, default=0)


def _widths(behaviour: Behaviour, case: Case, implementation: Implementation) -> Iterator[float]:
    """Yield the width of each step of a cell that a behaviour covers and that has bounds."""
    try:
        own_question = question(case, "cpu")
    except (NoDraw, NotImplementedError):
        return
    steps = {each.label: each for each in model_steps(own_question.steps)}
    surroundings = Surroundings(
        device="cpu", environment=cell_of(case, implementation, "cpu").implementation.environment
    )
    declared = Declared(case, own_question, steps, surroundings, [behaviour])
    for probe in (*own_question.of(OutputProbe), *own_question.of(GradientProbe)):
        found = declared.of(probe.label)
        if found.behaviours and found.reference is not None and not probe.after_new_weights:
            yield width(found.reference, steps[probe.label].call)


def coverage_faults(coverages: Sequence[Coverage]) -> Iterator[Fault]:
    """Yield a fault for each behaviour that covers no cell, and for each contradiction."""
    for each in coverages:
        where = (each.behaviour.file, each.behaviour.line, each.behaviour.column)
        if not each.cells:
            yield Fault(*where, f"{each.behaviour.id}: no cell of the table and the registry has a step it covers")
        for conflict, cell in each.conflicts.items():
            yield Fault(*where, f"{conflict}, on {cell}")
