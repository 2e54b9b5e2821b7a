"""The commands `conformance list ...`."""

from __future__ import annotations

import click

from conformance.run.errors import CommandFault


@click.group("list")
def listing() -> None:
    """List implementations, cases, checks or divergences."""


@listing.command("implementations")
def list_implementations() -> None:
    """List every implementation, and whether its framework is installed."""
    from conformance.adapters.installation import missing_text
    from conformance.adapters.registry import registered

    for name, each in registered().items():
        missing = each.missing_packages()
        click.echo(f"{name:<20} {'not installed: ' + missing_text(missing) if missing else 'installed'}")


@listing.command("cases")
@click.argument("cases", nargs=-1, type=str)
def list_cases(cases: tuple[str, ...]) -> None:
    """List the id of every case of CASES with its row. Without CASES, list those of the default table."""
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
    """Print random rows as a file of the table, which `conformance lint` and `conformance run` accept."""
    from conformance.table.random_rows import document

    click.echo(document(count, seed), nl=False)


@listing.command("divergences")
def list_divergences() -> None:
    """Print the ledger: how the frameworks' dense layers differ from the rule, and in which versions."""
    import shutil

    from conformance.commands.ledger_text import document
    from conformance.run.selection import Selection, SelectionError

    try:
        behaviours = Selection().ledger()
    except SelectionError as error:
        raise CommandFault(str(error)) from None
    click.echo(document(behaviours, shutil.get_terminal_size((100, 24)).columns))


@listing.command("coverage")
@click.argument("cases", nargs=-1, type=str)
def list_coverage(cases: tuple[str, ...]) -> None:
    """Count the pairs of rank, batch, bias, activation, dtype, layout, lane and depth that CASES cover."""
    from conformance.run.selection import Selection, SelectionError
    from conformance.table.coverage import coverage, document

    try:
        click.echo(document(coverage(Selection(cases=cases, tier="nightly").table())))
    except SelectionError as error:
        raise CommandFault(str(error)) from None


@listing.command("checks")
def list_checks() -> None:
    """List every check."""
    from conformance.table.check_names import CHECKS

    for each in CHECKS:
        click.echo(each)
