"""The command `conformance reproduce`."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.run.errors import CommandFault


@click.command()
@click.argument("cell")
@click.argument("results", type=click.Path(path_type=Path), default=Path("reports/results.jsonl"))
@click.option("--check", default=None, metavar="NAME", help="The failing check to reproduce; by default the first.")
def reproduce(cell: str, results: Path, check: str | None) -> None:
    """
    Print a standalone script that reproduces the failure of CELL in RESULTS, for a bug report.

    CELL is DEVICE/IMPLEMENTATION/CASE, as in a test's id, or IMPLEMENTATION/CASE. The script needs only the framework
    and NumPy. It prints the expected and the observed values, and the versions.
    """
    from conformance.results import ResultsError
    from conformance.run.reproduce import NotReproducible
    from conformance.run.reproduce.recorded_cells import NoSuchCell
    from conformance.run.reproduce.recorded_cells import reproduce as script_of

    try:
        click.echo(script_of(cell, results, check), nl=False)
    except (NoSuchCell, NotReproducible, ResultsError) as error:
        raise CommandFault(str(error)) from None
