"""The command `conformance diff`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from conformance.run.errors import CommandFault


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--partial", is_flag=True, help="NEW has fewer cells on purpose: a missing cell is not worse.")
def diff(old: Path, new: Path, form: str, partial: bool) -> None:
    """
    Print what changed from the results file OLD to NEW. Exit code 1: something got worse.

    A missing cell whose row NEW still has counts as worse, unless --partial is given.
    """
    from conformance.results import ResultsError, read
    from conformance.results.diff.comparison import diff as compare
    from conformance.results.diff.text import as_json, as_markdown, as_text

    try:
        changes = compare(read(old), read(new), partial=partial)
    except ResultsError as error:
        raise CommandFault(str(error)) from None
    click.echo({"text": as_text, "markdown": as_markdown, "json": as_json}[form](changes))
    sys.exit(1 if changes.is_worse else 0)
