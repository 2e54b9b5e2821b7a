"""
The results file: one JSON object a line. Each line is written as soon as a cell ends, so that a crash loses none.

The file begins with a header, has a line for each implementation that ran and for each cell, and ends with a footer.
Without a footer the run was broken off. Numbers that are not finite are written as strings.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

from conformance.results.codec import BrokenLine, UnfitLine, encode, record_of, schema_of
from conformance.results.record import (
    OUTCOMES,
    SCHEMA,
    CellRecord,
    FooterRecord,
    HeaderRecord,
    ImplementationRecord,
    MeasurementRecord,
    Record,
)

#: The message for any other file, such as one of the table.
NO_RESULTS: Final = "not a results file; `conformance run` writes one"
#: Outcomes that fail a run.
FAILING: Final = ("crashed", "timed_out", "violates")
#: Outcomes of cells without any answer to judge.
UNJUDGED: Final = ("unsupported", "not_run")
#: The beginning of the field `reproduce` where no script could be written.
NO_SCRIPT: Final = "# No script could be written"


class ResultsError(ValueError):
    """A results file that cannot be read. The message names file and line."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """
    The content of one results file.

    `footer` is None where the run was broken off. `cells` are in the order of the file.
    """

    path: str
    header: HeaderRecord
    implementations: tuple[ImplementationRecord, ...]
    cells: tuple[CellRecord, ...]
    footer: FooterRecord | None

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells with each outcome. Cells without a line count as `not_run`."""
        counted: Counter[str] = Counter(cell.outcome for cell in self.cells)
        counted["not_run"] += max(0, self.header.cells - len(self.cells))
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return self.footer is not None and self.footer.complete


@dataclass
class Writer:
    """Writes a results file line by line, and flushes each line."""

    stream: IO[str]
    counts: Counter[str] = field(default_factory=Counter)

    def header(self, record: HeaderRecord) -> None:
        """Write the first line."""
        self._line(record)

    def implementation(self, record: ImplementationRecord) -> None:
        """Write what the process of an implementation reports about itself."""
        self._line(record)

    def cell(self, record: CellRecord) -> None:
        """Write the result of one cell."""
        self.counts[record.outcome] += 1
        self._line(record)

    def footer(
        self,
        *,
        complete: bool,
        seconds: float,
        behaviours: Mapping[str, Mapping[str, int]] | None = None,
        measured: Iterable[MeasurementRecord] | None = None,
    ) -> None:
        """
        Write the last line, with the count of every outcome.

        - `complete`: whether every planned cell has an outcome.
        - `seconds`: the wall time of the run.
        - `behaviours`: the facts of `BehaviourCounts`.
        - `measured`: the facts of `Measurements`.
        """
        self._line(
            FooterRecord(
                counts={outcome: self.counts[outcome] for outcome in OUTCOMES},
                complete=complete,
                seconds=seconds,
                behaviours=None if behaviours is None else {name: dict(each) for name, each in behaviours.items()},
                measured=None if measured is None else list(measured),
            )
        )

    def _line(self, record: Record) -> None:
        self.stream.write(f"{encode(record)}\n")
        self.stream.flush()


def has_script(record: CellRecord) -> bool:
    """Return whether `conformance reproduce` can print a script for a failing cell; a long one is not in the record."""
    if record.reproduce:
        return not record.reproduce.startswith(NO_SCRIPT)
    return record.question is not None


def read(path: Path, *, strict: bool = True) -> Run:
    """
    Read one results file into memory, which takes about four times the size of the file: see `docs/scale.md`.

    An incomplete last line is dropped: the run was then broken off. A file whose name ends with `.gz` is unpacked.

    - `path`: the file.
    - `strict`: if False, a field that does not fit its type is moved into `rest`, as for a page that shows any file.

    Raises:
        ResultsError: the file cannot be opened, is not UTF-8, has a line that is not a record or lacks a required
            field, is of a newer schema, or does not begin with a header.
    """
    with without_collection():
        lines = _lines(path)
        header = _header(path, lines, strict=strict)
        records = list(_body(path, lines, strict=strict))
    return Run(
        path=str(path),
        header=header,
        implementations=tuple(each for each in records if isinstance(each, ImplementationRecord)),
        cells=tuple(each for each in records if isinstance(each, CellRecord)),
        footer=next((each for each in records if isinstance(each, FooterRecord)), None),
    )


def header_of(path: Path) -> HeaderRecord:
    """Return the header of a results file without reading the rest; raises `ResultsError` as `read` does."""
    return _header(path, _lines(path), strict=True)


def _body(path: Path, lines: Iterator[tuple[int, bytes]], *, strict: bool) -> Iterator[Record]:
    """Yield the records after the header, up to an incomplete last line."""
    ended = False
    for number, line in lines:
        record = _record(path, number, line, strict=strict)
        if strict and (ended or isinstance(record, HeaderRecord)):
            what = "a line after the footer" if ended else "a second header"
            raise ResultsError(f"{path}:{number}: {what}: a results file is of one run")
        if record is None:
            return
        ended = isinstance(record, FooterRecord)
        yield record


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Disable the garbage collector: many records make no garbage, and looking for it takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, each after its number from 1; raises `ResultsError`."""
    try:
        with cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.isspace():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ResultsError(f"{path}: cannot be unpacked: {error}") from None
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None


def _header(path: Path, lines: Iterator[tuple[int, bytes]], *, strict: bool) -> HeaderRecord:
    """Return the first record, the header."""
    number, line = next(lines, (1, b""))
    try:
        schema = schema_of(line)
    except ValueError:
        raise ResultsError(f"{path}:{number}: {NO_RESULTS}") from None
    if schema != SCHEMA:
        named = f"schema {schema!r}" if type(schema) is int else "no schema"
        raise ResultsError(f"{path}:{number}: {named}, but this version reads schema {SCHEMA}")
    record = _record(path, number, line, strict=strict)
    assert isinstance(record, HeaderRecord)
    return record


def _record(path: Path, number: int, line: bytes, *, strict: bool) -> Record | None:
    """Return the record of a line, None where it is the incomplete last line."""
    try:
        return record_of(line, strict=strict)
    except BrokenLine as error:
        # A file that was cut ends within a line, perhaps within a character.
        if not line.endswith(b"\n"):
            return None
        raise ResultsError(f"{path}:{number}: {error}") from None
    except UnfitLine as error:
        raise ResultsError(f"{path}:{number}: {error}") from None
