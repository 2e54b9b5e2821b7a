"""
Outcomes, and the results file: one JSON object a line, written as cells end, so that a run cut short keeps what it had.

The file begins with a header, then holds a line per implementation that ran and a line per cell, and ends with a
footer; without a footer the run was broken off. Numbers that are not finite are written as strings. This module knows
what a results file looks like and nothing of how its content came about.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

SCHEMA: Final = 1

#: Outcomes of a cell, worst first. The outcome of a cell is its worst check's.
OUTCOMES: Final = ("crashed", "timed_out", "violates", "diverges", "conforms", "unsupported", "not_run")
#: Outcomes that fail a run.
FAILING: Final = ("crashed", "timed_out", "violates")

Record = Mapping[str, Any]


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
        counted = Counter(cell["outcome"] for cell in self.cells)
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

    def header(self, **content: object) -> None:
        """Write the first line."""
        self._line({"type": "header", "schema": SCHEMA, **content})

    def implementation(self, **content: object) -> None:
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
        self.stream.write(line + "\n")
        self.stream.flush()


def finite(value: Any) -> Any:
    """Return `value` as JSON can hold it: tuples as lists, numbers that are not finite as the strings of their repr."""
    try:
        # Most values can be held as they are, and there and back through text takes a tenth of a walk's time.
        return json.loads(json.dumps(value, allow_nan=False))
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
    Read one results file.

    A last line that was cut in the middle of being written is dropped, as the run was then broken off. A file whose
    name ends with `.gz` is unpacked, as nights are kept so. Who is not `strict`, as a page that shows whatever there
    is, takes records that lack what others rely on.

    Raises:
        ResultsError: the file cannot be opened, is not UTF-8, has a line that is not a record or lacks what every
            record of its kind has, is of a newer schema, or does not begin with a header.
    """
    try:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).split(b"\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ResultsError(f"{path}: cannot be unpacked: {error}") from None
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    records = list(_records(path, lines, strict=strict))
    if not records or records[0].get("type") != "header":
        raise ResultsError(f"{path}:1: not a results file: the first line is not a header")
    schema = records[0].get("schema")
    if schema != SCHEMA:
        raise ResultsError(f"{path}:1: schema {schema!r}, but this version reads schema {SCHEMA}")
    return Run(
        path=str(path),
        header=records[0],
        implementations=tuple(each for each in records if each["type"] == "implementation"),
        cells=tuple(each for each in records if each["type"] == "cell"),
        footer=next((each for each in records if each["type"] == "footer"), None),
    )


def _records(path: Path, lines: list[bytes], *, strict: bool) -> Iterable[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            # A file cut anywhere ends within a line, perhaps within a character.
            if number == len(lines):
                return
            fault = "UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
            raise ResultsError(f"{path}:{number}: not {fault}") from None
        if not isinstance(record, dict) or record.get("type") not in ("header", "implementation", "cell", "footer"):
            raise ResultsError(f"{path}:{number}: not a record of a results file")
        lacking = _LACKING.get(record["type"], _nothing)(record)
        if strict and lacking is not None:
            raise ResultsError(f"{path}:{number}: not a record of a results file: {lacking}")
        yield record


def _nothing(record: Record) -> None:
    return None


def _of_header(record: Record) -> str | None:
    """Return what a header lacks that every reader relies on."""
    cells = record.get("cells", 0)
    return None if type(cells) is int and cells >= 0 else "cells is not a number of cells"


def _of_implementation(record: Record) -> str | None:
    return None if isinstance(record.get("implementation"), str) else "implementation is not a name"


def _of_cell(record: Record) -> str | None:
    for name in _NAMES:
        if not isinstance(record.get(name), str):
            return f"{name} is not a name"
    checks = record.get("checks")
    if not isinstance(checks, list):
        return "checks is not a list"
    for each in checks:
        if not (isinstance(each, dict) and isinstance(each.get("check"), str) and isinstance(each.get("outcome"), str)):
            return "a check has no name and outcome"
    return None


_NAMES: Final = ("case", "implementation", "device", "outcome")
_LACKING: Final[Mapping[str, Callable[[Record], str | None]]] = {
    "header": _of_header,
    "implementation": _of_implementation,
    "cell": _of_cell,
}
