"""
A badge for each implementation of a run: the JSON that shields.io and its like fetch from an endpoint.

The message holds counts alone; the colour says the worst of them, and no badge is green where a run was broken off or
where nothing ran. This module knows a results file and nothing of how its content came about.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from zlib import crc32

import click

from conformance.results import FAILING, OUTCOMES, ResultsError, Run, read
from conformance.run.errors import CommandFault, OutputPath

#: How a message calls an outcome of several cells, in the order in which it names them.
_WORDS: Final = {
    "crashed": "crashed",
    "timed_out": "timed out",
    "violates": "violate",
    "conforms": "conform",
    "diverges": "diverge",
    "unsupported": "unsupported",
    "not_run": "not run",
}
assert set(_WORDS) == set(OUTCOMES)
#: The longest a file's name may be, without its ending.
_LONGEST_NAME: Final = 100


def badges(run: Run) -> dict[str, dict[str, str | int]]:
    """
    Return by implementation what its badge says, over all devices of the run.

    An implementation that was asked for and has no cell has a badge too: nothing ran.
    """
    counted: dict[str, Counter[str]] = {name: Counter() for name in run.header.selection.implementations}
    for cell in run.cells:
        counted.setdefault(cell.implementation, Counter())[cell.outcome] += 1
    return {name: _badge(name, counts, complete=run.complete) for name, counts in counted.items()}


def _badge(name: str, counts: Mapping[str, int], *, complete: bool) -> dict[str, str | int]:
    said = [f"{counts[outcome]} {words}" for outcome, words in _WORDS.items() if counts[outcome]]
    ran = counts["conforms"] + counts["diverges"] + sum(counts[each] for each in FAILING)
    message = ", ".join(said) if ran else "nothing ran"
    if not complete:
        message = f"broken off: {message}"
    return {"schemaVersion": 1, "label": name, "message": message, "color": _colour(counts, ran, complete=complete)}


def _colour(counts: Mapping[str, int], ran: int, *, complete: bool) -> str:
    if any(counts[each] for each in FAILING):
        return "red"
    if not ran:
        return "lightgrey"
    if not complete or counts["not_run"]:
        return "orange"
    return "green" if counts["diverges"] else "brightgreen"


def file_name(implementation: str) -> str:
    """
    Return the name of an implementation's file: letters, digits, dots, dashes and underscores.

    What stands for another name in it, or is cut, is told apart by a checksum of the name, also where case is ignored.
    """
    safe = re.sub(r"[^a-z0-9._-]+", "-", implementation.replace(":", "-")).strip(".-")[:_LONGEST_NAME]
    plain = safe == implementation.replace(":", "-") and implementation.count(":") <= 1
    return f"{safe}.json" if plain and safe else f"{safe or 'implementation'}-{crc32(implementation.encode()):08x}.json"


def write(run: Run, folder: Path) -> Iterator[Path]:
    """Write a file for each implementation of a run into a folder, made where it is not there, and yield its path."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for name, badge in badges(run).items():
        path = folder / file_name(name)
        if path.name in taken:
            # Two names that differ in a colon and a dash alone.
            path = path.with_stem(f"{path.stem}-{crc32(name.encode()):08x}")
        taken.add(path.name)
        path.write_text(json.dumps(badge, ensure_ascii=False) + "\n", encoding="utf-8")
        yield path


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("-o", "output", type=OutputPath(file_okay=False), required=True, metavar="DIR")
def badge(results: Path, output: Path) -> None:
    """Write into DIR a badge for each implementation of RESULTS: JSON for an endpoint of shields.io."""
    try:
        for each in write(read(results), output):
            click.echo(each)
    except (ResultsError, OSError) as error:
        raise CommandFault(str(error)) from None
