"""The compressed nights of an environment, and its pointer: the file that names the latest and the last good night."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from conformance.results import ResultsError, Run, header_of, read
from conformance.results.codec import encode
from conformance.results.record import CellRecord, CheckRecord, QuestionRecord, Record

#: The file that names the night that is shown, the last good night, and the night that was set aside.
POINTER: Final = "latest.json"
#: The last nights that keep their evidence. With that of all nights a site would soon be too large for its host.
WHOLE: Final = 14
#: A time in the header of a results file.
STARTED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class NightlyError(ValueError):
    """A night that cannot be published. The message gives the reason in one line."""


class PublishedNight(msgspec.Struct, kw_only=True):
    """A night as the pointer names it."""

    #: Its path below the folder of the environment.
    file: str
    #: ISO 8601.
    started: str
    #: Outcome -> cells.
    counts: dict[str, int] = {}
    #: Whether something got worse since the last good night; only of the latest night.
    worse: bool | msgspec.UnsetType = msgspec.UNSET


class NightAside(msgspec.Struct, kw_only=True):
    """A night that was set aside, which means not published."""

    #: Its path below the folder of the environment; empty where there is no file.
    file: str
    started: str
    reason: str


class Pointer(msgspec.Struct, kw_only=True):
    """The content of the pointer of an environment."""

    latest: PublishedNight | None
    good: PublishedNight | None
    aside: NightAside | None = None


def store_night(results: Path, folder: Path, run: Run | None) -> str:
    """Write a results file compressed, equal bytes for equal files; return its path below the environment's folder."""
    started = "" if run is None else run.header.started
    name = re.sub(r"[^0-9TZ]", "", started) if STARTED.fullmatch(started) else "unknown"
    target = folder / f"{name}.jsonl.gz"
    folder.mkdir(parents=True, exist_ok=True)
    _pack(results.read_bytes(), target)
    return f"{folder.name}/{target.name}"


def prune(folder: Path, limit: int, needed: set[str]) -> None:
    """Remove the oldest nights beyond the last `limit`, but none of `needed`. The names of nights are their times."""
    files = sorted(folder.glob("*.jsonl.gz"))
    for each in files[: max(0, len(files) - limit)]:
        if f"{folder.name}/{each.name}" not in needed:
            each.unlink()


def thin(folder: Path) -> None:
    """
    Remove what only a page needs from all but the last nights: evidence, values, scripts.

    The result is a results file of a tenth of the size, with all that a diff or a history needs. A night that cannot be
    read stays as it is: a history reports it.
    """
    for path in sorted(folder.glob("*.jsonl.gz"))[:-WHOLE]:
        with contextlib.suppress(ResultsError):
            if header_of(path).thinned:
                continue
            run = read(path)
            header = replace(run.header, thinned=True)
            footer = [] if run.footer is None else [run.footer]
            records: tuple[Record, ...] = (header, *run.implementations, *map(_thin_cell, run.cells), *footer)
            _pack("".join(f"{encode(each)}\n" for each in records).encode(), path)


def _thin_cell(cell: CellRecord) -> CellRecord:
    """Return a cell with what a diff or a history needs: of its question the dtype alone."""
    return CellRecord(
        case=cell.case,
        implementation=cell.implementation,
        device=cell.device,
        outcome=cell.outcome,
        checks=[_thin_check(each, cell) for each in cell.checks],
        reason=cell.reason,
        row=cell.row,
        seconds=cell.seconds,
        covered=cell.covered,
        behaviours=cell.behaviours,
        gone=cell.gone,
        powerless=cell.powerless,
        question=QuestionRecord(dtype=cell.dtype or None),
    )


def _thin_check(check: CheckRecord, cell: CellRecord) -> CheckRecord:
    # The message matters only if the cell does not conform.
    message = "" if cell.outcome == "conforms" else check.message
    return CheckRecord(check=check.check, outcome=check.outcome, margin=check.margin, message=message)


def _pack(content: bytes, target: Path) -> None:
    """Write a compressed file, whole or not at all. Equal content gives equal bytes."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(gzip.compress(content, mtime=0))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def last_good(folder: Path, pointer: Pointer, file: str) -> Run | None:
    """
    Return the last good night before the night `file`, None if there is none.

    Raises:
        NightlyError: the last good night cannot be read.
    """
    if pointer.good is None or pointer.good.file == file:
        return None
    try:
        return read(folder / pointer.good.file)
    except ResultsError as error:
        raise NightlyError(f"the last good night cannot be read: {error}") from None


def read_pointer(folder: Path) -> Pointer:
    """
    Return the pointer in the folder of an environment; without a file, one that names no night.

    Raises:
        NightlyError: the file is not a pointer that `write_pointer` wrote.
    """
    path = folder / POINTER
    try:
        pointer = msgspec.json.decode(path.read_bytes(), type=Pointer)
    except FileNotFoundError:
        return Pointer(latest=None, good=None)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NightlyError(f"{path}: not what was published: {error}") from None
    nights = (each for each in (pointer.latest, pointer.good) if each is not None)
    if not all(re.fullmatch(r"history/[0-9TZ]+\.jsonl\.gz", each.file) for each in nights):
        raise NightlyError(f"{path}: not what was published: names a file outside of history/")
    return pointer


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Write the pointer into the folder of an environment."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(msgspec.to_builtins(pointer), indent=2, ensure_ascii=False) + "\n"
    (folder / POINTER).write_text(text, encoding="utf-8", newline="\n")
