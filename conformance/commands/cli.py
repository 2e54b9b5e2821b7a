"""
The command `conformance`.

Each command imports what it needs when it is called, so that `explain` answers at once; none imports a framework.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from conformance import __version__
from conformance.commands.merge import merge
from conformance.commands.nightly.command import nightly
from conformance.commands.report import report
from conformance.commands.run import run
from conformance.commands.search.command import search
from conformance.run.errors import AT_FAULT, CommandFault, Commands, OutputPath

_CASES = click.argument("cases", nargs=-1, type=str)


class _Commands(Commands):
    """The commands; an installed entry point that does not load puts any that reads the registry at fault."""

    def invoke(self, ctx: click.Context) -> Any:
        from conformance.adapters.registry import BrokenEntryPoint

        try:
            return super().invoke(ctx)
        except BrokenEntryPoint as error:
            raise CommandFault(str(error)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="conformance")
def main() -> None:
    """Hold the dense layers of every framework to one rule."""


main.add_command(merge)
main.add_command(nightly)
main.add_command(report)
main.add_command(run)
main.add_command(search)


@main.command()
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


@main.command()
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
    from dataclasses import asdict

    from conformance.results.history.queries import as_text, life, life_as_text, overview
    from conformance.results.history.store import HistoryError, open_nights

    source = click.get_current_context().get_parameter_source("last")
    if cell and source is not click.core.ParameterSource.DEFAULT:
        raise CommandFault("--last has no effect beside CELL, of which every night is looked at: leave one out")
    try:
        nights = open_nights(folder, cache)
        lives = life(nights, cell) if cell else ()
    except HistoryError as error:
        raise CommandFault(str(error)) from None
    if cell:
        told = [
            {**asdict(each), "turns": [{**asdict(turn), "changed": turn.changed} for turn in each.turns]}
            for each in lives
        ]
        text = json.dumps(told, indent=2)
        click.echo(text if form == "json" else "\n\n".join(map(life_as_text, lives)))
    else:
        found = overview(nights, last)
        click.echo(json.dumps(found, indent=2) if form == "json" else as_text(found, last))


@main.command()
@_CASES
def lint(cases: tuple[str, ...]) -> None:
    """
    Print every fault of CASES (the default table and its ledger without any), as file:line:column: message.

    Of the ledger also what each behaviour covers: how many cells, and how wide its bounds are beside the answer.
    """
    from conformance.commands.lint import inspect

    found = inspect(cases)
    for each in (*found.scopes, *found.faults):
        click.echo(str(each))
    click.echo(str(found), err=bool(found.faults))
    if found.faults:
        sys.exit(AT_FAULT)


@main.command()
@click.option("--input-shape", "input_shapes", multiple=True, required=True, metavar="784,1", help="Repeatable.")
@click.option("--units", multiple=True, required=True, type=int, help="One per layer; repeatable.")
@click.option("--activation", "activations", multiple=True, default=("linear",), help="One for all, or one per layer.")
@click.option("--bias/--no-bias", "use_bias", default=True)
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    metavar="NAME",
    help="Show the same layers as a framework's users write them: keras, torch, flax, equinox ... or all; repeatable.",
)
def explain(
    input_shapes: tuple[str, ...],
    units: tuple[int, ...],
    activations: tuple[str, ...],
    use_bias: bool,
    frameworks: tuple[str, ...],
) -> None:
    """Say what dense layers make of a shape, and why."""
    import shutil

    from conformance.commands.explain.highlight import show
    from conformance.commands.explain.text import explain as explanation
    from conformance.commands.explain.text import parse_shape
    from conformance.text import is_coloured

    try:
        shapes = [parse_shape(each) for each in input_shapes]
        width = shutil.get_terminal_size((100, 24)).columns
        text = explanation(shapes, list(units), list(activations), use_bias, width, frameworks)
    except ValueError as error:
        raise CommandFault(str(error)) from None
    if is_coloured():
        show(text)
    else:
        click.echo(text)


@main.group("list")
def listing() -> None:
    """List what there is."""


@listing.command("implementations")
def list_implementations() -> None:
    """List every implementation, and whether its framework is installed."""
    from conformance.adapters.installation import told_missing
    from conformance.adapters.registry import registered

    for name, each in registered().items():
        missing = each.missing_packages()
        click.echo(f"{name:<20} {'not installed: ' + told_missing(missing) if missing else 'installed'}")


@listing.command("cases")
@_CASES
def list_cases(cases: tuple[str, ...]) -> None:
    """List the id of every case, with its row."""
    from conformance.run.selection import Selection, SelectionError

    try:
        for case in Selection(cases=cases, tier="nightly").table():
            click.echo(f"{case.id:<60} {case.row}")
    except SelectionError as error:
        raise CommandFault(str(error)) from None


@listing.command("random")
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="S")
def list_random(count: int, seed: int) -> None:
    """Print random rows as a file of the table, for `conformance lint` and `conformance run`, or to take rows from."""
    from conformance.table.random_rows import document

    click.echo(document(count, seed), nl=False)


@listing.command("divergences")
def list_divergences() -> None:
    """Say what differs between the frameworks' dense layers, and since when: the ledger, as a document."""
    import shutil

    from conformance.commands.list_divergences import document
    from conformance.run.selection import Selection, SelectionError

    try:
        behaviours = Selection().ledger()
    except SelectionError as error:
        raise CommandFault(str(error)) from None
    click.echo(document(behaviours, shutil.get_terminal_size((100, 24)).columns))


@listing.command("coverage")
@_CASES
def list_coverage(cases: tuple[str, ...]) -> None:
    """Count the pairs of rank, batch, bias, activation, dtype, layout, lane and depth that cases combine."""
    from conformance.run.selection import Selection, SelectionError
    from conformance.table.coverage import coverage, document

    try:
        click.echo(document(coverage(Selection(cases=cases, tier="nightly").table())))
    except SelectionError as error:
        raise CommandFault(str(error)) from None


@listing.command("checks")
def list_checks() -> None:
    """List every check."""
    from conformance.table.case import CHECKS

    for each in CHECKS:
        click.echo(each)


@main.command()
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


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("-o", "output", type=OutputPath(file_okay=False), required=True, metavar="DIR")
def badge(results: Path, output: Path) -> None:
    """Write into DIR a badge for each implementation of RESULTS: JSON for an endpoint of shields.io."""
    from conformance.commands.badge import write
    from conformance.results import ResultsError, read

    try:
        for each in write(read(results), output):
            click.echo(each)
    except (ResultsError, OSError) as error:
        raise CommandFault(str(error)) from None


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
def triage(results: Path) -> None:
    """Draft a ledger entry for every red cell of RESULTS, why and link left blank."""
    from conformance.commands.triage.command import drafts
    from conformance.results import ResultsError, read

    try:
        click.echo(drafts(read(results)), nl=False)
    except ResultsError as error:
        raise CommandFault(str(error)) from None
