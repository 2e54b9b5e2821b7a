"""
A bare loop over the calls that the suite makes: the same adapters, the same cases, the same steps, and nothing around.

    python -m benchmarks.bare IMPLEMENTATION...

Prints for each implementation how many cells it answered and what that cost (CPU seconds): the import of its framework
and the calls. What the suite adds, such as drawing values, references, transport, judging and pytest, is left out.
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

from benchmarks.spent import python
from conformance import environment
from conformance.cell import Cell, beyond_limits, questions_of
from conformance.child import load
from conformance.ledger import Crash, Entry
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
    """
    Return what the calls of one implementation cost, in a process of its own with the environment it has.

    As any loop would have to, it makes the calls that end a process, and those under other switches, in others.
    """
    found: dict[str, Any] = {"implementation": name, "cells": 0, "cpu": 0.0}
    for number, group in enumerate(_groups(asked([name], cases))):
        with tempfile.TemporaryDirectory() as home:
            variables = environment.of_process(
                group[0].implementation.environment,
                os.environ,
                threads=1,
                home=Path(home),
                cache=DEFAULT_CACHE.expanduser(),
            )
            spent = python("-m", "benchmarks.bare", "--here", name, str(number), *cases, environment=variables, ends=())
        told = json.loads(spent.output.splitlines()[-1])
        found["cells"] += told["cells"]
        found["cpu"] += told["cpu"]
    return found


def _here(name: str, number: int, cases: Sequence[str]) -> None:
    """Make the calls of one group of cells, and say before each cell what there was till then."""
    group = _groups(asked([name], cases))[number]
    questions = list(_questions(group))
    started = time.process_time()
    adapter = load(group[0].implementation.adapter, group[0].implementation.mode)
    for steps in questions:
        if len(questions) == 1:  # it may be the last that is heard
            _say(1, time.process_time() - started)
        for _ in perform(adapter, steps):
            pass
    _say(len(questions), time.process_time() - started)


def _say(cells: int, cpu: float) -> None:
    print(json.dumps({"cells": cells, "cpu": cpu}), flush=True)


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells that one process can be asked: by switches, and each that the ledger says ends it by itself."""
    entries = Selection().ledger()
    found: dict[object, list[Cell]] = {}
    for cell in cells:
        known = {type(each.observed) for each in entries if _is_about(each, cell)}
        if cell.case.needs is not None or beyond_limits(cell) is not None:
            continue
        key = cell.id if Crash in known else tuple(sorted(cell.implementation.environment.items()))
        found.setdefault(key, []).append(cell)
    return list(found.values())


def _is_about(entry: Entry, cell: Cell) -> bool:
    return entry.covers(implementation=cell.implementation.name, case=cell.case.id, device=cell.device)


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
