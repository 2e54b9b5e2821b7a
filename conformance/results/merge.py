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
from typing import Final

from msgspec.structs import replace

from conformance.results import Run, Writer, plain, read
from conformance.results.behaviours import BehaviourCounts
from conformance.results.measurements import Measured
from conformance.results.record import HeaderRecord, ImplementationRecord, ShardRecord

#: Missing shards that a message names.
_NAMED: Final = 10


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
    header = _header(runs)
    writer.header(header)
    for each in _implementations(runs):
        writer.implementation(each)
    measured, behaviours = Measured(), BehaviourCounts()
    for run in runs:
        for cell in run.cells:
            measured.add(cell)
            behaviours.add(cell)
            writer.cell(cell)
    seconds = [run.footer.seconds for run in runs if run.footer is not None]
    if len(seconds) == len(runs):
        complete = all(run.complete for run in runs)
        writer.footer(complete=complete, seconds=max(seconds), behaviours=behaviours.facts(), measured=measured.facts())
    return header.cells


def _header(runs: Sequence[Run]) -> HeaderRecord:
    """Return the header of the whole: that of the first shard, but for what each shard says for itself."""
    first = runs[0].header
    return replace(
        first,
        started=min(run.header.started for run in runs),
        workers=None,
        machines=None,
        selection=replace(first.selection, shard="1/1"),
        cells=sum(run.header.cells for run in runs),
        # What is merged may be a merged file, whose header names its shards.
        shards=[each for run in runs for each in run.header.shards or [_shard_record(run)]],
    )


def _shard_record(run: Run) -> ShardRecord:
    """Return what is kept of a shard's own header and footer."""
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
    """Yield what implementations said of themselves, once where it is the same in several shards."""
    written: list[ImplementationRecord] = []
    for each in (each for run in runs for each in run.implementations):
        if each not in written:
            written.append(each)
            yield each


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
        _same(first, run, "distributions", first.header.distributions, run.header.distributions)
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in seen]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise MergeError(f"shard {', '.join(missing[:_NAMED])}{more} is missing")
    _same_versions(runs)
    _no_cell_twice(runs)


def _same_versions(runs: Sequence[Run]) -> None:
    found: dict[str, tuple[Run, Mapping[str, object]]] = {}
    for run in runs:
        for each in run.implementations:
            versions = each.versions or {}
            before, said = found.setdefault(each.implementation, (run, versions))
            _same(before, run, f"versions of {each.implementation}", said, versions)


def _no_cell_twice(runs: Sequence[Run]) -> None:
    found: dict[str, str] = {}
    for run in runs:
        for each in run.cells:
            if each.name in found:
                raise MergeError(f"{each.name} is in {found[each.name]} and in {run.path}")
            found[each.name] = run.path


def _same(one: Run, other: Run, what: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
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
    """Return which shard of how many a file says it is."""
    index, _, count = (run.header.selection.shard or "").partition("/")
    if not count or int(index) > int(count):
        raise MergeError(f"{run.path}: its header does not say which shard of a run it is")
    return int(index), int(count)
