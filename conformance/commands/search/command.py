"""
The command `conformance search`: its options, its progress line, and its output.

Hypothesis is an optional dependency of this command alone. Without it, the command prints how to install it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from conformance.run.errors import CommandFault, OutputPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.adapters.registry import Implementation
    from conformance.commands.search.loop import SearchResult
    from conformance.ledger import Behaviour

#: 128 and the number of SIGINT, as shells have it.
INTERRUPTED: Final = 130
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
#: The time between two progress lines if the output is no terminal (seconds).
_INTERVAL: Final = 30.0


def seconds_of(text: str) -> float:
    """
    Return the seconds of a time such as `60s`, `10min` or `2h`.

    Raises:
        ValueError: `text` has another form, or the time is 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|)", text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a time such as 60s, 10min or 2h")
    return float(match[1]) * _SECONDS[match[2]]


@click.command()
@click.option("-i", "--implementation", multiple=True, metavar="NAME", help="Name, glob or module:Class; repeatable.")
@click.option("--budget", default="60s", show_default=True, metavar="TIME", help="Wall time: 60s, 10min, 2h.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--most", type=click.IntRange(min=1), default=None, metavar="N", help="End after N finds.")
@click.option("--seed", type=click.IntRange(min=0), default=None, metavar="S", help="Repeat the search with this seed.")
@click.option(
    "--database",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder of the rows of earlier searches.",
)
@click.option(
    "-o", "output", type=OutputPath(file_okay=False), default=Path("reports/search"), show_default=True, metavar="DIR"
)
def search(
    implementation: tuple[str, ...],
    budget: str,
    device: str,
    most: int | None,
    seed: int | None,
    database: Path | None,
    output: Path,
) -> None:
    """
    Search for new failures: random rows, driven towards large margins and towards implementations that disagree.

    A row that fails and is not declared is made as small as possible, printed, and written into DIR with a script. The
    next search of the same implementations begins with the rows of this one. Exit code 1: a new failure was found.
    """
    if importlib.util.find_spec("hypothesis") is None:
        raise CommandFault("a search needs Hypothesis: pip install 'dense-conformance[search]'")
    from conformance.commands.search import loop

    chosen, behaviours, seconds = _subject(implementation, device, budget)
    try:
        result = loop.search(
            chosen,
            seconds=seconds,
            behaviours=behaviours,
            device=device,
            database=_default_database() if database is None else database,
            seed=seed,
            most=most,
            report_progress=_ProgressLine(seconds),
        )
        if not result.row_count and not result.interrupted:
            names = ", ".join(each.name for each in chosen)
            raise CommandFault(f"no row ran on {names} within {result.seconds:.0f} s: give a longer --budget")
        _print_and_write(result, output)
    except OSError as error:
        raise CommandFault(f"{error.filename or output}: {error.strerror}") from None
    sys.exit(INTERRUPTED if result.interrupted else 1 if result.finds else 0)


def _default_database() -> Path:
    from conformance.run.implementation_process import DEFAULT_CACHE

    return DEFAULT_CACHE.expanduser() / "search"


def _subject(
    names: tuple[str, ...], device: str, budget: str
) -> tuple[Sequence[Implementation], Sequence[Behaviour], float]:
    """Return the implementations, their declared behaviours, and the budget in seconds; raises `CommandFault`."""
    from conformance.run.selection import Selection, SelectionError
    from conformance.sandbox.sandbox import Limits

    selection = Selection(implementations=names, device=device, tier="nightly" if names else "full")
    try:
        seconds = seconds_of(budget)
        chosen = [each for each in selection.chosen() if not each.missing_packages()]
        selection.check_adapters(chosen, Limits())
        selection.devices(chosen)
        return chosen, selection.ledger(), seconds
    except (SelectionError, ValueError) as error:
        raise CommandFault(str(error)) from None


def _print_and_write(result: SearchResult, output: Path) -> None:
    """Print the result of a search, and write its finds into a folder; raises `OSError`."""
    from conformance.commands.search.output import lines, write

    for line in lines(result):
        click.echo(line)
    for path in write(result, output):
        click.echo(f"written: {path}")


class _ProgressLine:
    """Prints the progress of a search: on a terminal it rewrites one line, elsewhere it prints a line now and then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._interval = 0.5 if sys.stderr.isatty() else _INTERVAL
        self._next = 0.0

    def __call__(self, result: SearchResult, part: float) -> None:
        """Print the progress if the interval has passed; `part` is the part of the time that is over."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._interval
        left = max(0.0, self._seconds * (1 - part))
        text = f"{result.row_count} rows, {len(result.finds)} new, {len(result.declared)} declared, {left:.0f} s left"
        click.echo(f"\r{text}\033[K" if sys.stderr.isatty() else text, err=True, nl=not sys.stderr.isatty())
