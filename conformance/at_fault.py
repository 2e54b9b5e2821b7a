"""How every command says that it was itself at fault: one line on stderr, and exit code 2."""

from __future__ import annotations

from typing import Final

import click

#: Exit code: the table or the command is at fault.
AT_FAULT: Final = 2


class CommandFault(click.ClickException):
    """The command is itself at fault; the message is what a person reads."""

    exit_code = AT_FAULT
