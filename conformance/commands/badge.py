"""
A badge for each implementation of a run: the JSON that shields.io and its like fetch from an endpoint.

The message has the counts of outcomes. The colour follows from the worst outcome. No badge is green if the run was
broken off or if nothing ran.
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

#: Outcome -> its word in a message. A message lists outcomes in this order.
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
#: The longest name of a file, without its ending (characters).
_LONGEST_NAME: Final = 100


def badges(run: Run) -> dict[str, dict[str, str | int]]:
    """
    Return the badge of each implementation, by name, over all devices of the run.

    A selected implementation without a cell has a badge too: nothing ran.
    """
    counted: dict[str, Counter[str]] = {name: Counter() for name in run.header.selection.implementations}
    for cell in run.cells:
        counted.setdefault(cell.implementation, Counter())[cell.outcome] += 1
    return {name: _badge(name, counts, complete=run.complete) for name, counts in counted.items()}


def _badge(name: str, counts: Mapping[str, int], *, complete: bool) -> dict[str, str | int]:
    parts = [f"{counts[outcome]} {words}" for outcome, words in _WORDS.items() if counts[outcome]]
    ran = counts["conforms"] + counts["diverges"] + sum(counts[each] for each in FAILING)
    message = ", ".join(parts) if ran else "nothing ran"
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

    A name that has other characters, or is cut, gets a checksum of the whole name. File systems that ignore case are
    covered, since all letters are small.
    """
    safe = re.sub(r"[^a-z0-9._-]+", "-", implementation.replace(":", "-")).strip(".-")[:_LONGEST_NAME]
    plain = safe == implementation.replace(":", "-") and implementation.count(":") <= 1
    return f"{safe}.json" if plain and safe else f"{safe or 'implementation'}-{crc32(implementation.encode()):08x}.json"


def write(run: Run, folder: Path) -> Iterator[Path]:
    """Write a file for each implementation of a run into a folder, which is created if missing; yield the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    for name, badge in badges(run).items():
        path = folder / file_name(name)
        if path.name in names:
            # The names of two implementations differ only in a colon and a dash.
            path = path.with_stem(f"{path.stem}-{crc32(name.encode()):08x}")
        names.add(path.name)
        path.write_text(json.dumps(badge, ensure_ascii=False) + "\n", encoding="utf-8")
        yield path


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("-o", "output", type=OutputPath(file_okay=False), required=True, metavar="DIR")
def badge(results: Path, output: Path) -> None:
    """Write a badge for each implementation of RESULTS into DIR, as JSON for an endpoint of shields.io."""
    try:
        for each in write(read(results), output):
            click.echo(each)
    except (ResultsError, OSError) as error:
        raise CommandFault(str(error)) from None
