"""How every command says that it was itself at fault: one form of error on stderr, and exit code 2."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any, Final

import click

from conformance.text import printable

#: Exit code: the table or the command is at fault, or was interrupted.
AT_FAULT: Final = 2
#: Exit code: an error of the suite itself. Python's own would be 1, which says that something is red or got worse.
INTERNAL_ERROR: Final = 4


class CommandFault(click.ClickException):
    """The command is itself at fault; the message, a line for each fault, is what a person reads."""

    exit_code = AT_FAULT

    def __init__(self, message: str) -> None:
        # Files name what they are about, and a name may hold what steers a terminal.
        super().__init__("\n".join(map(printable, message.split("\n"))))


class OutputPath(click.Path):
    """What `-o` names, as a `Path`: a folder with `file_okay=False`, a file with `dir_okay=False`."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; an empty one, as a shell makes of a variable that is not set, would be this folder."""
        if str(value) == "":
            self.fail(f"it is empty: name a {'file' if self.file_okay else 'folder'}.", param, ctx)
        return super().convert(value, param, ctx)


def print_error(message: object) -> None:
    """Print an error on stderr, in the one form that all commands and runs have."""
    click.echo(f"error: {message}", err=True)


class Commands(click.Group):
    """The commands of the suite; click's own errors have three lines and another form."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command and end the process; what click calls an aborted command has exit code 2, never 1."""
        options["standalone_mode"] = False
        try:
            sys.exit(super().main(*args, **options))
        except click.UsageError as error:
            print_error(error.format_message())
            if error.ctx is not None:
                click.echo(f"options: {error.ctx.command_path} -h", err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            print_error(error.format_message())
            sys.exit(error.exit_code)
        except click.Abort:
            print_error("interrupted")
            sys.exit(AT_FAULT)
        except Exception:
            traceback.print_exc()
            sys.exit(INTERNAL_ERROR)
