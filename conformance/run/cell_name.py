"""The name of a cell, as it travels from a test to its report and into the results file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from conformance.checks.cell import Cell
from conformance.results import CellRecord


class CellName(NamedTuple):
    """What names a cell: three texts, so that it crosses between processes as it is."""

    device: str
    implementation: str
    case: str

    def __str__(self) -> str:
        return f"{self.device}/{self.without_device}"

    @property
    def without_device(self) -> str:
        """`IMPLEMENTATION/CASE`, which is enough where a run has one device."""
        return f"{self.implementation}/{self.case}"


def name_of(cell: Cell) -> CellName:
    """Return the name of a cell."""
    return CellName(cell.device, cell.implementation.name, cell.case.id)


def name_in(record: CellRecord) -> CellName:
    """Return the name of the cell of a record."""
    return CellName(record.device, record.implementation, record.case)


def cells_of_tests(cells: Iterable[Cell], test_ids: Iterable[str]) -> dict[str, CellName]:
    """
    Return the cell that each test runs, by the id of the test; tests of something else are left out.

    Workers of pytest-xdist announce the ids of their tests and nothing else. The ids that the cells of a run have are
    known, and looked up.
    """
    # pytest writes ids in ASCII.
    names = {f"test_dense[{each.id.encode('unicode_escape').decode('ascii')}]": name_of(each) for each in cells}
    found = ((each, names.get(each.rpartition("::")[2])) for each in test_ids)
    return {test_id: name for test_id, name in found if name is not None}
