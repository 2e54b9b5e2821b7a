"""Reads the files of the ledger, `cases/divergences/*.yaml`. A fault has its file, line and column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from conformance.ledger.behaviour import Behaviour
from conformance.ledger.entry import behaviour_of, problems_of
from conformance.ledger.fields import EntryFields, LedgerFile
from conformance.table.files import LEDGER_KEY, is_ledger, source_files
from conformance.table.validation import validate
from conformance.table.yaml_document import Document, DocumentError, Fault, Faults, Place, read

#: The folder of the ledger within that of the table.
FOLDER: Final = "divergences"


class LedgerError(DocumentError):
    """A ledger with faults. `faults` lists all of them."""


def load_ledger(
    paths: Sequence[Path], fault_of_glob: Callable[[str], str | None] = lambda glob: None
) -> tuple[Behaviour, ...]:
    """
    Return the behaviours of ledger files, and of the ledger files in folders and in their folder `divergences`.

    Args:
        paths: files and folders.
        fault_of_glob: returns what is wrong with a glob of `implementations`. Without it every glob is valid.

    Raises:
        LedgerError: a file has a fault. The error has all faults of all files.
    """
    found: list[Behaviour] = []
    faults = Faults()
    for path in paths:
        for folder in (path, path / FOLDER) if path.is_dir() else (path,):
            for file in source_files(folder) if folder == path or folder.is_dir() else ():
                if is_ledger(file.path) or not path.is_dir():
                    _read_entries(read(file.path, file.name), fault_of_glob, found, faults)
    if every := faults.all():
        raise LedgerError(every)
    return tuple(found)


def _read_entries(
    document: Document, fault_of_glob: Callable[[str], str | None], found: list[Behaviour], faults: Faults
) -> None:
    """Add the behaviours of one file to `found`, and its faults to `faults`."""
    faults.update(document.faults)
    if document.data is None:
        return

    def note(where: Place, message: str) -> None:
        faults.add(Fault(document.file, where.line, where.column, message))

    validate(LedgerFile, document.data, document.place, note)
    listed = document.data.get(LEDGER_KEY) if isinstance(document.data, dict) else None
    for index, data in enumerate(listed if isinstance(listed, list) else ()):
        place = document.place.at(LEDGER_KEY, index)
        if isinstance(data, dict) and (fields := validate(EntryFields, data, place, note)):
            problems = [*problems_of(fields, place)]
            namesake = next((each for each in found if each.id == fields.id), None)
            if namesake is not None:
                problems.append((place.at("id"), f"the id {fields.id} is taken by {namesake.where}"))
            for number, glob in enumerate(fields.implementations):
                if fault := fault_of_glob(glob):
                    problems.append((place.at("implementations", number), fault))
            for problem in problems:
                note(*problem)
            if not problems:
                found.append(behaviour_of(fields, document.file, place))
