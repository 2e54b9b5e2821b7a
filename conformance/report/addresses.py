"""
The addresses on the page at which cells are shown.

The page's script parses them; a test checks both sides against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conformance.report import text
from conformance.report.columns import Column
from conformance.report.groups import Group
from conformance.report.matrix import Cell, Kind, Table


def cell_place(cell: Cell) -> str:
    """Return the address of a cell's view."""
    copy = {"copy": cell.copy} if cell.copy else {}
    return text.place("cell", case=text.address(cell.case), column=text.address(cell.column.label), **copy)


def matrix_place(column: Column, kind: Kind) -> str:
    """Return the address of the matrix with the cells of one kind in one column."""
    return text.place("matrix", outcome=kind.name, column=text.address(column.label))


def entry_place(entry: Group) -> str:
    """Return the address of the matrix with the cells that an entry of the ledger explains."""
    return text.place("matrix", entry=entry.anchor)


@dataclass(frozen=True)
class Places:
    """The addresses of cells by name: `DEVICE/IMPLEMENTATION/CASE`."""

    cells: Mapping[str, Cell]

    @classmethod
    def of_table(cls, table: Table) -> Places:
        """Return the addresses of all cells of `table`."""
        return cls({f"{each.column.device}/{each.column.implementation}/{each.case}": each for each in table.cells})

    def place(self, name: str) -> str:
        """Return the address of a cell's view, empty where the page has no such cell."""
        cell = self.cells.get(name)
        return "" if cell is None else cell_place(cell)
