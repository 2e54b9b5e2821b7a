"""
Merges the results files of a run's shards into one file, equal to that of an undivided run.

A shard that is missing or repeated, another selection, another version, or a cell in two shards is an error. What
differs from machine to machine, such as a shard's start and platform, is recorded for each shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from conformance.results import Run, Writer, plain, read
from conformance.results.behaviours import BehaviourCounts
from conformance.results.measurements import Measurements
from conformance.results.record import HeaderRecord, ImplementationRecord, ShardRecord

#: Missing shards that a message names.
_NAMED: Final = 10


class MergeError(ValueError):
    """Files that are not the shards of one run. The message names the files and the reason in one line."""


def merge(paths: Sequence[Path], output: Path) -> int:
    """
    Write the results of all shards as one file, whole or not at all, and return the number of its cells.

    The header is that of the first shard, for the whole selection and with the earliest `started`; its field `shards`
    has what each shard's own header said. `seconds` of the footer is that of the longest shard, as shards may run side
    by side. If one shard was broken off, so is the merged run.

    Raises:
        MergeError: they are not the shards of one run, or not all of them.
        ResultsError: a file cannot be read.
        OSError: the output cannot be written.
    """
    runs = sorted((read(each) for each in paths), key=lambda run: _shard(run)[0])
    _check_same_run(runs)
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
    header = _header(runs)
    writer.header(header)
    for each in _implementations(runs):
        writer.implementation(each)
    measurements, behaviours = Measurements(), BehaviourCounts()
    for run in runs:
        for cell in run.cells:
            measurements.add(cell)
            behaviours.add(cell)
            writer.cell(cell)
    seconds = [run.footer.seconds for run in runs if run.footer is not None]
    if len(seconds) == len(runs):
        complete = all(run.complete for run in runs)
        writer.footer(
            complete=complete, seconds=max(seconds), behaviours=behaviours.facts(), measured=measurements.facts()
        )
    return header.cells


def _header(runs: Sequence[Run]) -> HeaderRecord:
    """Return the header of the merged run: that of the first shard without what differs between shards."""
    first = runs[0].header
    return replace(
        first,
        started=min(run.header.started for run in runs),
        workers=None,
        machines=None,
        selection=replace(first.selection, shard="1/1"),
        cells=sum(run.header.cells for run in runs),
        # A shard may be a merged file itself, whose header names its shards.
        shards=[each for run in runs for each in run.header.shards or [_shard_record(run)]],
    )


def _shard_record(run: Run) -> ShardRecord:
    """Return what the merged header has of one shard."""
    index, count = _shard(run)
    return ShardRecord(
        shard=f"{index}/{count}",
        started=run.header.started,
        platform=run.header.platform,
        cells=run.header.cells,
        workers=run.header.workers,
        machines=run.header.machines,
        seconds=None if run.footer is None else run.footer.seconds,
    )


def _implementations(runs: Sequence[Run]) -> Iterator[ImplementationRecord]:
    """Yield the records of implementations; equal records of several shards once."""
    written: list[ImplementationRecord] = []
    for each in (each for run in runs for each in run.implementations):
        if each not in written:
            written.append(each)
            yield each


def _check_same_run(runs: Sequence[Run]) -> None:
    """Raise `MergeError` unless the files are all shards of one run, each once."""
    first = runs[0]
    count = _shard(first)[1]
    by_index: dict[int, Run] = {}
    for run in runs:
        index, of = _shard(run)
        if of != count:
            raise MergeError(f"{run.path} is shard {index}/{of}, and {first.path} one of {count}")
        if index in by_index:
            raise MergeError(f"{run.path} and {by_index[index].path} are both shard {index}/{count}")
        by_index[index] = run
        _check_equal(first, run, "selection", _selection(first), _selection(run))
        _check_equal(first, run, "distributions", first.header.distributions, run.header.distributions)
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in by_index]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise MergeError(f"shard {', '.join(missing[:_NAMED])}{more} is missing")
    _check_same_versions(runs)
    _check_no_cell_twice(runs)


def _check_same_versions(runs: Sequence[Run]) -> None:
    first: dict[str, tuple[Run, Mapping[str, object]]] = {}
    for run in runs:
        for each in run.implementations:
            versions = each.versions or {}
            earlier, expected = first.setdefault(each.implementation, (run, versions))
            _check_equal(earlier, run, f"versions of {each.implementation}", expected, versions)


def _check_no_cell_twice(runs: Sequence[Run]) -> None:
    path_of: dict[str, str] = {}
    for run in runs:
        for each in run.cells:
            if each.name in path_of:
                raise MergeError(f"{each.name} is in {path_of[each.name]} and in {run.path}")
            path_of[each.name] = run.path


def _check_equal(one: Run, other: Run, what: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            raise MergeError(
                f"{one.path} and {other.path} are not of one run: {key} of their {what} is "
                f"{_short(ours.get(key))} and {_short(theirs.get(key))}"
            )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _selection(run: Run) -> dict[str, object]:
    return plain(replace(run.header.selection, shard=None))


def _shard(run: Run) -> tuple[int, int]:
    """Return the number of a file's shard and the number of all shards; raises `MergeError`."""
    index, _, count = (run.header.selection.shard or "").partition("/")
    if not count or int(index) > int(count):
        raise MergeError(f"{run.path}: its header does not say which shard of a run it is")
    return int(index), int(count)
