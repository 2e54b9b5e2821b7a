"""
A bare loop over the calls that the suite makes: the same adapters, cases and steps, without the suite.

    python -m benchmarks.bare_loop IMPLEMENTATION...

Prints for each implementation the number of cells and the CPU seconds of importing its framework and making the calls.
The time of drawing values, references, transport, judging and pytest is not included.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu_time import python
from conformance.checks.cell import Cell, questions_of
from conformance.ledger import Behaviour
from conformance.ledger.behaviour import of_implementation
from conformance.ledger.step import Surroundings, model_steps
from conformance.reference.lanes.draws import NoDraw
from conformance.run.implementation_process import DEFAULT_CACHE
from conformance.run.selection import Selection
from conformance.sandbox import environment
from conformance.sandbox.child import load
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Step


def cells_of(names: Sequence[str], cases: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Return the cells of implementations: those of the default table, or of files of cases."""
    selection = Selection(implementations=tuple(names), cases=tuple(cases))
    chosen = selection.chosen()
    return selection.cells(selection.table(), chosen, selection.devices(chosen))


def bare(name: str, cases: Sequence[str] = ()) -> dict[str, Any]:
    """
    Return what the calls of one implementation cost, in a process of its own with the environment it has.

    As any loop would have to, it makes the calls that end a process, and those under other switches, in others.
    """
    found: dict[str, Any] = {"implementation": name, "cells": 0, "cpu": 0.0}
    for number, group in enumerate(_groups(cells_of([name], cases))):
        with tempfile.TemporaryDirectory() as home:
            variables = environment.process_environment(
                group[0].implementation.environment,
                os.environ,
                threads=1,
                home=Path(home),
                cache=DEFAULT_CACHE.expanduser(),
            )
            spent = python(
                "-m", "benchmarks.bare_loop", "--here", name, str(number), *cases, environment=variables, ends=()
            )
        totals = json.loads(spent.output.splitlines()[-1])
        found["cells"] += totals["cells"]
        found["cpu"] += totals["cpu"]
    return found


def _here(name: str, number: int, cases: Sequence[str]) -> None:
    """Make the calls of one group of cells, and print the totals."""
    group = _groups(cells_of([name], cases))[number]
    questions = list(_questions(group))
    started = time.process_time()
    adapter = load(group[0].implementation.adapter, group[0].implementation.mode)
    for steps in questions:
        if len(questions) == 1:  # This cell may end the process, so its total is printed before it.
            _print_totals(1, time.process_time() - started)
        for _ in perform(adapter, steps):
            pass
    _print_totals(len(questions), time.process_time() - started)


def _print_totals(cells: int, cpu: float) -> None:
    print(json.dumps({"cells": cells, "cpu": cpu}), flush=True)


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return groups of cells for one process each: one for each environment, and one for each declared crash."""
    behaviours = [each for each in Selection().ledger() if each.instead.crashes]
    found: dict[object, list[Cell]] = {}
    for cell in cells:
        if cell.case.needs is not None or cell.unsupported is not None:
            continue
        switches = tuple(sorted(cell.implementation.environment.items()))
        found.setdefault(cell.id if _ends(cell, behaviours) else switches, []).append(cell)
    return list(found.values())


def _ends(cell: Cell, behaviours: Sequence[Behaviour]) -> bool:
    """Return whether the ledger declares that some step of a cell ends the process."""
    own = of_implementation(behaviours, cell.implementation.name)
    if not own:
        return False
    around = Surroundings(device=cell.device, environment=cell.implementation.environment)
    steps = [each for question in _questions([cell]) for each in model_steps(question)]
    return any(each.covered_layers(step, around, cell.case.id) for each in own for step in steps)


def _questions(cells: Sequence[Cell]) -> Iterator[tuple[Step, ...]]:
    """Yield the steps of every cell for which there are values."""
    for cell in cells:
        with contextlib.suppress(NoDraw, NotImplementedError):
            yield from (each.steps for each in questions_of(cell, 1))


if __name__ == "__main__":
    if sys.argv[1] == "--here":
        _here(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
    else:
        for each in sys.argv[1:]:
            print(bare(each))
