"""Cells: which cases have a cell on which implementations, and the question and the checks of a cell."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from conformance.adapters.registry import Implementation, fault_of_glob, registered
from conformance.checks.catalogue import checks_of
from conformance.checks.question import Question
from conformance.checks.references import question
from conformance.table.case import Case


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One case on one implementation and one device."""

    case: Case
    implementation: Implementation
    device: str

    @property
    def id(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`, as in a test's id."""
        return f"{self.device}/{self.implementation.name}/{self.case.id}"

    @property
    def unsupported(self) -> str | None:
        """Why the implementation cannot compute the case, as the registry declares it. None if it can."""
        return unsupported_reason(self.case, self.implementation)


def is_named(case: Case, implementation: Implementation) -> bool:
    """Return whether the `implementations` of a row match. Without any, all match but those that must be named."""
    if implementation.participation.by_name and implementation.name not in case.implementations:
        return False
    return any(fnmatch.fnmatchcase(implementation.name, pattern) for pattern in case.implementations)


def unknown_globs(cases: Iterable[Case]) -> Iterator[tuple[Case, int, str]]:
    """Yield a case, the index of a glob of its row that matches no implementation, and the fault."""
    implementations = registered()
    faults: dict[str, str | None] = {}
    yielded: set[tuple[str, str]] = set()
    for case in cases:
        for number, glob in enumerate(case.implementations):
            if glob not in faults:
                faults[glob] = fault_of_glob(glob, implementations)
            fault = faults[glob]
            # A row has many cases.
            if fault is not None and (case.row, glob) not in yielded:
                yielded.add((case.row, glob))
                yield case, number, fault


def unsupported_reason(case: Case, implementation: Implementation) -> str | None:
    """
    Return why an implementation cannot compute a case: a lane, rank, activation or length of an axis.

    None if it can. The registry declares it, so no process is started.
    """
    if implementation.shapes_only and case.lane != "shapes":
        return "it infers shapes and computes no values: it takes rows with `values: shapes` alone"
    ranks, activations, limit = implementation.ranks, implementation.activations, implementation.second_axis
    if ranks is not None and len(case.input_shape) not in ranks:
        # Without the row's own rank, so that all such cells have one reason.
        return f"it takes an input_shape of rank {' or '.join(map(str, ranks))} alone"
    for layer in case.layers:
        if activations is not None and layer.activation not in activations:
            return f"it has no activation {layer.activation}"
    axes = case.call_shape
    if limit is None or case.lane == "shapes" or len(axes) < 2 or axes[1] <= limit.longest:
        return None
    return f"axis 1 of the input has length {axes[1]}, the longest that is run has {limit.longest}: {limit.reason}"


def has_cell(case: Case, implementation: Implementation) -> bool:
    """Return whether a case has a cell on an implementation: the row names it, and it can compute the case."""
    return is_named(case, implementation) and unsupported_reason(case, implementation) is None


def cell_of(case: Case, implementation: Implementation, device: str) -> Cell:
    """Return the cell of a case. The environment of its implementation has the switches of its row."""
    if case.environment:
        environment = {**implementation.environment, **dict(case.environment)}
        implementation = replace(implementation, environment=environment)
    return Cell(case=case, implementation=implementation, device=device)


def check_names(case: Case) -> tuple[str, ...]:
    """Return the names of the checks of a case, in the order in which they are reported."""
    return tuple(each.name for each in checks_of(case))


def questions_of(cell: Cell, draws: int) -> list[Question]:
    """
    Return the questions of a cell, one for each draw.

    Raises:
        NoDraw: no values of the lane exist for the case.
        NotImplementedError: there is no exact answer to it.
    """
    return [question(cell.case, cell.device, index) for index in range(draws)]
