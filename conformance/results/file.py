"""
Outcomes, and the results file: one JSON object a line, written as cells end, so that a run cut short keeps what it had.

The file begins with a header, then holds a line per implementation that ran and a line per cell, and ends with a
footer; without a footer the run was broken off. Numbers that are not finite are written as strings. This module knows
what a results file looks like and nothing of how its content came about.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from conformance.results.record import OUTCOMES, Record, decoded, fault

SCHEMA: Final = 1

#: What is said of any other file, such as one of the table.
NO_RESULTS: Final = "not a results file; `conformance run` writes one"
#: Outcomes that fail a run.
FAILING: Final = ("crashed", "timed_out", "violates")
#: Outcomes of cells of which nothing was observed that could be judged.
UNJUDGED: Final = ("unsupported", "not_run")
#: How the field `reproduce` of a record begins where no script could be written.
NO_SCRIPT: Final = "# No script could be written"

_HALF: Final = re.compile("[\ud800-\udfff]")


class ResultsError(ValueError):
    """A results file that cannot be read; says file and line."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """
    One results file, read.

    `footer` is None where the run was broken off; `cells` are in file order.
    """

    path: str
    header: Record
    implementations: tuple[Record, ...]
    cells: tuple[Record, ...]
    footer: Record | None

    @property
    def counts(self) -> dict[str, int]:
        """Return how many cells have each outcome, cells that never got a line counted as `not_run`."""
        counted = Counter(str(cell.get("outcome")) for cell in self.cells)
        counted["not_run"] += max(0, int(self.header.get("cells", 0)) - len(self.cells))
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def complete(self) -> bool:
        """Return whether the run came to its end."""
        return self.footer is not None and bool(self.footer.get("complete"))


@dataclass
class Writer:
    """Writes a results file line by line; every line is flushed, so that a crash loses none before it."""

    stream: IO[str]
    counts: Counter[str] = field(default_factory=Counter)

    # `self` has no name that a field could have: what is merged holds whatever somebody wrote into a file.
    def header(self, /, **content: object) -> None:
        """Write the first line."""
        self._line({"type": "header", "schema": SCHEMA, **content})

    def implementation(self, /, **content: object) -> None:
        """Write what an implementation's process said of itself."""
        self._line({"type": "implementation", **content})

    def cell(self, record: Record) -> None:
        """Write the result of one cell; `record` holds at least case, implementation, device, outcome and checks."""
        self.counts[record["outcome"]] += 1
        self._line({"type": "cell", **record})

    def footer(self, *, complete: bool, seconds: float, **content: object) -> None:
        """Write the last line: every outcome with its count, how long the run took (seconds of wall time), and more."""
        counts = {outcome: self.counts[outcome] for outcome in OUTCOMES}
        self._line({"type": "footer", "counts": counts, "complete": complete, "seconds": seconds, **content})

    def _line(self, content: Mapping[str, object]) -> None:
        try:
            line = json.dumps(content, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):
            line = json.dumps(finite(content), ensure_ascii=False, allow_nan=False)
        # Half of a surrogate pair, as a framework's message may hold, is no character that UTF-8 could encode.
        self.stream.write(_HALF.sub("\N{REPLACEMENT CHARACTER}", line) + "\n")
        self.stream.flush()


def has_script(record: Mapping[str, Any]) -> bool:
    """Return whether `conformance reproduce` has a script for a failing cell; a long one is not in its record."""
    script = record.get("reproduce")
    return not script.startswith(NO_SCRIPT) if isinstance(script, str) else "question" in record


def finite(value: Any) -> Any:
    """Return `value` as JSON can hold it: tuples as lists, numbers that are not finite as the strings of their repr."""
    try:
        # Most values can be held as they are, and there and back through text takes a tenth of a walk's time.
        return decoded(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError):
        return _finite(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def read(path: Path, *, strict: bool = True) -> Run:
    """
    Read one results file into memory, which takes about four times as much as the file: see `docs/scale.md`.

    A last line that was cut in the middle of being written is dropped, as the run was then broken off. A file whose
    name ends with `.gz` is unpacked, as nights are kept so. Who is not `strict`, as a page that shows whatever there
    is, takes records that lack what others rely on.

    Raises:
        ResultsError: the file cannot be opened, is not UTF-8, has a line that is not a record or lacks what every
            record of its kind has, is of a newer schema, or does not begin with a header.
    """
    with without_collection():
        lines = _lines(path)
        header = _header(path, lines, strict=strict)
        records = list(_body(path, lines, strict=strict))
    return Run(
        path=str(path),
        header=header,
        implementations=tuple(each for each in records if each.get("type") == "implementation"),
        cells=tuple(each for each in records if each.get("type") == "cell"),
        footer=next((each for each in records if each.get("type") == "footer"), None),
    )


def header_of(path: Path) -> Record:
    """Return the header of a results file, and read no further; raises `ResultsError` as `read`."""
    return _header(path, _lines(path), strict=True)


def _body(path: Path, lines: Iterator[tuple[int, bytes]], *, strict: bool) -> Iterator[Record]:
    """Yield the records after the header, up to a line that was cut in the middle of being written."""
    ended = False
    for number, line in lines:
        record = _record(path, number, line, strict=strict)
        kind = record.get("type")
        if strict and (ended or kind == "header"):
            what = "a line after the footer" if ended else "a second header"
            raise ResultsError(f"{path}:{number}: {what}: a results file is of one run")
        if kind is None:
            return
        ended = kind == "footer"
        yield record


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage meanwhile: among many records there is none, and looking for it takes half of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
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


def _header(path: Path, lines: Iterator[tuple[int, bytes]], *, strict: bool) -> Record:
    """Return the first record, the header."""
    number, line = next(lines, (1, b""))
    try:
        record = decoded(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("type") != "header":
        raise ResultsError(f"{path}:{number}: {NO_RESULTS}")
    schema = record.get("schema")
    if schema != SCHEMA:  # of the rest this version knows nothing
        said = f"schema {schema!r}" if type(schema) is int else "no schema"
        raise ResultsError(f"{path}:{number}: {said}, but this version reads schema {SCHEMA}")
    return _sound(path, number, line, record) if strict else record


def _record(path: Path, number: int, line: bytes, *, strict: bool) -> Record:
    """Return the record of a line; an empty one where the line was cut in the middle of being written."""
    try:
        record = decoded(line)
    except ValueError as error:
        # A file cut anywhere ends within a line, perhaps within a character.
        if not line.endswith(b"\n"):
            return {}
        raise ResultsError(f"{path}:{number}: {error}") from None
    if not isinstance(record, dict) or record.get("type") not in ("header", "implementation", "cell", "footer"):
        raise ResultsError(f"{path}:{number}: not a record of a results file")
    return _sound(path, number, line, record) if strict else record


def _sound(path: Path, number: int, line: bytes, record: Record) -> Record:
    """Return a record that has what every reader relies on, or raise `ResultsError`."""
    if (said := fault(line)) is not None:
        raise ResultsError(f"{path}:{number}: not a record of a results file: {said}")
    return record
