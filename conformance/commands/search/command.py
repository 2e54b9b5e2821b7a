"""
The command `conformance search`: parses what is asked, shows how far it is, and says what was found.

Hypothesis is needed by nothing else that is installed for users, so that it is imported here and asked for by name.
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
    from conformance.commands.search.loop import Found
    from conformance.ledger import Behaviour

#: 128 and the number of SIGINT, as shells have it.
INTERRUPTED: Final = 130
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
#: How often a search says how far it is where nobody watches (seconds).
_OFTEN: Final = 30.0


def seconds_of(text: str) -> float:
    """
    Return a time as `60s`, `10min` or `2h` in seconds.

    Raises:
        ValueError: it is written otherwise, or is nothing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|)", text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{text!r} is not a time such as 60s, 10min or 2h")
    return float(found[1]) * _SECONDS[found[2]]


@click.command()
@click.option("-i", "--implementation", multiple=True, metavar="NAME", help="Name, glob or module:Class; repeatable.")
@click.option("--budget", default="60s", show_default=True, metavar="TIME", help="Wall time: 60s, 10min, 2h.")
@click.option("--device", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
@click.option("--most", type=click.IntRange(min=1), default=None, metavar="N", help="End after so many finds.")
@click.option("--seed", type=click.IntRange(min=0), default=None, metavar="S", help="Search the same way again.")
@click.option("--database", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="What is remembered.")
@click.option("-o", "output", type=OutputPath(file_okay=False), default=Path("reports/search"), show_default=True)
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
    Look for new trouble: random rows, driven towards large margins and towards implementations that disagree.

    What is red under the ledger is made as small as it can be, printed as a row, and written into DIR with a
    script for each. The next search of the same implementations begins where this one ended. Exit code 1: something
    new was found.
    """
    if importlib.util.find_spec("hypothesis") is None:
        raise CommandFault("a search needs Hypothesis: pip install 'dense-conformance[search]'")
    from conformance.commands.search.loop import search as found_by_search
    from conformance.run.implementation_process import DEFAULT_CACHE

    chosen, behaviours, seconds = _subject(implementation, device, budget)
    try:
        found = found_by_search(
            chosen,
            seconds=seconds,
            behaviours=behaviours,
            device=device,
            database=(DEFAULT_CACHE.expanduser() / "search") if database is None else database,
            seed=seed,
            most=most,
            tell=_Teller(seconds),
        )
        if not found.asked and not found.interrupted:
            raise CommandFault(
                f"in {found.seconds:.0f} s not one row was asked of {', '.join(each.name for each in chosen)}"
            )
        _print_and_write(found, output)
    except OSError as error:
        raise CommandFault(f"{error.filename or output}: {error.strerror}") from None
    sys.exit(INTERRUPTED if found.interrupted else 1 if found.finds else 0)


def _subject(
    names: tuple[str, ...], device: str, budget: str
) -> tuple[Sequence[Implementation], Sequence[Behaviour], float]:
    """Return the implementations to search, what is known of them, and for how many seconds; raises `CommandFault`."""
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


def _print_and_write(found: Found, output: Path) -> None:
    """Print what a search found, and write it into a folder; raises `OSError`."""
    from conformance.commands.search.output import lines, write

    for line in lines(found):
        click.echo(line)
    for path in write(found, output):
        click.echo(f"written: {path}")


class _Teller:
    """Says how far a search is: over and over in one line on a terminal, now and then elsewhere."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._often = 0.5 if sys.stderr.isatty() else _OFTEN
        self._next = 0.0

    def __call__(self, found: Found, part: float) -> None:
        """Say it, where it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._often
        left = max(0.0, self._seconds * (1 - part))
        text = f"{found.asked} rows, {len(found.finds)} new, {len(found.known)} known, {left:.0f} s left"
        click.echo(f"\r{text}\033[K" if sys.stderr.isatty() else text, err=True, nl=not sys.stderr.isatty())
