"""
What each behaviour of the ledger covers in a table: how many cells, and how wide its bounds are beside the answers.

Every cell there could be is looked at, whether or not it can run here: the question is whether an entry could ever be
seen, and whether two of them contradict each other on some cell.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from conformance.adapters.registry import Implementation, registered
from conformance.case import Case
from conformance.cell import cell_of, concerns
from conformance.checks.expected import Declared
from conformance.document import Fault
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.expectation import Conflict, Covering, deviations_of, width
from conformance.ledger.step import AskedStep, Surroundings, asked_steps
from conformance.question import question, refusal, unanswered
from conformance.values import NoDraw

#: Cells of a behaviour of which the width is computed, spread evenly over all.
SAMPLED: Final = 5
DEVICES: Final = ("cpu", "gpu")


@dataclass(kw_only=True)
class Scope:
    """
    One behaviour, and how many cells of the table it covers: those in `cases` on the CPU.

    `conflicts` maps what another behaviour contradicts to the first cell on which it does.
    """

    behaviour: Behaviour
    cells: int = 0
    cases: list[tuple[Case, Implementation]] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)

    @property
    def width(self) -> float | None:
        """The median over some of the cells of what is allowed over the answer, None where no bound is changed."""
        chosen = self.cases[:: max(1, len(self.cases) // SAMPLED)][:SAMPLED]
        found = [each for case, implementation in chosen for each in _widths(self.behaviour, case, implementation)]
        return statistics.median(found) if found else None

    def __str__(self) -> str:
        width = self.width
        said = "" if width is None else f", width {width:.2g}"
        return f"{self.behaviour.where}: {self.behaviour.id}: {self.cells} cells{said}"


def scopes_of(behaviours: Sequence[Behaviour], cases: Sequence[Case]) -> list[Scope]:
    """Return the scope of each behaviour in a table."""
    scopes = {each.id: Scope(behaviour=each) for each in behaviours}
    of = [(each, of_implementation(behaviours, each.name)) for each in registered().values()]
    for case in cases:
        steps: tuple[AskedStep, ...] | None = None
        for implementation, own in of:
            if not own or not concerns(case, implementation):
                continue
            steps = _steps(case) if steps is None else steps
            for device in DEVICES:
                _count(scopes, case, implementation, device, own, steps)
    return list(scopes.values())


def _count(
    scopes: Mapping[str, Scope],
    case: Case,
    implementation: Implementation,
    device: str,
    behaviours: Sequence[Behaviour],
    steps: Sequence[AskedStep],
) -> None:
    """Count a cell for each behaviour that covers a step of it, and note those that contradict each other."""
    around = Surroundings(device=device, environment=cell_of(case, implementation, device).implementation.environment)
    covered: dict[str, Behaviour] = {}
    for step in steps:
        reached = ((each, each.covers(step, around, case.id)) for each in behaviours)
        covering: list[Covering] = [(each, layers) for each, layers in reached if layers]
        covered |= {each.id: each for each, _ in covering}
        always = [each for each in covering if each[0].sometimes is None]
        try:
            deviations_of(always, len(step.stack.layers))
        except Conflict as conflict:
            scopes[conflict.names[-1]].conflicts.setdefault(str(conflict), f"{implementation.name}/{case.id}")
    for name in covered:
        scopes[name].cells += 1
        if device == DEVICES[0]:
            scopes[name].cases.append((case, implementation))


def _steps(case: Case) -> tuple[AskedStep, ...]:
    try:
        asked = refusal(case, "cpu") if case.expect.error else unanswered(case, "cpu")
    except NoDraw:
        return ()
    return tuple(asked_steps(asked.steps))


def _widths(behaviour: Behaviour, case: Case, implementation: Implementation) -> Iterator[float]:
    """Yield how wide the bounds are of each step of a cell that a behaviour covers and has bounds for."""
    if case.expect.error or case.lane == "shapes" or behaviour.instead.ends:
        return
    try:
        asked = question(case, "cpu")
    except (NoDraw, NotImplementedError):
        return
    steps = {each.label: each for each in asked_steps(asked.steps)}
    around = Surroundings(device="cpu", environment=cell_of(case, implementation, "cpu").implementation.environment)
    declared = Declared(case, asked, steps, around, [behaviour])
    for label, step in steps.items():
        expectation = declared.of(label)
        if expectation.behaviours and expectation.reference is not None and label in asked.draws:
            rule = asked.outputs.get(label) or asked.gradients.get(label)
            if rule is None or expectation.reference is not rule:
                yield width(expectation.reference, step.call)


def faults_of_scope(scopes: Sequence[Scope]) -> Iterator[Fault]:
    """Yield a fault for every behaviour that no cell can show, and for every one that contradicts another."""
    for each in scopes:
        where = (each.behaviour.file, each.behaviour.line, each.behaviour.column)
        if not each.cells:
            yield Fault(*where, f"{each.behaviour.id}: no cell of the table and the registry has a step it covers")
        for conflict, cell in each.conflicts.items():
            yield Fault(*where, f"{conflict}, on {cell}")
