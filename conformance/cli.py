"""
The command `conformance`.

Each command imports what it needs when it is called, so that `explain` answers at once; none imports a framework.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from conformance import __version__
from conformance.merge_command import merge
from conformance.nightly_commands import nightly
from conformance.search_command import search

if TYPE_CHECKING:
    from conformance.results import Run

#: Exit codes of `run`: the table or the command is at fault, and nothing ran.
AT_FAULT: Final = 2
NOTHING_RAN: Final = 3
#: How often a worker is started anew for each `--tx`.
RESTARTS: Final = 4


class _Positive(click.FloatRange):
    """A range of numbers that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return number if number == number else self.fail(f"{value!r} is not a number.", param, ctx)


_CASES = click.argument("cases", nargs=-1, type=str)
#: From a millisecond or a megabyte to a week and more; not NaN, of which a range by its ends alone knows nothing.
_MORE_THAN_0 = _Positive(min=0.001, max=1e6)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="conformance")
def main() -> None:
    """Hold the dense layers of every framework to one rule."""


main.add_command(merge)
main.add_command(nightly)
main.add_command(search)


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
@click.option("--tx", multiple=True, metavar="SPEC", help="Workers of other machines instead: ssh=HOST; repeatable.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of each process; its share of the CPUs.")
@click.option("--shard", default="1/1", metavar="I/N", help="Run the I-th of N parts.")
@click.option("--times", metavar="RESULTS", help="Expect cells to take as long as they did in this results file.")
@click.option("--no-ledger", is_flag=True, help="Known divergences violate, as if nobody knew of them.")
@click.option("--draws", type=click.IntRange(min=1), default=1, metavar="N", help="Ask every question N times.")
@click.option("--deadline", type=_MORE_THAN_0, metavar="SECONDS", help="Of a cell's answers; 60 without it.")
@click.option("--start-deadline", type=_MORE_THAN_0, metavar="SECONDS", help="Of a process until it is up; 120.")
@click.option("--memory", type=_MORE_THAN_0, metavar="GIB", help="Resident, that a framework's process may take; 8.")
@click.option(
    "--junit-xml",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    metavar="FILE",
    help="Write the verdicts as JUnit XML as well.",
)
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
    tx: tuple[str, ...],
    threads: int | None,
    shard: str,
    times: str | None,
    draws: int,
    no_ledger: bool,
    deadline: float | None,
    start_deadline: float | None,
    memory: float | None,
    junit_xml: Path | None,
    output: Path,
) -> None:
    """
    Run CASES (files or folders; the default table without any) and write results and page into DIR.

    With --tx, workers run on other machines, as docs/machines.md says; for some on this one add --tx 2*popen.

    With --random so many random cases are run as well; `conformance list random` writes them to a file of their own.

    Exit code 0: all conform, or diverge as the ledger says. 1: something violates, crashed or timed out, or a known
    divergence went away. 2: the table or the command is at fault, or what is found cannot be written. 3: nothing ran.
    """
    import pytest

    from conformance import suite
    from conformance.results import ResultsError

    results = output / "results.jsonl"
    options = [f"--cases={each}" for each in cases] + [f"--implementation={each}" for each in implementation]
    options += [f"--device={device}", f"--tier={tier}", f"--shard={shard}", f"--draws={draws}", f"--results={results}"]
    options += ["--no-ledger"] if no_ledger else []
    limits = {"deadline": deadline, "start-deadline": start_deadline, "memory": memory}
    options += [f"--{name}={value!r}" for name, value in limits.items() if value is not None]
    options += [f"--junit-xml={junit_xml.absolute()}"] if junit_xml is not None else []
    options += [f"--random={random}", f"--random-seed={seed}"]
    options += [] if times is None else [f"--times={times}"]
    options += [] if threads is None else [f"--threads={threads}"]
    package = Path(suite.__file__).parent
    # Nothing of the folder the command is called in has a say: no ini file, no conftest, no plugin, no cache.
    isolation = ["-c", str(package / "run.ini"), "--rootdir", str(package), "--noconftest", "-p", "no:cacheprovider"]
    isolation += ["-p", "conformance.plugin", "--import-mode=importlib", "-W", "error"]
    isolation += _workers(workers, tx)
    if str(Path.cwd()) not in sys.path:
        # For implementations named as module:Class; at the end, so that it shadows nothing.
        sys.path.append(str(Path.cwd()))
    # The summary shows red cells itself: of thousands, pytest would print every one.
    quiet = ["-q", "--no-header", "--progress", "--tb=no", "-rN"]
    try:
        code = pytest.main([*isolation, *options, *quiet, f"{package / 'suite.py'}::test_dense"])
        if results.exists() and code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
            write_page([results], output / "index.html")
    except (OSError, ResultsError) as error:
        raise _Fault(str(error)) from None  # the page, or what else cannot be kept: a full disk, no temporary folder
    sys.exit(_EXIT_CODES.get(int(code), int(code)))


def _workers(count: str, tx: tuple[str, ...]) -> list[str]:
    """Return the options of pytest-xdist: so many workers here, or those that `tx` names."""
    if not tx:
        return [] if count == "0" else ["-n", count]
    source = click.get_current_context().get_parameter_source("workers")
    if source is not click.core.ParameterSource.DEFAULT:
        raise _Fault("-n and --tx exclude one another: for workers of this machine add --tx 2*popen")
    # A machine on which workers die again and again must not keep the run from its end. And what reaches for a machine
    # that is not there leaves its socket to be closed by whoever finds it.
    return [
        "-W",
        "ignore::ResourceWarning",
        "--dist=load",
        f"--max-worker-restart={RESTARTS * len(tx)}",
        *(f"--tx={each}" for each in tx),
    ]


#: pytest's exit codes -> those of `run`.
_EXIT_CODES: Final = {4: AT_FAULT, 5: NOTHING_RAN}


def write_page(results: list[Path], page: Path, against: Path | None = None, history: Path | None = None) -> None:
    """Write the HTML page of results files, with what changed since another and nights before, and say where it is."""
    import gc

    from conformance.report import write
    from conformance.results import read

    # All that is read lives until the page is written: a collector that walks it doubles the time and finds nothing.
    gc.disable()
    try:
        # A page shows whatever there is; what changed can be told of whole records alone.
        runs = [read(each, strict=against is not None) for each in results]
        changes = None if against is None else _changes(against, runs)
        nights = None if history is None else _nights(history)
        write(runs, page, changes=changes, history=nights)
    finally:
        gc.enable()
    click.echo(f"page: {page}")


def _changes(against: Path, runs: list[Run]) -> dict[str, Any]:
    """Return what changed from the results file `against` to the one run, as the page takes it."""
    from conformance.diff import diff as difference
    from conformance.diff_told import as_json
    from conformance.results import opened

    if len(runs) != 1:
        raise _Fault("--against compares with one results file, so give one alone")
    old = opened(against)
    since = f"{against.name}, started {old.header.get('started', 'at an unknown time')}"
    return {**json.loads(as_json(difference(old, runs[0]))), "since": since}


def _nights(folder: Path) -> dict[str, Any]:
    """Return the sum of a folder of results files, as the page takes it."""
    from conformance.history import summary

    return summary(folder)


@main.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), default=Path("reports/index.html"))
@click.option("--against", type=click.Path(path_type=Path), metavar="OLD", help="Say what changed since OLD.")
@click.option("--history", type=click.Path(path_type=Path), metavar="FOLDER", help="Show the nights in FOLDER.")
def report(results: tuple[Path, ...], output: Path, against: Path | None, history: Path | None) -> None:
    """
    Write one HTML page from RESULTS files, of several machines or versions if you like.

    OLD is an earlier results file of the same table; FOLDER holds results files, one for each night.
    """
    from conformance.results import ResultsError

    try:
        write_page(list(results), output, against, history)
    except (ResultsError, OSError) as error:
        raise _Fault(str(error)) from None


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
    from conformance.diff import diff as changes
    from conformance.diff_told import as_json, as_markdown, as_text
    from conformance.results import ResultsError, opened

    try:
        found = changes(opened(old), opened(new), partial=partial)
    except ResultsError as error:
        raise _Fault(str(error)) from None
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

    from conformance.columnar import HistoryError, open_nights
    from conformance.history import as_text, life, life_as_text, overview

    try:
        nights = open_nights(folder, cache)
        lives = life(nights, cell) if cell else ()
    except HistoryError as error:
        raise _Fault(str(error)) from None
    if cell:
        told = [
            {**asdict(each), "turns": [{**asdict(turn), "changed": turn.changed} for turn in each.turns]}
            for each in lives
        ]
        text = json.dumps(told, indent=2, ensure_ascii=False)
        click.echo(text if form == "json" else "\n\n".join(map(life_as_text, lives)))
    else:
        found = overview(nights, last)
        click.echo(json.dumps(found, indent=2, ensure_ascii=False) if form == "json" else as_text(found, last))


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

    from conformance.explain import explain as explanation
    from conformance.explain import parse_shape
    from conformance.terminal import is_coloured, show

    try:
        shapes = [parse_shape(each) for each in input_shapes]
        width = shutil.get_terminal_size((100, 24)).columns
        text = explanation(shapes, list(units), list(activations), use_bias, width, frameworks)
    except ValueError as error:
        raise _Fault(str(error)) from None
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
@click.argument("cell")
@click.argument("results", type=click.Path(path_type=Path), default=Path("reports/results.jsonl"))
@click.option("--check", default=None, metavar="NAME", help="Show this failing check; the first one otherwise.")
def reproduce(cell: str, results: Path, check: str | None) -> None:
    """
    Print a standalone script, for a bug report, that shows what CELL of RESULTS was seen to do.

    CELL is DEVICE/IMPLEMENTATION/CASE, as in a test's id, or IMPLEMENTATION/CASE. The script needs the framework and
    NumPy alone, and prints what is expected, what it got, and the versions.
    """
    from conformance.reproduce import NotShown
    from conformance.reproduce.cells import NoSuchCell
    from conformance.reproduce.cells import reproduce as written
    from conformance.results import ResultsError

    try:
        click.echo(written(cell, results, check), nl=False)
    except (NoSuchCell, NotShown, ResultsError) as error:
        raise _Fault(str(error)) from None


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("-o", "output", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR")
def badge(results: Path, output: Path) -> None:
    """Write into DIR a badge for each implementation of RESULTS: JSON for an endpoint of shields.io."""
    from conformance.badge import write
    from conformance.results import ResultsError, opened

    try:
        for each in write(opened(results), output):
            click.echo(each)
    except (ResultsError, OSError) as error:
        raise _Fault(str(error)) from None


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
def triage(results: Path) -> None:
    """Draft a ledger entry for every red cell of RESULTS, why and link left blank."""
    from conformance.results import ResultsError, opened
    from conformance.triage import drafts

    try:
        click.echo(drafts(opened(results)), nl=False)
    except ResultsError as error:
        raise _Fault(str(error)) from None


class _Fault(click.ClickException):
    """The command is itself at fault."""

    exit_code = AT_FAULT
