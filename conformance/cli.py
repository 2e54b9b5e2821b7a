"""
The command `conformance`.

Each command imports what it needs when it is called, so that `explain` answers at once; none imports a framework.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from conformance import __version__

#: Exit codes of `run`: the table or the command is at fault, and nothing ran.
AT_FAULT: Final = 2
NOTHING_RAN: Final = 3

_CASES = click.argument("cases", nargs=-1, type=str)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="conformance")
def main() -> None:
    """Hold the dense layers of every framework to one rule."""


@main.command()
@_CASES
@click.option(
    "-i",
    "--implementation",
    multiple=True,
    metavar="NAME",
    help="Name, glob, module:Class or module:function; repeatable.",
)
@click.option("--device", type=click.Choice(["cpu", "gpu", "auto"]), default="cpu", show_default=True)
@click.option("--tier", type=click.Choice(["quick", "full", "nightly"]), default="full", show_default=True)
@click.option("--random", type=click.IntRange(min=0), default=0, metavar="N", help="Add N random cases.")
@click.option("--seed", type=click.IntRange(min=0), default=0, metavar="S", help="The seed of the random cases.")
@click.option("-n", "workers", default="auto", show_default=True, metavar="N", help="Processes of pytest; 0 for none.")
@click.option("--shard", default="1/1", metavar="I/N", help="Run the I-th of N parts.")
@click.option("--no-ledger", is_flag=True, help="Known divergences violate, as if nobody knew of them.")
@click.option("--draws", type=click.IntRange(min=1), default=1, metavar="N", help="Ask every question N times.")
@click.option(
    "-o", "output", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True
)
def run(
    cases: tuple[str, ...],
    implementation: tuple[str, ...],
    device: str,
    tier: str,
    random: int,
    seed: int,
    workers: str,
    shard: str,
    draws: int,
    no_ledger: bool,
    output: Path,
) -> None:
    """
    Run CASES (files or folders; the default table without any) and write results and page into DIR.

    With --random so many random cases are run as well; `conformance list random` writes them to a file of their own.

    Exit code 0: all conform, or diverge as the ledger says. 1: something violates, crashed or timed out, or a known
    divergence went away. 2: the table or the command is at fault. 3: nothing ran.
    """
    import pytest

    from conformance import suite

    results = output / "results.jsonl"
    options = [f"--cases={each}" for each in cases] + [f"--implementation={each}" for each in implementation]
    options += [f"--device={device}", f"--tier={tier}", f"--shard={shard}", f"--draws={draws}", f"--results={results}"]
    options += ["--no-ledger"] if no_ledger else []
    options += [f"--random={random}", f"--random-seed={seed}"]
    package = Path(suite.__file__).parent
    # Nothing of the folder the command is called in has a say: no ini file, no conftest, no plugin, no cache.
    isolation = ["-c", str(package / "run.ini"), "--rootdir", str(package), "--noconftest", "-p", "no:cacheprovider"]
    isolation += ["-p", "conformance.plugin", "--import-mode=importlib", "-W", "error"]
    isolation += [] if workers == "0" else ["-n", workers]
    if str(Path.cwd()) not in sys.path:
        # For implementations named as module:Class; at the end, so that it shadows nothing.
        sys.path.append(str(Path.cwd()))
    code = pytest.main([*isolation, *options, "-q", "--no-header", "--tb=short", f"{package / 'suite.py'}::test_dense"])
    if results.exists() and code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        write_page([results], output / "index.html")
    sys.exit(_EXIT_CODES.get(int(code), int(code)))


#: pytest's exit codes -> those of `run`.
_EXIT_CODES: Final = {4: AT_FAULT, 5: NOTHING_RAN}


def write_page(results: list[Path], page: Path) -> None:
    """Write the HTML page of results files and say where it is."""
    from conformance.report import write
    from conformance.results import read

    write([read(each) for each in results], page)
    click.echo(f"page: {page}")


@main.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), default=Path("reports/index.html"))
def report(results: tuple[Path, ...], output: Path) -> None:
    """Write one HTML page from RESULTS files, of several machines or versions if you like."""
    from conformance.results import ResultsError

    try:
        write_page(list(results), output)
    except (ResultsError, OSError) as error:
        raise _Fault(str(error)) from None


@main.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
def diff(old: Path, new: Path, form: str) -> None:
    """Say what changed from the results file OLD to NEW. Exit code 1: something got worse."""
    from conformance.diff import as_json, as_markdown, as_text
    from conformance.diff import diff as changes
    from conformance.results import ResultsError, read

    try:
        found = changes(read(old), read(new))
    except ResultsError as error:
        raise _Fault(str(error)) from None
    click.echo({"text": as_text, "markdown": as_markdown, "json": as_json}[form](found))
    sys.exit(1 if found.is_worse else 0)


@main.command()
@_CASES
def lint(cases: tuple[str, ...]) -> None:
    """Print every fault of CASES (the default table and its ledger without any), as file:line:column: message."""
    from conformance.linting import faults_of

    faults = faults_of(cases)
    for fault in faults:
        click.echo(str(fault))
    if faults:
        click.echo(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}", err=True)
        sys.exit(AT_FAULT)


@main.command()
@click.option("--input-shape", "input_shapes", multiple=True, required=True, metavar="784,1", help="Repeatable.")
@click.option("--units", multiple=True, required=True, type=int, help="One per layer; repeatable.")
@click.option("--activation", "activations", multiple=True, default=("linear",), help="One for all, or one per layer.")
@click.option("--bias/--no-bias", "use_bias", default=True)
def explain(
    input_shapes: tuple[str, ...], units: tuple[int, ...], activations: tuple[str, ...], use_bias: bool
) -> None:
    """Say what dense layers make of a shape, and why."""
    import shutil

    from conformance.explain import explain as explanation
    from conformance.explain import parse_shape

    try:
        shapes = [parse_shape(each) for each in input_shapes]
        width = shutil.get_terminal_size((100, 24)).columns
        text = explanation(shapes, list(units), list(activations), use_bias, width)
    except ValueError as error:
        raise _Fault(str(error)) from None
    click.echo(text)


@main.group("list")
def listing() -> None:
    """List what there is."""


@listing.command("implementations")
def list_implementations() -> None:
    """List every implementation, and whether its framework is installed."""
    from conformance.adapters.registry import registered

    for name, each in registered().items():
        missing = each.missing_packages()
        click.echo(f"{name:<20} {'not installed: ' + ', '.join(missing) if missing else 'installed'}")


@listing.command("cases")
@_CASES
def list_cases(cases: tuple[str, ...]) -> None:
    """List the id of every case, with its row."""
    from conformance.selection import Selection, SelectionError

    try:
        for case in Selection(cases=cases, tier="nightly").table():
            click.echo(f"{case.id:<60} {case.row}")
    except SelectionError as error:
        raise _Fault(str(error)) from None


@listing.command("random")
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True, metavar="N")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="S")
def list_random(count: int, seed: int) -> None:
    """Print random rows as a file of the table, for `conformance lint` and `conformance run`, or to take rows from."""
    from conformance.random_cases import document

    click.echo(document(count, seed), nl=False)


@listing.command("divergences")
def list_divergences() -> None:
    """Say what differs between the frameworks' dense layers, and since when: the ledger, as a document."""
    import shutil
    from datetime import date

    from conformance.known import document
    from conformance.selection import Selection, SelectionError

    try:
        entries = Selection().ledger()
    except SelectionError as error:
        raise _Fault(str(error)) from None
    click.echo(document(entries, date.today(), shutil.get_terminal_size((100, 24)).columns))


@listing.command("coverage")
@_CASES
def list_coverage(cases: tuple[str, ...]) -> None:
    """Count the pairs of rank, batch, bias, activation, dtype, layout, lane and depth that cases combine."""
    from conformance.coverage import coverage, document
    from conformance.selection import Selection, SelectionError

    try:
        click.echo(document(coverage(Selection(cases=cases, tier="nightly").table())))
    except SelectionError as error:
        raise _Fault(str(error)) from None


@listing.command("checks")
def list_checks() -> None:
    """List every check."""
    from conformance.case import CHECKS

    for each in CHECKS:
        click.echo(each)


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
def triage(results: Path) -> None:
    """Draft a ledger entry for every red cell of RESULTS, why and link left blank."""
    from conformance.results import ResultsError, read
    from conformance.triage import drafts

    try:
        click.echo(drafts(read(results)), nl=False)
    except ResultsError as error:
        raise _Fault(str(error)) from None


class _Fault(click.ClickException):
    """The command is itself at fault."""

    exit_code = AT_FAULT
