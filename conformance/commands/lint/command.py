"""The command `conformance lint`."""

from __future__ import annotations

import sys

import click

from conformance.run.errors import AT_FAULT


@click.command()
@click.argument("cases", nargs=-1, type=str)
def lint(cases: tuple[str, ...]) -> None:
    """
    Print every fault of CASES (the default table and its ledger without any), as file:line:column: message.

    Of the ledger also what each behaviour covers: how many cells, and how wide its bounds are beside the answer.
    """
    from conformance.commands.lint.inspection import inspect

    found = inspect(cases)
    for each in (*found.scopes, *found.faults):
        click.echo(str(each))
    click.echo(str(found), err=bool(found.faults))
    if found.faults:
        sys.exit(AT_FAULT)
