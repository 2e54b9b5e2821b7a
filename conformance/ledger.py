"""
The ledger: differences that are known, each with its reason, where it is to be seen, and what exactly is seen there.

An entry is no excuse: it asserts an exact observation, so that a difference that goes away, or becomes another, is
noticed. This module reads the ledger and knows which cells an entry covers; it runs nothing and knows no framework.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.document import Document, DocumentError, Fault, Place, read
from conformance.entry import (
    Crash,
    Entry,
    EntryFields,
    Equals,
    LedgerFile,
    Margin,
    Message,
    Observed,
    Raises,
    entry_of,
    problems_of,
)
from conformance.files import LEDGER_KEY, is_ledger, named
from conformance.model import validate

__all__ = [
    "Crash",
    "Entry",
    "Equals",
    "LedgerError",
    "Margin",
    "Message",
    "Observed",
    "Raises",
    "lint_scope",
    "load_ledger",
]

#: Implementation, device, id of the case, names of the checks the cell is asked.
Cell = tuple[str, str, str, Sequence[str]]


class LedgerError(DocumentError):
    """A ledger that cannot be used; `faults` says all that is wrong with it."""


def load_ledger(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """
    Read the entries of ledger files, and of those in folders; a folder without one holds no entry.

    Raises:
        LedgerError: anything is wrong with any file; carries all of it.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    for path in paths:
        for file in named(path):
            if is_ledger(file.path) or not path.is_dir():
                _read_entries(read(file.path, file.shown), entries, faults)
    if faults:
        raise LedgerError(sorted(faults))
    return tuple(entries)


def lint_scope(entries: Sequence[Entry], cells: Iterable[Cell]) -> tuple[Fault, ...]:
    """
    Return a fault for every entry that no cell can match, and for every check that none of its cells is asked.

    `cells` are all there are, whether or not they can run here: the question is whether an entry could ever be seen to
    hold.
    """
    by_implementation: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_implementation[cell[0]].append(cell)
    faults = []
    for entry in entries:
        where = (entry.file, entry.line, entry.column)
        covered = [
            cell
            for implementation, its_cells in by_implementation.items()
            if entry.covers_implementation(implementation)
            for cell in its_cells
            if entry.covers(implementation=implementation, device=cell[1], case=cell[2])
        ]
        asked = {check for cell in covered for check in cell[3]}
        if not covered:
            faults.append(Fault(*where, "no cell of the table and the registry matches this entry"))
        else:
            unasked = [check for check in entry.checks if check not in asked]
            faults += [Fault(*where, f"check {check} is asked of no cell that matches this entry") for check in unasked]
    return tuple(faults)


def _read_entries(document: Document, entries: list[Entry], faults: list[Fault]) -> None:
    """Add the entries of one file to `entries`, and what is wrong with it to `faults`."""
    faults += document.faults
    if document.data is None:
        return

    def note(where: Place, message: str) -> None:
        faults.append(Fault(document.file, where.line, where.column, message))

    file = validate(LedgerFile, document.data, document.place, note)
    review = None if file is None else file.review
    listed = document.data.get(LEDGER_KEY) if isinstance(document.data, dict) else None
    for index, data in enumerate(listed if isinstance(listed, list) else ()):
        place = document.place.at(LEDGER_KEY, index)
        if isinstance(data, dict) and (fields := validate(EntryFields, data, place, note)):
            problems = [*problems_of(fields, place)]
            for problem in problems:
                note(*problem)
            if not problems:
                entries.append(entry_of(fields, document.file, place, review))
