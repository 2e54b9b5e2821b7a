"""
Everything `conformance lint` looks at: the rows, their values, the ledger, and whether its entries can match a cell.

A row is held to what the reference says of its values: they can be drawn, the answer is finite or not as the row says,
and an output that the row gives is the right one. The scope of the ledger is checked over the full table and registry,
so that what is installed here plays no part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from conformance.case import DEFAULT_LANES, Case
from conformance.checks.compare import compare
from conformance.checks.finding import VIOLATES
from conformance.checks.scope import Scope, faults_of_scope, scopes_of
from conformance.document import DocumentError, Fault
from conformance.ledger import load_ledger
from conformance.question import REPEATED, question
from conformance.table import Table, TableError, default_cases, load
from conformance.values import NoDraw, draws

#: Elements of an operand from which values are not drawn here: a command that says what is wrong with a row is quick.
MOST_DRAWN: Final = 2**18


def faults_of(cases: Sequence[str], scopes: list[Scope] | None = None) -> tuple[Fault, ...]:
    """
    Return all faults of the files or folders named, or of the default table and its ledger where none is.

    The ledger is checked against the default table alone; what each behaviour covers there is added to `scopes`.
    """
    paths = [Path(each) for each in cases] or [default_cases()]
    faults: list[Fault] = []
    table = None
    try:
        table = load(paths)
        faults += _faults_of_values(table)
    except TableError as error:
        faults += error.faults
    if not cases:
        try:
            behaviours = load_ledger(paths)
        except DocumentError as error:
            return tuple(sorted([*faults, *error.faults]))
        if table is not None:
            found = scopes_of(behaviours, table.cases)
            faults += faults_of_scope(found)
            if scopes is not None:
                scopes += found
    return tuple(sorted(faults))


def _faults_of_values(table: Table) -> Iterator[Fault]:
    """Yield the cases whose values cannot be drawn, or contradict what their rows say."""
    for case in table.cases:
        if case.expect.error or _most_elements(case) > MOST_DRAWN:
            continue
        try:
            if case.lane in DEFAULT_LANES:
                draws(case)
                continue
            asked = question(case, "cpu")
        except NoDraw as error:
            where = "values" if case.data is None else "data"
            yield table.fault(case, f"{case.id}: {error}", where)
            continue
        if asked.expected is not None:
            reference = asked.outputs[REPEATED[0]]
            given = compare("output", "the output given", asked.expected, reference.y, reference.line)
            if given.outcome == VIOLATES:
                yield table.fault(case, f"{case.id}: {given.message}", "expect", "output")


def _most_elements(case: Case) -> int:
    """Return the number of elements of the largest of a legal case's input, kernels and outputs."""
    fed, positions = case.fed_shape, math.prod(case.fed_shape[:-1])
    widths = [fed[-1], *(layer.units for layer in case.layers if isinstance(layer.units, int))]
    kernels = (features * units for features, units in itertools.pairwise(widths))
    return max(*kernels, *(positions * width for width in widths))
