"""
A bare loop over the calls that the suite makes: the same adapters, the same cases, the same steps, and nothing around.

    python -m benchmarks.bare IMPLEMENTATION...

Prints for each implementation how many cells it answered and what that cost (CPU seconds): the import of its framework
and the calls. What the suite adds, such as drawing values, references, transport, judging and pytest, is left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.spent import python
from conformance import environment
from conformance.adapters.registry import select
from conformance.cell import Cell, questions_of
from conformance.child import load
from conformance.ledger import Crash, Entry, TimedOut
from conformance.selection import Selection
from conformance.steps import Step, perform
from conformance.suite import DEFAULT_CACHE
from conformance.values import NoDraw


def asked(names: Sequence[str], cases: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Return the cells of implementations: those of the default table, or of files of cases."""
    selection = Selection(implementations=tuple(names), cases=tuple(cases))
    chosen = selection.chosen()
    return selection.cells(selection.table(), chosen, selection.devices(chosen))


def bare(name: str, cases: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the calls of one implementation cost, in a process of its own with the environment it has."""
    (implementation,) = select([name])
    with tempfile.TemporaryDirectory() as home:
        variables = environment.of_process(
            implementation.environment, os.environ, threads=1, home=Path(home), cache=DEFAULT_CACHE.expanduser()
        )
        spent = python("-m", "benchmarks.bare", "--here", name, *cases, environment=variables)
    found: dict[str, Any] = json.loads(spent.output.splitlines()[-1])
    return found


def _here(name: str, cases: Sequence[str]) -> dict[str, Any]:
    questions = list(_questions(asked([name], cases)))
    (implementation,) = select([name])
    started = time.process_time()
    adapter = load(implementation.adapter, implementation.mode)
    for steps in questions:
        for _ in perform(adapter, steps):
            pass
    return {"implementation": name, "cells": len(questions), "cpu": time.process_time() - started}


def _questions(cells: Sequence[Cell]) -> list[tuple[Step, ...]]:
    """Return the steps of every cell but those with switches of their own, about another machine, or known to crash."""
    endings = [each for each in Selection().ledger() if isinstance(each.observed, Crash | TimedOut)]
    found = []
    for cell in cells:
        if cell.case.environment or cell.case.needs is not None or _is_known_to_end(cell, endings):
            continue
        try:
            found += [each.steps for each in questions_of(cell, 1)]
        except (NoDraw, NotImplementedError):
            continue
    return found


def _is_known_to_end(cell: Cell, endings: Sequence[Entry]) -> bool:
    name, case = cell.implementation.name, cell.case.id
    return any(each.covers(implementation=name, case=case, device=cell.device) for each in endings)


if __name__ == "__main__":
    if sys.argv[1] == "--here":
        print(json.dumps(_here(sys.argv[2], sys.argv[3:])))
    else:
        for each in sys.argv[1:]:
            print(bare(each))
