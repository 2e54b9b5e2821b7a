"""The nights kept of an environment, compressed, and the pointer: the file that names the latest and the good one."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from conformance.results import ResultsError, Run, header_of, read
from conformance.results.codec import encoded
from conformance.results.record import CellRecord, CheckRecord, QuestionRecord, Record

#: The file that says which night is shown, which is the last good one, and which was kept aside.
POINTER: Final = "latest.json"
#: The last nights that are kept with all they said. Older ones would soon be more than a host of pages takes.
WHOLE: Final = 14
#: A time in the header of a results file.
STARTED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class NightlyError(ValueError):
    """What was asked for cannot be published at all; says why in a line."""


def keep_night(results: Path, folder: Path, run: Run | None) -> str:
    """Write a results file compressed, the same bytes for the same file; return its path below the environment."""
    started = "" if run is None else run.header.started
    name = re.sub(r"[^0-9TZ]", "", started) if STARTED.fullmatch(started) else "unknown"
    target = folder / f"{name}.jsonl.gz"
    folder.mkdir(parents=True, exist_ok=True)
    _pack(results.read_bytes(), target)
    return f"{folder.name}/{target.name}"


def prune(folder: Path, keep: int, needed: set[str]) -> None:
    """Remove the oldest nights beyond `keep`; their names are when they began."""
    files = sorted(folder.glob("*.jsonl.gz"))
    for each in files[: max(0, len(files) - keep)]:
        if f"{folder.name}/{each.name}" not in needed:
            each.unlink()


def thin(folder: Path) -> None:
    """
    Take what only a page shows out of all but the last nights: evidence, values, scripts.

    What is left, a tenth, is a results file still, with all that a diff or a history asks of it. A night that cannot be
    read stays as it is: a history says so.
    """
    for path in sorted(folder.glob("*.jsonl.gz"))[:-WHOLE]:
        with contextlib.suppress(ResultsError):
            if header_of(path).thinned:
                continue
            run = read(path)
            header = replace(run.header, thinned=True)
            footer = [] if run.footer is None else [run.footer]
            records: tuple[Record, ...] = (header, *run.implementations, *map(_thinned, run.cells), *footer)
            _pack("".join(f"{encoded(each)}\n" for each in records).encode(), path)


def _thinned(cell: CellRecord) -> CellRecord:
    """Return a cell with what a diff or a history asks of it: of its question the dtype alone."""
    return CellRecord(
        case=cell.case,
        implementation=cell.implementation,
        device=cell.device,
        outcome=cell.outcome,
        checks=[_thinned_check(each, cell) for each in cell.checks],
        reason=cell.reason,
        row=cell.row,
        seconds=cell.seconds,
        covered=cell.covered,
        behaviours=cell.behaviours,
        gone=cell.gone,
        powerless=cell.powerless,
        question=QuestionRecord(dtype=cell.dtype or None),
    )


def _thinned_check(check: CheckRecord, cell: CellRecord) -> CheckRecord:
    # Of what is said, what says why a cell is not well.
    message = "" if cell.outcome == "conforms" else check.message
    return CheckRecord(check=check.check, outcome=check.outcome, margin=check.margin, message=message)


def _pack(content: bytes, target: Path) -> None:
    """Write a compressed file, whole or not at all, and the same bytes for the same content."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(gzip.compress(content, mtime=0))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def last_good(folder: Path, pointer: Mapping[str, Any], file: str) -> Run | None:
    """
    Return the last good night before this one, if there is one.

    Raises:
        NightlyError: there is one and it cannot be read.
    """
    good = pointer.get("good")
    if not good or good["file"] == file:
        return None
    try:
        return read(folder / str(good["file"]))
    except ResultsError as error:
        raise NightlyError(f"the last good night cannot be read: {error}") from None


def read_pointer(folder: Path) -> dict[str, Any]:
    """
    Return what the pointer of an environment's folder says, nothing where there is none.

    Raises:
        NightlyError: the file is not what `write_pointer` wrote.
    """
    path = folder / POINTER
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = [found[key] for key in ("latest", "good") if found[key] is not None]
        files = [str(each["file"]) for each in known if isinstance(each["started"], str)]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NightlyError(f"{path}: not what was published: {error!r}") from None
    if not all(re.fullmatch(r"history/[0-9TZ]+\.jsonl\.gz", each) for each in files):
        raise NightlyError(f"{path}: not what was published: names a file outside of history/")
    return dict(found)


def write_pointer(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the pointer of an environment's folder: the nights `latest`, `good` and `aside`, each None or a mapping."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / POINTER).write_text(text, encoding="utf-8", newline="\n")
