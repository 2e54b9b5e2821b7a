"""
The command `conformance` and the list of its commands, each in a file or folder of its own.

The module of a command imports slow packages only when the command is called, so that `explain` answers at once. None
imports a framework.
"""

from __future__ import annotations

import click

from conformance import __version__
from conformance.commands.badge import badge
from conformance.commands.diff import diff
from conformance.commands.explain.command import explain
from conformance.commands.history import history
from conformance.commands.lint.command import lint
from conformance.commands.listing import listing
from conformance.commands.merge import merge
from conformance.commands.nightly.command import nightly
from conformance.commands.report import report
from conformance.commands.reproduce import reproduce
from conformance.commands.run import run
from conformance.commands.search.command import search
from conformance.commands.triage.command import triage
from conformance.run.errors import CommandFault, Commands


class _Commands(Commands):
    """The commands. An installed entry point that does not load is a fault of every command that reads the registry."""

    def invoke(self, ctx: click.Context) -> object:
        from conformance.adapters.registry import BrokenEntryPoint

        try:
            return super().invoke(ctx)
        except BrokenEntryPoint as error:
            raise CommandFault(str(error)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="conformance")
def main() -> None:
    """Check the dense layers of every framework against one rule."""


for each in (
    badge,
    diff,
    explain,
    history,
    lint,
    listing,
    merge,
    nightly,
    report,
    reproduce,
    run,
    search,
    triage,
):
    main.add_command(each)
