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
import sys
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
    first = True
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
        if first and record["type"] == "header" and record.get("schema") != SCHEMA:
            yield record  # of the rest this version knows nothing
            return
        first = False
        if strict and (misfit := _fault(record)) is not None:
            raise ResultsError(f"{path}:{number}: not a record of a results file: {misfit}")
        yield record


def _fault(record: Record) -> str | None:
    """Return what in a record is not as every reader relies on, None where all is."""
    kind = record["type"]
    fault = _misfit(record, _OPTIONAL[kind], _REQUIRED.get(kind, ()))
    if fault is not None or kind != "cell":
        return fault
    checks, crash = record.get("checks"), record.get("crash")
    if not isinstance(checks, list):
        return "checks is not a list"
    fault = None if crash is None else _misfit(crash, {}, ("reason",))
    for each in checks:
        fault = fault or ("a check is not a mapping" if not isinstance(each, dict) else _fault_of_check(each))
    return fault


def _fault_of_check(check: Record) -> str | None:
    fault = _misfit(check, _OPTIONAL["check"], ("check", "outcome"))
    raised = check.get("raised")
    return fault if fault is not None or raised is None else _misfit(raised, {}, ("type", "message"))


def _misfit(record: Record, optional: Mapping[str, str], required: Iterable[str]) -> str | None:
    """Return which of the `required` names is not text, or what else is neither left out nor as it should be."""
    for name in required:
        if not isinstance(record.get(name), str):
            return f"{name} is not text"
    for name, wanted in optional.items():
        value = record.get(name, _LEFT_OUT)
        if value is not _LEFT_OUT and not _IS[wanted](value):
            return f"{name} is not {wanted}"
    return None


def _is_number(value: object) -> bool:
    """Return whether a value is a number, or the string that stands for one that is not finite."""
    if isinstance(value, str):
        return value in ("inf", "-inf", "nan")
    # An integer may be larger than any float, and every reader makes a float of it.
    return isinstance(value, float) or (type(value) is int and abs(value) <= sys.float_info.max)


_LEFT_OUT: Final = object()
_IS: Final[Mapping[str, Callable[[object], bool]]] = {
    "text": lambda value: isinstance(value, str),
    "a mapping": lambda value: isinstance(value, dict),
    "a list": lambda value: isinstance(value, list),
    "a number": _is_number,
    "a count": lambda value: type(value) is int and value >= 0,
    "true or false": lambda value: isinstance(value, bool),
}
_REQUIRED: Final = {
    "implementation": ("implementation",),
    "cell": ("case", "implementation", "device", "outcome"),
}
#: What may be left out, and what it is where it is there; whatever else a record holds is nobody's to rely on.
_OPTIONAL: Final[Mapping[str, Mapping[str, str]]] = {
    "header": {
        "cells": "a count",
        "started": "text",
        "distributions": "a mapping",
        "platform": "a mapping",
        "selection": "a mapping",
    },
    "implementation": {"versions": "a mapping", "settings": "a mapping", "devices": "a list"},
    "cell": {
        "question": "a mapping",
        "crash": "a mapping",
        "steps": "a mapping",
        "reason": "text",
        "row": "text",
        "why": "text",
        "seconds": "a number",
    },
    "check": {"message": "text", "margin": "a number", "raised": "a mapping"},
    "footer": {"counts": "a mapping", "complete": "true or false", "seconds": "a number"},
}
