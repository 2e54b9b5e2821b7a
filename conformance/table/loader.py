"""
The table: YAML files in, cases out, or else every fault of every file at once.

A file is a mapping of `description`, `defaults` and `rows`; a row with `each` is a family of rows. What belongs to one
row is `conformance.table.expansion`'s; here files, defaults and families are put together and rows are held against
each other, since no two may ask the same question or bear the same id. Nothing here knows a framework.

`python -m conformance.table.loader` writes the JSON Schema that editors complete rows from.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from conformance.table.case import Case
from conformance.table.expansion import Note, cases_of
from conformance.table.files import LEDGER_KEY, Named, default_cases, is_ledger, named, resolved, shown
from conformance.table.schema import OWN_FIELDS, Family, RefusedRow, Row, TableFile, schema
from conformance.table.validation import validate, without
from conformance.table.yaml_document import Document, DocumentError, Fault, Faults, Place, read

__all__ = ["Fault", "Table", "TableError", "default_cases", "lint", "load", "read_rows", "schema", "write_schema"]

SCHEMA: Final = Path(__file__).with_name("case.schema.json")
#: Bounds on what `each` can make of a few lines.
MAX_FAMILY: Final = 1_000
MAX_CASES: Final = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The cases of one or more files, in the order of files and rows, and where the row of each stands, by its id."""

    cases: tuple[Case, ...]
    rows: Mapping[str, tuple[str, Place]] = field(default_factory=dict)

    def fault(self, case: Case, message: str, *path: str | int) -> Fault:
        """Return a fault of a case, at the value at `path` in its row."""
        file, row = self.rows[case.id]
        place = row.at(*path)
        return Fault(file, place.line, place.column, message)


class TableError(DocumentError):
    """A table that cannot be used; `faults` says all that is wrong with it, `sound` holds the rows without a fault."""

    def __init__(self, faults: Sequence[Fault], sound: Table) -> None:
        super().__init__(faults)
        self.sound = sound


def load(paths: Sequence[Path]) -> Table:
    """
    Read the table from files, and from folders for the files in them; files of a ledger are passed over.

    Raises:
        TableError: anything is wrong with any file; carries all of it.
    """
    return _Reading.of(paths).table()


def read_rows(rows: Sequence[Mapping[str, Any]], file: str) -> Table:
    """
    Read the table from rows that are data already, as if each stood on a line of its own in a file of that name.

    Raises:
        TableError: anything is wrong with any row; carries all of it.
    """
    places: dict[str | int, Place] = {index: _on_line(index + 1, row) for index, row in enumerate(rows)}
    place = Place(1, 1, items={"rows": Place(1, 1, items=places)})
    return _Reading.of_document(Document(file=file, data={"rows": list(rows)}, place=place, faults=())).table()


def _on_line(line: int, row: Mapping[str, Any]) -> Place:
    """Return the places of a row all of which stands on one line."""
    here = Place(line, 1)
    return Place(line, 1, dict.fromkeys(row, here), dict.fromkeys(row, here))


def lint(paths: Sequence[Path]) -> tuple[Fault, ...]:
    """Return all that is wrong with the table in `paths`, in the order of files, lines and columns."""
    return _Reading.of(paths).faults.found()


def write_schema(path: Path = SCHEMA) -> None:
    """Write the JSON Schema of a file of the table."""
    path.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Found:
    """A case, and the row it comes from."""

    case: Case
    file: str
    place: Place


@dataclass
class _Reading:
    """All that has been read so far, good and bad; a bad default is seen once per row."""

    faults: Faults = field(default_factory=Faults)
    found: list[_Found] = field(default_factory=list)
    kept: list[_Found] = field(default_factory=list)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _Reading:
        """Read everything in `paths`, and hold its rows against each other."""
        reading = cls()
        for file in reading._files(paths):
            reading._file(read(file.path, file.shown))
        if paths and not reading.found and not reading.faults.found():
            reading.faults.add(Fault(shown(paths[0]), 1, 1, "no rows here"))
        reading._compare()
        return reading

    @classmethod
    def of_document(cls, document: Document) -> _Reading:
        """Read one document, and hold its rows against each other."""
        reading = cls()
        reading._file(document)
        reading._compare()
        return reading

    def table(self) -> Table:
        """
        Return what was read.

        Raises:
            TableError: anything is wrong with it; carries all of it.
        """
        rows = {found.case.id: (found.file, found.place) for found in self.kept}
        table = Table(cases=tuple(found.case for found in self.kept), rows=rows)
        if faults := self.faults.found():
            raise TableError(faults, table)
        return table

    def _files(self, paths: Sequence[Path]) -> Iterator[Named]:
        """Yield each file of the table once, in the order asked for."""
        seen: set[Path] = set()
        for asked in paths:
            tables = [each for each in named(asked) if not is_ledger(each.path)]
            if asked.is_dir() and not tables:
                self.faults.add(Fault(shown(asked), 1, 1, "no rows here: a folder without a file of the table"))
            for each in tables:
                if (path := resolved(each.path)) not in seen:
                    seen.add(path)
                    yield each

    def _file(self, document: Document) -> None:
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
        common = _Fields(without(defaults, *OWN_FIELDS), place.at("defaults"))
        before = len(self.found)
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, dict):
                self._row(_Fields(row, place.at("rows", index)), common, file, note)
            if len(self.found) - before > MAX_CASES:
                note(place.at("rows", index), f"more than {MAX_CASES} cases in one file: split it")
                return

    def _row(self, row: _Fields, defaults: _Fields, file: str, note: Note) -> None:
        for member in _members(row, note):
            merged = defaults.updated(member)
            place = Place(row.place.line, row.place.column, merged.place.keys, merged.place.items)
            expect = merged.data.get("expect")
            refused = isinstance(expect, dict) and expect.get("error") is True
            checked = validate(RefusedRow if refused else Row, merged.data, place, note)
            if checked is not None:
                cases = cases_of(checked, place, note, f"{file}:{place.line}")
                self.found += (_Found(case, file, place) for case in cases)

    def _compare(self) -> None:
        """Keep what is asked once; note rows that ask the same, and cases of one id."""
        written: dict[bytes, _Found] = {}
        for found in self.found:
            if not found.case.twin and (first := written.setdefault(found.case.digest, found)) is not found:
                self._note(found, f"asks the same question as {first.case.row}")
        by_id: dict[str, _Found] = {}
        twins: set[bytes] = set()
        for found in self.found:
            digest = found.case.digest
            if found.case.twin:
                # Nobody wrote a twin, so one that is asked anyway is no mistake.
                if digest in written or digest in twins:
                    continue
                twins.add(digest)
            elif written[digest] is not found:
                continue
            first = by_id.setdefault(found.case.id, found)
            if first is not found:
                self._note(found, f"the id {found.case.id} is taken by {first.case.row}")
            self.kept.append(found)

    def _note(self, found: _Found, message: str) -> None:
        self.faults.add(Fault(found.file, found.place.line, found.place.column, message))


@dataclass(frozen=True, slots=True)
class _Fields:
    """Some fields of a row, with the places of their keys and values."""

    data: Mapping[str, Any]
    place: Place

    def updated(self, other: _Fields) -> _Fields:
        """Return these fields with those of `other` in front of them."""
        place = Place(
            other.place.line,
            other.place.column,
            {**self.place.keys, **other.place.keys},
            {**self.place.items, **other.place.items},
        )
        return _Fields({**self.data, **other.data}, place)


def _members(row: _Fields, note: Note) -> Iterator[_Fields]:
    """Yield the rows that `each` makes of one, the row itself where it has none; nothing where `each` is at fault."""
    own = _Fields(without(row.data, "each"), row.place)
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
        for chosen in itertools.product(*(range(len(values)) for values in family.each.values())):
            picks = dict(zip(family.each, chosen, strict=True))
            data = {name: family.each[name][index] for name, index in picks.items()}
            items: dict[str | int, Place] = {name: place.at(name, index) for name, index in picks.items()}
            picked = _Fields(data, Place(place.line, place.column, place.keys, items))
            yield own.updated(picked)


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
