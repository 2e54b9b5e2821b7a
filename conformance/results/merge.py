"""
The results files of a run's shards made one, as if the run had never been in parts.

It refuses what would not be that: a shard missing or given twice, another selection, another version, a cell in two of
them. What differs from machine to machine, such as when a shard began and on what, is kept for each. Only results files
are known here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from conformance.results import Run, Writer, read
from conformance.results.behaviours import BehaviourCounts
from conformance.results.measurements import Measured

#: Missing shards that a message names.
_NAMED: Final = 10
#: Of a header, what each shard says for itself.
_OF_A_SHARD: Final = ("started", "platform", "cells", "workers", "machines")
#: Of a header, what a merged one does not take from its first shard.
_NOT_OF_ALL: Final = ("type", "schema", "workers", "machines")


class MergeError(ValueError):
    """Files that are not the shards of one run; says which and why in a line."""


def merge(paths: Sequence[Path], output: Path) -> int:
    """
    Write the shards' results as one file, whole or not at all, and return how many cells it has.

    The header is that of any of them for the whole selection, `started` the earliest; `shards` in it says of each what
    it said for itself. `seconds` of the footer is the longest shard's, as they may run side by side; a shard that was
    broken off makes the whole so.

    Raises:
        MergeError: they are not the shards of one run, or not all of them.
        ResultsError: a file cannot be read.
        OSError: the output cannot be written.
    """
    runs = sorted((read(each) for each in paths), key=lambda run: _shard(run)[0])
    _same_run(runs)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as stream:
            count = _write(runs, Writer(stream))
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write(runs: Sequence[Run], writer: Writer) -> int:
    count = sum(int(run.header.get("cells", 0)) for run in runs)
    # What is merged may be a merged file, whose header names its shards.
    header = {key: value for key, value in runs[0].header.items() if key not in _NOT_OF_ALL}
    header |= {
        "started": min(str(run.header.get("started", "")) for run in runs),
        "selection": {**runs[0].header["selection"], "shard": "1/1"},
        "shards": [each for run in runs for each in run.header.get("shards") or [_told(run)]],
        "cells": count,
    }
    writer.header(**header)
    for each in _implementations(runs):
        writer.implementation(**each)
    measured, behaviours = Measured(), BehaviourCounts()
    for run in runs:
        for cell in run.cells:
            measured.add(cell)
            behaviours.add(cell)
            writer.cell({key: value for key, value in cell.items() if key != "type"})
    seconds = [float(run.footer.get("seconds", 0)) for run in runs if run.footer is not None]
    if len(seconds) == len(runs):
        complete = all(run.complete for run in runs)
        writer.footer(complete=complete, seconds=max(seconds), behaviours=behaviours.facts(), measured=measured.facts())
    return count


def _told(run: Run) -> dict[str, Any]:
    """Return what is kept of a shard's own header and footer."""
    index, count = _shard(run)
    own = {key: run.header[key] for key in _OF_A_SHARD if key in run.header}
    return {"shard": f"{index}/{count}", **own, "seconds": (run.footer or {}).get("seconds")}


def _implementations(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Yield what implementations said of themselves, once where it is the same in several shards."""
    told: set[str] = set()
    for run in runs:
        for each in run.implementations:
            said = {key: value for key, value in each.items() if key != "type"}
            text = json.dumps(said, sort_keys=True)
            if text not in told:
                told.add(text)
                yield said


def _same_run(runs: Sequence[Run]) -> None:
    """Raise `MergeError` where files are not all shards of one run, each once."""
    first = runs[0]
    count = _shard(first)[1]
    seen: dict[int, Run] = {}
    for run in runs:
        index, of = _shard(run)
        if of != count:
            raise MergeError(f"{run.path} is shard {index}/{of}, and {first.path} one of {count}")
        if index in seen:
            raise MergeError(f"{run.path} and {seen[index].path} are both shard {index}/{count}")
        seen[index] = run
        _same(first, run, "selection", _selection(first), _selection(run))
        _same(first, run, "distributions", first.header.get("distributions", {}), run.header.get("distributions", {}))
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in seen]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise MergeError(f"shard {', '.join(missing[:_NAMED])}{more} is missing")
    _same_versions(runs)
    _no_cell_twice(runs)


def _same_versions(runs: Sequence[Run]) -> None:
    found: dict[str, tuple[Run, Mapping[str, Any]]] = {}
    for run in runs:
        for each in run.implementations:
            name, versions = each["implementation"], each.get("versions") or {}
            before, said = found.setdefault(name, (run, versions))
            _same(before, run, f"versions of {name}", said, versions)


def _no_cell_twice(runs: Sequence[Run]) -> None:
    found: dict[tuple[str, str, str], str] = {}
    for run in runs:
        for each in run.cells:
            cell = (each["device"], each["implementation"], each["case"])
            if cell in found:
                raise MergeError(f"{'/'.join(cell)} is in {found[cell]} and in {run.path}")
            found[cell] = run.path


def _same(one: Run, other: Run, what: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise MergeError(
                f"{one.path} and {other.path} are not of one run: {key} of their {what} is "
                f"{_short(ours.get(key))} and {_short(theirs.get(key))}"
            )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _selection(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.header["selection"].items() if key != "shard"}


def _shard(run: Run) -> tuple[int, int]:
    """Return which shard of how many a file says it is."""
    index, _, count = str(run.header.get("selection", {}).get("shard", "")).partition("/")
    if not count or int(index) > int(count):
        raise MergeError(f"{run.path}: its header does not say which shard of a run it is")
    return int(index), int(count)
