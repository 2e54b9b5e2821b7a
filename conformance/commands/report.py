"""The command `conformance report`, and the page as other commands write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.run.errors import CommandFault, OutputPath

if TYPE_CHECKING:
    from conformance.results import Run
    from conformance.results.diff.comparison import Diff
    from conformance.results.history.queries import Summary


def write_page(results: list[Path], page: Path, against: Path | None = None, history: Path | None = None) -> None:
    """Write the HTML page of results files, with what changed since another and nights before, and say where it is."""
    import gc

    from conformance.report import write
    from conformance.results import read, without_collection

    with without_collection():
        # A page shows whatever there is; what changed can be told of whole records alone.
        runs = [read(each, strict=against is not None) for each in results]
        changes, since = (None, "") if against is None else _changes(against, runs)
        nights = None if history is None else _nights(history)
        write(runs, page, changes=changes, since=since, history=nights)
        # The process ends soon: to look through what was the page once more would take as long as to write it.
        gc.freeze()
    click.echo(f"page: {page}")


def _changes(against: Path, runs: list[Run]) -> tuple[Diff, str]:
    """Return what changed from the results file `against` to the one run, and what that file is."""
    from conformance.results import read
    from conformance.results.diff.comparison import diff

    if len(runs) != 1:
        raise CommandFault("--against compares with one results file, so give one alone")
    old = read(against)
    return diff(old, runs[0]), f"{against.name}, started {old.header.started or 'at an unknown time'}"


def _nights(folder: Path) -> Summary:
    """Return the sum of a folder of results files, as the page takes it."""
    from conformance.results.history.queries import summary

    return summary(folder)


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "output", type=OutputPath(dir_okay=False), default=Path("reports/index.html"))
@click.option("--against", type=click.Path(path_type=Path), metavar="OLD", help="Say what changed since OLD.")
@click.option("--history", type=click.Path(path_type=Path), metavar="FOLDER", help="Show the nights in FOLDER.")
def report(results: tuple[Path, ...], output: Path, against: Path | None, history: Path | None) -> None:
    """
    Write one HTML page from RESULTS files, of several machines or versions if you like.

    OLD is an earlier results file of the same table; FOLDER holds results files, one for each night.
    """
    from conformance.results import ResultsError

    try:
        write_page(list(results), output, against, history)
    except (ResultsError, OSError) as error:
        raise CommandFault(str(error)) from None
