"""The command `conformance run`: its options, the words it gives pytest, and its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

import conformance
from conformance.commands.report import write_page
from conformance.run.errors import AT_FAULT, INTERNAL_ERROR, CommandFault, OutputPath
from conformance.run.option_table import OPTIONS, Option, arguments_of

_Command = Callable[..., None]

#: Exit code: nothing ran.
NOTHING_RAN: Final = 3
#: What pytest collects.
SUITE: Final = Path(conformance.__file__).parent / "run" / "runner.py"
#: How often a worker is restarted for each `--tx`.
RESTARTS: Final = 4


class _Positive(click.FloatRange):
    """A range of numbers without NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return number if number == number else self.fail(f"{value!r} is not a number.", param, ctx)


def _count_of_workers(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Return the number of processes for pytest-xdist: `auto`, `logical`, or an integer of 0 or more, as text."""
    if value in ("auto", "logical"):
        return value
    if not (value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is not auto, logical, or an integer of 0 or more.")
    return str(int(value))


def _type_of(option: Option) -> click.ParamType[Any] | None:
    """Return the type of an option for click; None for a switch."""
    if option.kind is bool:
        return None
    if option.kind is float:
        # Seconds or megabytes: from a millisecond to more than a week.
        return _Positive(min=0.001, max=1e6)
    if option.kind is int:
        return click.IntRange(min=option.least)
    return click.Choice(option.choices) if option.choices else click.STRING


def _parameter(option: Option) -> str:
    """Return the name of the function's parameter that takes an option's value."""
    return option.name.replace("-", "_")


def _options_of_a_run(command: _Command) -> _Command:
    """Add every option of `conformance.run.option_table` that belongs to the command."""
    for each in reversed(OPTIONS):
        if each.is_of_command:
            decorate = click.option(
                *(each.flags or [f"--{each.name}"]),
                _parameter(each),
                type=_type_of(each),
                is_flag=each.kind is bool,
                default=None if each.repeatable else False if each.kind is bool else each.default,
                multiple=each.repeatable,
                show_default=bool(each.choices),
                metavar=each.metavar,
                help=each.help,
            )
            command = decorate(command)
    return command


@click.command()
@click.argument("cases", nargs=-1, type=str)
@_options_of_a_run
@click.option(
    "-n",
    "workers",
    callback=_count_of_workers,
    default="auto",
    show_default=True,
    metavar="N",
    help="Worker processes of pytest; 0 for none.",
)
@click.option("--tx", multiple=True, metavar="SPEC", help="Use workers on other machines: ssh=HOST; repeatable.")
@click.option(
    "--collect-only", is_flag=True, help="Run and write nothing: print the number of cells and the expected time."
)
@click.option(
    "--junit-xml",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Write the verdicts as JUnit XML as well.",
)
@click.option(
    "-o", "output", type=OutputPath(file_okay=False), default=Path("reports"), show_default=True, metavar="DIR"
)
def run(
    *, workers: str, tx: tuple[str, ...], collect_only: bool, junit_xml: Path | None, output: Path, **values: Any
) -> None:
    """
    Run CASES, and write results and page into DIR. CASES are files or folders; without any, the default table runs.

    With --tx, workers run on other machines: see docs/machines.md. Add --tx 2*popen for two workers on this machine.

    With --random N, N random cases run as well. `conformance list random` prints them as a file.

    Exit code 0: all cells conform, or diverge as declared. 1: a cell violates, crashed or timed out, or an
    implementation selected by name ran nothing; with --strict-ledger also: a known divergence is gone. 2: a fault of
    the table, the command or an adapter, or the results cannot be written. 3: nothing ran. 4: an internal error.

    The page always shows the results file in DIR: a run that writes results and no page removes an earlier page.
    """
    options = {each.name: values.get(_parameter(each)) for each in OPTIONS}
    _refuse_contradictions(options)
    if str(Path.cwd()) not in sys.path:
        # For implementations named as module:Class. It is the last entry, so that it shadows no package.
        sys.path.append(str(Path.cwd()))
    if collect_only:
        _collect(options)
        return
    results = output / "results.jsonl"
    words = arguments_of(options | {"results": results})
    words += [f"--junit-xml={junit_xml.absolute()}"] if junit_xml is not None else []
    # The summary lists red cells itself; pytest would print every one of thousands.
    words += ["-q", "--no-header", "--progress", "--tb=no", "-rN", *_workers(workers, tx), f"{SUITE}::test_dense"]
    sys.exit(_exit_code(words, results, output / "index.html"))


def _exit_code(words: list[str], results: Path, page: Path) -> int:
    """Run pytest with these words and return the exit code of the command; raises `CommandFault`."""
    from conformance.results import ResultsError

    try:
        return _run_and_report(words, results, page)
    except (OSError, ResultsError) as error:
        # The page cannot be written: a full disk, no temporary folder.
        raise CommandFault(str(error)) from None
    except BaseException as error:
        # pytest reports an interrupt itself, unless it comes before the session or in the report of another one.
        if not any(isinstance(each, KeyboardInterrupt) for each in (error, error.__context__)):
            raise
        raise CommandFault("interrupted before anything ran") from None


def _refuse_contradictions(options: Mapping[str, object]) -> None:
    """Raise `CommandFault` where an option would have no effect because of another."""
    source = click.get_current_context().get_parameter_source("random_seed")
    if not options["random"] and source is not click.core.ParameterSource.DEFAULT:
        raise CommandFault("--seed is the seed of random cases, and there are none: add --random N")
    if options["no-ledger"] and options["strict-ledger"]:
        raise CommandFault("--no-ledger and --strict-ledger exclude each other: without a ledger no behaviour is gone")


def _run_and_report(words: list[str], results: Path, page: Path) -> int:
    """
    Run pytest with nothing but these words, write the page of the results of this run, and return the exit code.

    Raises:
        OSError: the page or a temporary folder cannot be written.
        ResultsError: the results file cannot be read.
    """
    import pytest

    for name in [each for each in os.environ if each.startswith("PYTEST_")]:
        del os.environ[name]  # they have options and plugins for other runs of pytest
    # Some installed plugins of pytest reorder, repeat or time the tests of every run.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # The current folder has no influence: no ini file, no conftest, no cache.
    isolation = ["-c", str(SUITE.with_name("run.ini")), "--rootdir", str(SUITE.parent.parent), "--noconftest"]
    isolation += ["-p", "no:cacheprovider", "-p", "xdist", "-p", "conformance.run.plugin"]
    isolation += ["--import-mode=importlib", "-W", "error"]
    before, is_shown = _last_written(results), False
    try:
        code = int(pytest.main([*isolation, *words]))
        if _last_written(results) == before:
            # The results and the page are those of another run. A green run without results ran nothing.
            return _EXIT_CODES.get(code, code) or NOTHING_RAN
        if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
            write_page([results], page)
            is_shown = True
    finally:
        if not is_shown and page.is_file() and _last_written(results) != before:
            page.unlink()
            click.echo(f"page: {page} is removed, since it showed an earlier run")
    return _EXIT_CODES.get(code, code)


def _last_written(results: Path) -> tuple[int, int, int] | None:
    """Return inode, size and time of a file, which change when it is written; None where it is missing."""
    try:
        status = results.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _collect(options: Mapping[str, Any]) -> None:
    """Print the number of cells and the expected time of a run."""
    from conformance.run.estimate import estimate_lines
    from conformance.run.options import selection_of
    from conformance.run.selection import SelectionError

    try:
        for line in estimate_lines(selection_of(options), draws=options["draws"]):
            click.echo(line)
    except SelectionError as error:
        raise CommandFault(str(error)) from None


def _workers(count: str, tx: tuple[str, ...]) -> list[str]:
    """Return the options of pytest-xdist: `count` workers on this machine, or those that `tx` names."""
    # A failed connection to a worker leaves a pipe or socket open, which Python reports as a warning.
    quiet = ["-W", "ignore::ResourceWarning"]
    if not tx:
        return [] if count == "0" else [*quiet, "-n", count]
    source = click.get_current_context().get_parameter_source("workers")
    if source is not click.core.ParameterSource.DEFAULT:
        raise CommandFault("-n and --tx exclude each other: for workers on this machine add --tx 2*popen")
    # A machine whose workers die again and again must not block the run.
    return [
        *quiet,
        "--dist=load",
        f"--max-worker-restart={RESTARTS * len(tx)}",
        *(f"--tx={each}" for each in tx),
    ]


#: pytest's exit codes -> those of `run`.
_EXIT_CODES: Final = {3: INTERNAL_ERROR, 4: AT_FAULT, 5: NOTHING_RAN}
