"""
The table: read from YAML files, as cases or as all faults of all files.

A file is a mapping of `description`, `defaults` and `rows`; a row with `each` is a family of rows. This module merges
files, defaults and families, and compares rows, since no two may have the same question or the same id.
`conformance.table.expansion` makes the cases of one row.

`python -m conformance.table.loader` writes the JSON Schema from which editors complete rows.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conformance.table.case import Case
from conformance.table.expansion import Note, cases_of
from conformance.table.files import (
    LEDGER_KEY,
    SourceFile,
    default_cases,
    display_name,
    is_ledger,
    real_path,
    source_files,
)
from conformance.table.schema import OWN_FIELDS, Family, RefusedRow, Row, TableFile, schema
from conformance.table.validation import omit, validate
from conformance.table.yaml_document import Document, DocumentError, Fault, Faults, Place, read

__all__ = ["Fault", "Table", "TableError", "default_cases", "lint", "load", "read_rows", "schema", "write_schema"]

SCHEMA: Final = Path(__file__).with_name("case.schema.json")
#: Most rows of one family, and most cases of one file: a few lines with `each` can make very many.
MAX_FAMILY: Final = 1_000
MAX_CASES: Final = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The cases of one or more files, in the order of files and rows."""

    cases: tuple[Case, ...]
    #: By the id of a case: the file and the place of its row.
    rows: Mapping[str, tuple[str, Place]] = field(default_factory=dict)

    def fault(self, case: Case, message: str, *path: str | int) -> Fault:
        """Return a fault of a case, at the value that `path` names in its row."""
        file, row = self.rows[case.id]
        place = row.at(*path)
        return Fault(file, place.line, place.column, message)


class TableError(DocumentError):
    """A table with faults. `sound` is the table of the rows without one."""

    def __init__(self, faults: Sequence[Fault], sound: Table) -> None:
        super().__init__(faults)
        self.sound = sound


def load(paths: Sequence[Path]) -> Table:
    """
    Return the table of files, and of the files in folders, without files of the ledger.

    Raises:
        TableError: a file has a fault. The error has all faults of all files.
    """
    return _TableReader.of(paths).table()


def read_rows(rows: Sequence[Mapping[str, object]], file: str) -> Table:
    """
    Return the table of rows that are data already, as if a file of that name had each on a line of its own.

    Raises:
        TableError: a row has a fault. The error has all faults of all rows.
    """
    places: dict[str | int, Place] = {index: _on_line(index + 1, row) for index, row in enumerate(rows)}
    place = Place(1, 1, items={"rows": Place(1, 1, items=places)})
    document = Document(file=file, data={"rows": list(rows)}, place=place, faults=())
    return _TableReader.of_document(document).table()


def _on_line(line: int, row: Mapping[str, object]) -> Place:
    """Return the places of a row that stands on one line."""
    here = Place(line, 1)
    return Place(line, 1, dict.fromkeys(row, here), dict.fromkeys(row, here))


def lint(paths: Sequence[Path]) -> tuple[Fault, ...]:
    """Return all faults of the table in `paths`, in the order of files, lines and columns."""
    return _TableReader.of(paths).faults.all()


def write_schema(path: Path = SCHEMA) -> None:
    """Write the JSON Schema of a file of the table."""
    path.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _PlacedCase:
    """A case, and where its row stands."""

    case: Case
    file: str
    place: Place


@dataclass
class _TableReader:
    """The cases and the faults of the files that have been read. A fault of a default counts once for each row."""

    faults: Faults = field(default_factory=Faults)
    #: All cases of all rows.
    cases: list[_PlacedCase] = field(default_factory=list)
    #: The cases without those that repeat a question or an id.
    distinct: list[_PlacedCase] = field(default_factory=list)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _TableReader:
        """Return a reader that has read everything in `paths` and compared its rows."""
        reader = cls()
        for file in reader._files(paths):
            reader._read(read(file.path, file.name))
        if paths and not reader.cases and not reader.faults.all():
            reader.faults.add(Fault(display_name(paths[0]), 1, 1, "no rows here"))
        reader._compare()
        return reader

    @classmethod
    def of_document(cls, document: Document) -> _TableReader:
        """Return a reader that has read one document and compared its rows."""
        reader = cls()
        reader._read(document)
        reader._compare()
        return reader

    def table(self) -> Table:
        """
        Return the table of all files read.

        Raises:
            TableError: a file has a fault. The error has all faults of all files.
        """
        rows = {each.case.id: (each.file, each.place) for each in self.distinct}
        table = Table(cases=tuple(each.case for each in self.distinct), rows=rows)
        if faults := self.faults.all():
            raise TableError(faults, table)
        return table

    def _files(self, paths: Sequence[Path]) -> Iterator[SourceFile]:
        """Yield each file of the table once, in the order of `paths`."""
        seen: set[Path] = set()
        for path in paths:
            tables = [each for each in source_files(path) if not is_ledger(each.path)]
            if path.is_dir() and not tables:
                self.faults.add(Fault(display_name(path), 1, 1, "no rows here: a folder without a file of the table"))
            for each in tables:
                if (real := real_path(each.path)) not in seen:
                    seen.add(real)
                    yield each

    def _read(self, document: Document) -> None:
        """Add the cases and the faults of one file."""
        data, place, file = document.data, document.place, document.file
        self.faults.update(document.faults)
        if data is None or (isinstance(data, dict) and LEDGER_KEY in data):
            return

        def note(where: Place, message: str) -> None:
            self.faults.add(Fault(file, where.line, where.column, message))

        validate(TableFile, data, place, note)
        if not isinstance(data, dict):
            return
        defaults = data.get("defaults")
        defaults = defaults if isinstance(defaults, dict) else {}
        for name in OWN_FIELDS:
            if name in defaults:
                note(place.at("defaults").keys[name], f"{name} belongs to one row: it cannot be a default")
        rows = data.get("rows")
        common = _Fields(omit(defaults, *OWN_FIELDS), place.at("defaults"))
        before = len(self.cases)
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, dict):
                self._read_row(_Fields(row, place.at("rows", index)), common, file, note)
            if len(self.cases) - before > MAX_CASES:
                note(place.at("rows", index), f"more than {MAX_CASES} cases in one file: split it")
                return

    def _read_row(self, row: _Fields, defaults: _Fields, file: str, note: Note) -> None:
        for member in _members(row, note):
            merged = defaults.merge(member)
            place = Place(row.place.line, row.place.column, merged.place.keys, merged.place.items)
            expect = merged.data.get("expect")
            expects_error = isinstance(expect, dict) and expect.get("error") is True
            valid = validate(RefusedRow if expects_error else Row, merged.data, place, note)
            if valid is not None:
                cases = cases_of(valid, place, note, f"{file}:{place.line}")
                self.cases += (_PlacedCase(case, file, place) for case in cases)

    def _compare(self) -> None:
        """Sort out the distinct cases; add a fault for each row that repeats a question or an id."""
        by_digest: dict[bytes, _PlacedCase] = {}
        for each in self.cases:
            if not each.case.twin and (first := by_digest.setdefault(each.case.digest, each)) is not each:
                self._add_fault(each, f"has the same question as {first.case.row}")
        by_id: dict[str, _PlacedCase] = {}
        twins: set[bytes] = set()
        for each in self.cases:
            digest = each.case.digest
            if each.case.twin:
                # No author wrote the twin, so a twin that repeats a question is not a fault.
                if digest in by_digest or digest in twins:
                    continue
                twins.add(digest)
            elif by_digest[digest] is not each:
                continue
            first = by_id.setdefault(each.case.id, each)
            if first is not each:
                self._add_fault(each, f"the id {each.case.id} is taken by {first.case.row}")
            self.distinct.append(each)

    def _add_fault(self, each: _PlacedCase, message: str) -> None:
        self.faults.add(Fault(each.file, each.place.line, each.place.column, message))


@dataclass(frozen=True, slots=True)
class _Fields:
    """Some fields of a row, with the places of their keys and values."""

    data: Mapping[str, object]
    place: Place

    def merge(self, other: _Fields) -> _Fields:
        """Return these fields and those of `other`, which take precedence, at the place of `other`."""
        place = Place(
            other.place.line,
            other.place.column,
            {**self.place.keys, **other.place.keys},
            {**self.place.items, **other.place.items},
        )
        return _Fields({**self.data, **other.data}, place)


def _members(row: _Fields, note: Note) -> Iterator[_Fields]:
    """Yield the rows of a family, or the row itself where it has no `each`; nothing where `each` has a fault."""
    own = _Fields(omit(row.data, "each"), row.place)
    if "each" not in row.data:
        yield own
        return
    place = row.place.at("each")
    around = Place(row.place.line, row.place.column, row.place.keys, {"each": place})
    family = validate(Family, {"each": row.data["each"]}, around, note)
    if family is None or family.each is None:
        return
    problems = [*_family_problems(row, family.each, place)]
    for problem in problems:
        note(*problem)
    if not problems:
        for combination in itertools.product(*(range(len(values)) for values in family.each.values())):
            indices = dict(zip(family.each, combination, strict=True))
            data = {name: family.each[name][index] for name, index in indices.items()}
            items: dict[str | int, Place] = {name: place.at(name, index) for name, index in indices.items()}
            yield own.merge(_Fields(data, Place(place.line, place.column, place.keys, items)))


def _family_problems(row: _Fields, each: Mapping[str, Sequence[object]], place: Place) -> Iterator[tuple[Place, str]]:
    if not each:
        yield place, "each is empty: leave it out"
    if "id" in row.data:
        yield row.place.keys["id"], "an id names one row, and each makes many"
    for name in each:
        if name in OWN_FIELDS:
            yield place.keys[name], f"{name} belongs to one row: each cannot vary it"
        elif name in row.data:
            yield place.keys[name], f"{name} is given by the row as well"
    if (size := math.prod(map(len, each.values()))) > MAX_FAMILY:
        yield place, f"each makes {size} rows of one, more than {MAX_FAMILY}"


if __name__ == "__main__":
    write_schema()
