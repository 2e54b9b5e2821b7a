"""
Case x implementation x device: which of them there are, what each is asked, and what it is held to.

Nothing here is run or judged.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace

from conformance.adapters.registry import Implementation
from conformance.case import CHECKS, SHAPE_CHECKS, Case
from conformance.metamorphic import RELATIONS, relations_asked
from conformance.question import Question, question, refusal


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Case x implementation x device: the unit that is run, judged, stored and shown."""

    case: Case
    implementation: Implementation
    device: str

    @property
    def id(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`, as in a test's id."""
        return f"{self.device}/{self.implementation.name}/{self.case.id}"


def concerns(case: Case, implementation: Implementation) -> bool:
    """Return whether a case is asked of an implementation: the row names it, and it can answer something of it."""
    if implementation.by_name and implementation.name not in case.implementations:
        return False
    named = any(fnmatch.fnmatchcase(implementation.name, pattern) for pattern in case.implementations)
    known = implementation.activations
    taken = known is None or all(layer.activation in known for layer in case.layers)
    taken = taken and (implementation.ranks is None or len(case.input_shape) in implementation.ranks)
    return named and taken and (case.lane == "shapes" or not implementation.shapes_only)


def beyond_limits(cell: Cell) -> str | None:
    """Return the reason the registry gives for not asking a cell whose case is too large, None where it is asked."""
    limit = cell.implementation.second_axis
    axes = cell.case.fed_shape
    if limit is None or cell.case.lane == "shapes" or len(axes) < 2 or axes[1] <= limit.longest:
        return None
    return f"axis 1 of the input has length {axes[1]}, the longest that is asked has {limit.longest}: {limit.reason}"


def cell_of(case: Case, implementation: Implementation, device: str) -> Cell:
    """Return the cell of a case, the switches of its row in the environment of its implementation."""
    if case.environment:
        environment = {**implementation.environment, **dict(case.environment)}
        implementation = replace(implementation, environment=environment)
    return Cell(case=case, implementation=implementation, device=device)


def checks_asked(case: Case) -> tuple[str, ...]:
    """Return the names of the checks a case is held to, in the order in which they are reported."""
    if case.expect.error:
        return ("refusal",)
    if case.lane == "shapes":
        return tuple(filter(case.asks, SHAPE_CHECKS))
    related = set(relations_asked(case))
    possible = (each for each in CHECKS if each != "refusal" and (each not in RELATIONS or each in related))
    return tuple(filter(case.asks, possible))


def questions_of(cell: Cell, draws: int) -> list[Question]:
    """
    Return what a cell is asked, once for each draw.

    Raises:
        NoDraw: no values of the lane exist for the case.
        NotImplementedError: there is no exact answer to it.
    """
    return [_asked(cell, index) for index in range(draws)]


def _asked(cell: Cell, index: int) -> Question:
    if cell.case.expect.error:
        return refusal(cell.case, cell.device)
    return question(cell.case, cell.device, index)
