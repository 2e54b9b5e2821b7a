"""
The checks of `conformance lint`: rows, their implementations and values, the ledger, and whether its entries can match
a cell.

The reference checks the values of a row: they can be drawn, the answer is finite unless the row declares otherwise, and
an output in the row is the right one. The scope of the ledger is checked over the full table and registry, whatever is
installed.
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
from conformance.checks.cell import check_names, has_cell
from conformance.checks.comparison import compare
from conformance.checks.finding import VIOLATES
from conformance.checks.ledger_coverage import Coverage, coverage_faults, coverages_of
from conformance.checks.references import question
from conformance.ledger import load_ledger
from conformance.reference.lanes.draws import NoDraw, draws
from conformance.table.case import DEFAULT_LANES, Case
from conformance.table.loader import Table, TableError, default_cases, load
from conformance.table.yaml_document import DocumentError, Fault, Faults

#: The dtype in which answers to values of the lane `uniform` may overflow.
_OVERFLOWING: Final = "float16"
#: The prefix of a switch -> the package that reads it.
_READ_BY: Final = {"JAX": "jax", "TF": "tensorflow"}
#: The most elements of an operand whose values are drawn, so that the command is fast.
MOST_ELEMENTS: Final = 2**18


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The faults of rows and ledger, how many rows and cases were checked, and the scope of each behaviour."""

    faults: tuple[Fault, ...]
    rows: int = 0
    cases: int = 0
    scopes: Sequence[Coverage] = ()

    def __str__(self) -> str:
        count = sum(each.count for each in self.faults)
        if count:
            return _counted(count, "fault")
        ledger = f", {_counted(len(self.scopes), 'behaviour')}" if self.scopes else ""
        return f"{_counted(self.rows, 'row')}, {_counted(self.cases, 'case')}{ledger}, no faults"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def inspect(cases: Sequence[str]) -> Inspection:
    """Check files or folders of rows. Without any, check the default table and its ledger."""
    paths = [Path(each) for each in cases] or [default_cases()]
    faults = Faults()
    try:
        table = load(paths)
    except TableError as error:
        # The sound rows are checked as well, so that all faults are reported at once.
        faults.update(error.faults)
        table = error.sound
    faults.update(_faults_of_selection(table))
    faults.update(_faults_of_values(table))
    is_whole = not faults.all()
    scopes: list[Coverage] = []
    if not cases:
        try:
            implementations = registered()
            behaviours = load_ledger(paths, lambda glob: fault_of_glob(glob, implementations))
        except DocumentError as error:
            faults.update(error.faults)
        else:
            scopes = coverages_of(behaviours, table.cases) if is_whole else []
            faults.update(coverage_faults(scopes))
    rows = len({case.row for case in table.cases})
    return Inspection(faults=faults.all(), rows=rows, cases=len(table.cases), scopes=scopes)


def _faults_of_selection(table: Table) -> Iterator[Fault]:
    """Yield the parts of a row that select nothing: names of implementations, checks, switches, or the whole row."""
    registry = registered()
    rows: dict[int, list[Case]] = {}
    for case in table.cases:
        rows.setdefault(id(table.rows[case.id][1]), []).append(case)
    for cases in rows.values():
        first = cases[0]
        unknown = {
            index: fault for index, each in enumerate(first.implementations) if (fault := fault_of_glob(each, registry))
        }
        for index, fault in unknown.items():
            yield table.fault(first, fault, "implementations", index)
        applicable = {check for case in cases for check in check_names(case)}
        for index, check in enumerate(first.checks or ()):
            if check not in applicable:
                yield table.fault(first, f"{check} does not apply to this row", "checks", index)
        for case in cases:
            if applicable and not check_names(case):
                yield table.fault(case, f"{case.id}: none of these checks applies to it: name its values", "checks")
        if not unknown and all(fnmatch.filter(registry, each) for each in first.implementations):
            yield from _faults_of_concern(table, cases, registry.values())


def _faults_of_concern(
    table: Table, cases: Sequence[Case], implementations: Collection[Implementation]
) -> Iterator[Fault]:
    """Yield the cases of a row that no implementation computes, and the switches that none of them reads."""
    packages: set[str] = set()
    for case in cases:
        able = [each for each in implementations if has_cell(case, each)]
        packages.update(package for each in able for package in each.packages)
        if not able:
            fault = "no implementation can compute it: these lack its rank, activation or lane"
            yield table.fault(case, f"{case.id}: {fault}", "implementations")
            return
    for name, _ in cases[0].environment:
        package = _READ_BY[name.partition("_")[0]]
        if package not in packages:
            yield table.fault(
                cases[0], f"{name} has no effect: none of these implementations uses {package}", "environment", name
            )


def _faults_of_values(table: Table) -> Iterator[Fault]:
    """Yield the cases whose values cannot be drawn, or contradict their rows."""
    for case in table.cases:
        if case.expect.error or _largest_operand(case) > MOST_ELEMENTS:
            continue
        try:
            if case.lane in DEFAULT_LANES and not (case.lane == "uniform" and case.dtype == _OVERFLOWING):
                draws(case)
                continue
            answers = question(case, "cpu")
        except NoDraw as error:
            where = "values" if case.data is None else "data"
            yield table.fault(case, f"{case.id}: {error}", where)
            continue
        if answers.row_output is not None and answers.main is not None:
            finding = compare("output", "the output given", answers.row_output, answers.main.y, answers.main.line)
            if finding.outcome == VIOLATES:
                yield table.fault(case, f"{case.id}: {finding.message}", "expect", "output")


def _largest_operand(case: Case) -> int:
    """Return the number of elements of the largest of a legal case's input, kernels and outputs."""
    shape, positions = case.call_shape, math.prod(case.call_shape[:-1])
    widths = [shape[-1], *(layer.units for layer in case.layers if isinstance(layer.units, int))]
    kernels = (features * units for features, units in itertools.pairwise(widths))
    return max(*kernels, *(positions * width for width in widths))
