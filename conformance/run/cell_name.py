"""The names of the cells of a run, and the tests that have them."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.checks.cell import Cell
from conformance.results.record import CellName


def name_of(cell: Cell) -> CellName:
    """Return the name of a cell."""
    return CellName(cell.device, cell.implementation.name, cell.case.id)


def cells_of_tests(cells: Iterable[Cell], test_ids: Iterable[str]) -> dict[str, CellName]:
    """
    Return the cell of each test, by the id of the test. Other tests are left out.

    Workers of pytest-xdist report the ids of their tests and nothing else. The id of each cell's test is computed and
    looked up.
    """
    # pytest writes ids in ASCII.
    names = {f"test_dense[{each.id.encode('unicode_escape').decode('ascii')}]": name_of(each) for each in cells}
    cells_by_test = ((each, names.get(each.rpartition("::")[2])) for each in test_ids)
    return {test_id: name for test_id, name in cells_by_test if name is not None}
