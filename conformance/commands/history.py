"""The command `conformance history`."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.run.errors import CommandFault


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("cell", required=False)
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="N",
    help="The number of last nights to search.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of the cache; by default .cache in FOLDER.",
)
def history(folder: Path, cell: str | None, last: int, form: str, cache: Path | None) -> None:
    """
    Print the history of the nights in FOLDER: what got worse and since when, what alternates, and trends of margins.

    FOLDER has one results file for each night: .jsonl, .jsonl.gz or .jsonl.zst. CELL is DEVICE/IMPLEMENTATION/CASE or
    IMPLEMENTATION/CASE. With CELL, print its first bad night with the versions before and after.
    """
    from conformance.results.history.queries import cell_histories, overview
    from conformance.results.history.store import HistoryError, open_nights
    from conformance.results.history.text import as_json, as_text, cell_as_text, cells_as_json

    source = click.get_current_context().get_parameter_source("last")
    if cell and source is not click.core.ParameterSource.DEFAULT:
        raise CommandFault("--last has no effect with CELL, whose history covers every night: leave one of them out")
    try:
        nights = open_nights(folder, cache)
        cells = cell_histories(nights, cell) if cell else ()
    except HistoryError as error:
        raise CommandFault(str(error)) from None
    if cell:
        click.echo(cells_as_json(cells) if form == "json" else "\n\n".join(map(cell_as_text, cells)))
    else:
        result = overview(nights, last)
        click.echo(as_json(result) if form == "json" else as_text(result, last))
