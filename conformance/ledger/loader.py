"""The files of the ledger, `cases/divergences/*.yaml`, read into behaviours; each fault with file, line and column."""

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
    """A ledger that cannot be used; `faults` says all that is wrong with it."""


def load_ledger(
    paths: Sequence[Path], fault_of_glob: Callable[[str], str | None] = lambda glob: None
) -> tuple[Behaviour, ...]:
    """
    Read the entries of ledger files, and of those in folders and in their folder `divergences`; without one, none.

    `fault_of_glob` returns what is wrong with a glob of `implementations`; without it, any is taken.

    Raises:
        LedgerError: anything is wrong with any file; carries all of it.
    """
    found: list[Behaviour] = []
    faults = Faults()
    for path in paths:
        for folder in (path, path / FOLDER) if path.is_dir() else (path,):
            for file in source_files(folder) if folder == path or folder.is_dir() else ():
                if is_ledger(file.path) or not path.is_dir():
                    _read_entries(read(file.path, file.name), fault_of_glob, found, faults)
    if said := faults.all():
        raise LedgerError(said)
    return tuple(found)


def _read_entries(
    document: Document, fault_of_glob: Callable[[str], str | None], found: list[Behaviour], faults: Faults
) -> None:
    """Add the behaviours of one file to `found`, and what is wrong with it to `faults`."""
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
            taken = next((each for each in found if each.id == fields.id), None)
            if taken is not None:
                problems.append((place.at("id"), f"the id {fields.id} is taken by {taken.where}"))
            for number, glob in enumerate(fields.implementations):
                if fault := fault_of_glob(glob):
                    problems.append((place.at("implementations", number), fault))
            for problem in problems:
                note(*problem)
            if not problems:
                found.append(behaviour_of(fields, document.file, place))
