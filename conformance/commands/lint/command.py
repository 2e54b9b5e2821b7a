"""The command `conformance lint`."""

from __future__ import annotations

import sys

import click

from conformance.run.errors import AT_FAULT


@click.command()
@click.argument("cases", nargs=-1, type=str)
def lint(cases: tuple[str, ...]) -> None:
    """
    Print every fault of CASES, as file:line:column: message. Without CASES, check the default table and its ledger.

    For the ledger, also print for each behaviour how many cells it covers, and the width of its bounds.
    """
    from conformance.commands.lint.inspection import inspect

    inspection = inspect(cases)
    for each in (*inspection.scopes, *inspection.faults):
        click.echo(str(each))
    click.echo(str(inspection), err=bool(inspection.faults))
    if inspection.faults:
        sys.exit(AT_FAULT)
