"""The command `conformance history`."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.run.errors import CommandFault


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("cell", required=False)
@click.option(
    "--last", type=click.IntRange(min=1), default=30, show_default=True, metavar="N", help="Nights looked at."
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Instead of .cache in FOLDER.")
def history(folder: Path, cell: str | None, last: int, form: str, cache: Path | None) -> None:
    """
    Say what the nights in FOLDER tell: what got worse and since when, what alternates, and the trend of margins.

    FOLDER holds results files, one for each night: .jsonl, .jsonl.gz or .jsonl.zst. With CELL, which is
    DEVICE/IMPLEMENTATION/CASE or IMPLEMENTATION/CASE, its first bad night with the versions before and after.
    """
    from conformance.results.history.queries import life, overview
    from conformance.results.history.store import HistoryError, open_nights
    from conformance.results.history.text import as_json, as_text, life_as_text, lives_as_json

    source = click.get_current_context().get_parameter_source("last")
    if cell and source is not click.core.ParameterSource.DEFAULT:
        raise CommandFault("--last has no effect beside CELL, of which every night is looked at: leave one out")
    try:
        nights = open_nights(folder, cache)
        lives = life(nights, cell) if cell else ()
    except HistoryError as error:
        raise CommandFault(str(error)) from None
    if cell:
        click.echo(lives_as_json(lives) if form == "json" else "\n\n".join(map(life_as_text, lives)))
    else:
        found = overview(nights, last)
        click.echo(as_json(found) if form == "json" else as_text(found, last))
