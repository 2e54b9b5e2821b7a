"""The command `conformance report`, and `write_page` for other commands."""

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
    """Write the page of results files, with the changes since `against` and the nights in `history`; print its path."""
    import gc

    from conformance.report import write
    from conformance.results import read, without_collection

    with without_collection():
        # A page shows any record, but a comparison needs records without faults.
        runs = [read(each, strict=against is not None) for each in results]
        changes, since = (None, "") if against is None else _changes(against, runs)
        nights = None if history is None else _nights(history)
        write(runs, page, changes=changes, since=since, history=nights)
        # The process ends soon. Without this, the collector looks through all records, which takes as long as the page.
        gc.freeze()
    click.echo(f"page: {page}")


def _changes(against: Path, runs: list[Run]) -> tuple[Diff, str]:
    """Return what changed from the results file `against` to the only run, and the description of that file."""
    from conformance.results import read
    from conformance.results.diff.comparison import diff

    if len(runs) != 1:
        raise CommandFault("--against compares one results file with OLD: give one results file")
    old = read(against)
    return diff(old, runs[0]), f"{against.name}, started {old.header.started or 'at an unknown time'}"


def _nights(folder: Path) -> Summary:
    """Return the summary of a folder of results files."""
    from conformance.results.history.queries import summary

    return summary(folder)


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "output",
    type=OutputPath(dir_okay=False),
    default=Path("reports/index.html"),
    show_default=True,
    metavar="FILE",
)
@click.option("--against", type=click.Path(path_type=Path), metavar="OLD", help="Show what changed since OLD.")
@click.option("--history", type=click.Path(path_type=Path), metavar="FOLDER", help="Show the nights in FOLDER.")
def report(results: tuple[Path, ...], output: Path, against: Path | None, history: Path | None) -> None:
    """
    Write one HTML page from RESULTS files, which may be of several machines or versions.

    OLD is an earlier results file of the same table. FOLDER has one results file for each night.
    """
    from conformance.results import ResultsError

    try:
        write_page(list(results), output, against, history)
    except (ResultsError, OSError) as error:
        raise CommandFault(str(error)) from None
