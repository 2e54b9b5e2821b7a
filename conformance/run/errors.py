"""Errors of commands: one form on stderr, and exit code 2."""

from __future__ import annotations

import gc
import sys
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from conformance.text import printable

#: Exit code: the table or the command has a fault, or was interrupted.
AT_FAULT: Final = 2
#: Exit code: an error of the suite itself. Python's own, 1, means that a cell is red.
INTERNAL_ERROR: Final = 4
#: GC threshold. Collected tests and kept questions live all session; frequent collections rescan them for nothing.
OBJECTS_BETWEEN_COLLECTIONS: Final = 10_000


class CommandFault(click.ClickException):
    """The command has a fault; the message has a line for each."""

    exit_code = AT_FAULT

    def __init__(self, message: str) -> None:
        # A name from a file may contain control characters.
        super().__init__("\n".join(map(printable, message.split("\n"))))


class OutputPath(click.Path):
    """The value of `-o` as a `Path`: a folder with `file_okay=False`, a file with `dir_okay=False`."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. An empty one, from an unset shell variable, is an error: it would be this folder."""
        if str(value) == "":
            self.fail(f"it is empty: name a {'file' if self.file_okay else 'folder'}.", param, ctx)
        return Path(str(super().convert(str(value), param, ctx)))


def print_error(message: object) -> None:
    """Print an error on stderr, in the form of all commands and runs."""
    click.echo(f"error: {message}", err=True)


class Commands(click.Group):
    """The commands of the suite, with errors in one line instead of click's three."""

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command in a process of its own, which ends with it."""
        # What is imported lives to the end. Collections of it take a quarter of the CPU time of a short command.
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
        self.main(*args, **options)

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run a command and end the process. An aborted command has exit code 2, not click's 1."""
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
