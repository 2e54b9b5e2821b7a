"""
Everything `conformance lint` looks at: the rows, who is asked them, their values, the ledger, and whether its entries
can match a cell.

A row is held to what the reference says of its values: they can be drawn, the answer is finite or not as the row says,
and an output that the row gives is the right one. The scope of the ledger is checked over the full table and registry,
so that what is installed here plays no part.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.adapters.registry import Implementation, fault_of_glob, registered
from conformance.checks.cell import checks_asked, concerns
from conformance.checks.comparison import compare
from conformance.checks.finding import VIOLATES
from conformance.checks.references import question
from conformance.checks.scope import Scope, faults_of_scope, scopes_of
from conformance.ledger import load_ledger
from conformance.reference.lanes.draws import NoDraw, draws
from conformance.table.case import DEFAULT_LANES, Case
from conformance.table.loader import Table, TableError, default_cases, load
from conformance.table.yaml_document import DocumentError, Fault, Faults

#: The dtype in which answers to values of the lane `uniform` may overflow.
_OVERFLOWING: Final = "float16"
#: The prefix of a switch -> the package that reads it.
_READ_BY: Final = {"JAX": "jax", "TF": "tensorflow"}
#: Elements of an operand from which values are not drawn here: a command that says what is wrong with a row is quick.
MOST_DRAWN: Final = 2**18


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was looked at, what is wrong with it, and what each behaviour of the ledger covers."""

    faults: tuple[Fault, ...]
    rows: int = 0
    cases: int = 0
    scopes: Sequence[Scope] = ()

    def __str__(self) -> str:
        count = sum(each.count for each in self.faults)
        if count:
            return _counted(count, "fault")
        ledger = f", {_counted(len(self.scopes), 'behaviour')}" if self.scopes else ""
        return f"{_counted(self.rows, 'row')}, {_counted(self.cases, 'case')}{ledger}, no faults"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def inspect(cases: Sequence[str]) -> Inspection:
    """
    Look at the files or folders named, or at the default table and its ledger where none is.

    The ledger is checked against the default table alone.
    """
    paths = [Path(each) for each in cases] or [default_cases()]
    faults = Faults()
    try:
        table = load(paths)
    except TableError as error:
        # What else is wrong with its other rows is not left for the next time.
        faults.update(error.faults)
        table = error.sound
    faults.update(_faults_of_selection(table))
    faults.update(_faults_of_values(table))
    is_whole = not faults.all()
    scopes: list[Scope] = []
    if not cases:
        try:
            known = registered()
            behaviours = load_ledger(paths, lambda glob: fault_of_glob(glob, known))
        except DocumentError as error:
            faults.update(error.faults)
        else:
            scopes = scopes_of(behaviours, table.cases) if is_whole else []
            faults.update(faults_of_scope(scopes))
    rows = len({case.row for case in table.cases})
    return Inspection(faults=faults.all(), rows=rows, cases=len(table.cases), scopes=scopes)


def _faults_of_selection(table: Table) -> Iterator[Fault]:
    """Yield what of a row is asked of nobody: names of implementations, checks, switches, or the whole row."""
    known = registered()
    rows: dict[int, list[Case]] = {}
    for case in table.cases:
        rows.setdefault(id(table.rows[case.id][1]), []).append(case)
    for cases in rows.values():
        first = cases[0]
        unknown = {
            index: said for index, each in enumerate(first.implementations) if (said := fault_of_glob(each, known))
        }
        for index, said in unknown.items():
            yield table.fault(first, said, "implementations", index)
        asked = {check for case in cases for check in checks_asked(case)}
        for index, check in enumerate(first.checks or ()):
            if check not in asked:
                yield table.fault(first, f"{check} does not apply to this row: nobody is asked it", "checks", index)
        for case in cases:
            if asked and not checks_asked(case):
                yield table.fault(case, f"{case.id}: none of these checks applies to it: name its values", "checks")
        if not unknown and all(fnmatch.filter(known, each) for each in first.implementations):
            yield from _faults_of_concern(table, cases, known.values())


def _faults_of_concern(table: Table, cases: Sequence[Case], known: Collection[Implementation]) -> Iterator[Fault]:
    """Yield the cases of a row that no implementation is asked, and the switches of a row that no one asked reads."""
    read: set[str] = set()
    for case in cases:
        asked = [each for each in known if concerns(case, each)]
        read.update(package for each in asked for package in each.packages)
        if not asked:
            said = "nobody is asked it: these implementations lack its rank, activation or lane"
            yield table.fault(case, f"{case.id}: {said}", "implementations")
            return
    for name, _ in cases[0].environment:
        package = _READ_BY[name.partition("_")[0]]
        if package not in read:
            yield table.fault(
                cases[0], f"{name} has no effect: none of these implementations uses {package}", "environment", name
            )


def _faults_of_values(table: Table) -> Iterator[Fault]:
    """Yield the cases whose values cannot be drawn, or contradict what their rows say."""
    for case in table.cases:
        if case.expect.error or _most_elements(case) > MOST_DRAWN:
            continue
        try:
            if case.lane in DEFAULT_LANES and not (case.lane == "uniform" and case.dtype == _OVERFLOWING):
                draws(case)
                continue
            asked = question(case, "cpu")
        except NoDraw as error:
            where = "values" if case.data is None else "data"
            yield table.fault(case, f"{case.id}: {error}", where)
            continue
        if asked.row_output is not None and asked.main is not None:
            given = compare("output", "the output given", asked.row_output, asked.main.y, asked.main.line)
            if given.outcome == VIOLATES:
                yield table.fault(case, f"{case.id}: {given.message}", "expect", "output")


def _most_elements(case: Case) -> int:
    """Return the number of elements of the largest of a legal case's input, kernels and outputs."""
    fed, positions = case.fed_shape, math.prod(case.fed_shape[:-1])
    widths = [fed[-1], *(layer.units for layer in case.layers if isinstance(layer.units, int))]
    kernels = (features * units for features, units in itertools.pairwise(widths))
    return max(*kernels, *(positions * width for width in widths))
