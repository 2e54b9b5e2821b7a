"""
Case x implementation x device: which of them there are, what each is asked, and what it is held to.

Nothing here is run or judged.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from conformance.adapters.registry import Implementation, fault_of_glob, registered
from conformance.checks.catalogue import reported_checks
from conformance.checks.question import Question
from conformance.checks.references import question
from conformance.table.case import Case


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

    @property
    def unsupported(self) -> str | None:
        """Why the implementation cannot be asked the case, as the registry declares it; None where it is asked."""
        return lack(self.case, self.implementation)


def is_named(case: Case, implementation: Implementation) -> bool:
    """Return whether a row's `implementations` match an implementation; without any, all but those asked by name."""
    if implementation.participation.by_name and implementation.name not in case.implementations:
        return False
    return any(fnmatch.fnmatchcase(implementation.name, pattern) for pattern in case.implementations)


def unknown_globs(cases: Iterable[Case]) -> Iterator[tuple[Case, int, str]]:
    """Yield a case, the number of a glob in its row's `implementations` that matches nothing known, and the fault."""
    known = registered()
    faults: dict[str, str | None] = {}
    seen: set[tuple[str, str]] = set()
    for case in cases:
        for number, glob in enumerate(case.implementations):
            if glob not in faults:
                faults[glob] = fault_of_glob(glob, known)
            fault = faults[glob]
            # A row has many cases.
            if fault is not None and (case.row, glob) not in seen:
                seen.add((case.row, glob))
                yield case, number, fault


def lack(case: Case, implementation: Implementation) -> str | None:
    """
    Return why an implementation cannot take a case: a lane, rank, activation or length of axis that it lacks.

    None where it takes the case. The registry declares it, so no process is needed to know it.
    """
    if implementation.shapes_only and case.lane != "shapes":
        return "it infers shapes and computes no values: it takes rows with `values: shapes` alone"
    ranks, known, limit = implementation.ranks, implementation.activations, implementation.second_axis
    if ranks is not None and len(case.input_shape) not in ranks:
        # Without the row's own rank, so that all such cells have one reason.
        return f"it takes an input_shape of rank {' or '.join(map(str, ranks))} alone"
    for layer in case.layers:
        if known is not None and layer.activation not in known:
            return f"it has no activation {layer.activation}"
    axes = case.fed_shape
    if limit is None or case.lane == "shapes" or len(axes) < 2 or axes[1] <= limit.longest:
        return None
    return f"axis 1 of the input has length {axes[1]}, the longest that is asked has {limit.longest}: {limit.reason}"


def concerns(case: Case, implementation: Implementation) -> bool:
    """Return whether an implementation is asked a case: the row names it, and it can take it."""
    return is_named(case, implementation) and lack(case, implementation) is None


def cell_of(case: Case, implementation: Implementation, device: str) -> Cell:
    """Return the cell of a case, the switches of its row in the environment of its implementation."""
    if case.environment:
        environment = {**implementation.environment, **dict(case.environment)}
        implementation = replace(implementation, environment=environment)
    return Cell(case=case, implementation=implementation, device=device)


def checks_asked(case: Case) -> tuple[str, ...]:
    """Return the names of the checks of a case, in the order in which they are reported."""
    return tuple(each.name for each in reported_checks(case))


def questions_of(cell: Cell, draws: int) -> list[Question]:
    """
    Return what a cell is asked, once for each draw.

    Raises:
        NoDraw: no values of the lane exist for the case.
        NotImplementedError: there is no exact answer to it.
    """
    return [question(cell.case, cell.device, index) for index in range(draws)]
