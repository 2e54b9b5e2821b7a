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
@click.option("--partial", is_flag=True, help="NEW asked for less on purpose: what it lacks is not missed.")
def diff(old: Path, new: Path, form: str, partial: bool) -> None:
    """
    Say what changed from the results file OLD to NEW. Exit code 1: something got worse.

    A cell that is gone though its row is not counts as worse, unless --partial says that this was meant.
    """
    from conformance.results import ResultsError, read
    from conformance.results.diff.comparison import diff as changes
    from conformance.results.diff.text import as_json, as_markdown, as_text

    try:
        found = changes(read(old), read(new), partial=partial)
    except ResultsError as error:
        raise CommandFault(str(error)) from None
    click.echo({"text": as_text, "markdown": as_markdown, "json": as_json}[form](found))
    sys.exit(1 if found.is_worse else 0)
