"""The command `conformance reproduce`."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.run.errors import CommandFault


@click.command()
@click.argument("cell")
@click.argument("results", type=click.Path(path_type=Path), default=Path("reports/results.jsonl"))
@click.option("--check", default=None, metavar="NAME", help="Show this failing check; the first one otherwise.")
def reproduce(cell: str, results: Path, check: str | None) -> None:
    """
    Print a standalone script, for a bug report, that shows what CELL of RESULTS was seen to do.

    CELL is DEVICE/IMPLEMENTATION/CASE, as in a test's id, or IMPLEMENTATION/CASE. The script needs the framework and
    NumPy alone, and prints what is expected, what it got, and the versions.
    """
    from conformance.results import ResultsError
    from conformance.run.reproduce import NotShown
    from conformance.run.reproduce.recorded_cells import NoSuchCell
    from conformance.run.reproduce.recorded_cells import reproduce as written

    try:
        click.echo(written(cell, results, check), nl=False)
    except (NoSuchCell, NotShown, ResultsError) as error:
        raise CommandFault(str(error)) from None
