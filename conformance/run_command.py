"""The command `conformance run`: what it takes from its caller, as words for pytest, and what its exit code says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from conformance.at_fault import AT_FAULT, CommandFault
from conformance.instruction_set import NAMES
from conformance.page_command import write_page

#: Exit code: nothing ran.
NOTHING_RAN: Final = 3
#: How often a worker is started anew for each `--tx`.
RESTARTS: Final = 4


class _Positive(click.FloatRange):
    """A range of numbers that NaN is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return number if number == number else self.fail(f"{value!r} is not a number.", param, ctx)


_CASES: Final = click.argument("cases", nargs=-1, type=str)
#: From a millisecond or a megabyte to a week and more; not NaN, of which a range by its ends alone knows nothing.
_MORE_THAN_0 = _Positive(min=0.001, max=1e6)


@click.command()
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
@click.option("--cpu-isa", type=click.Choice(NAMES), help="Limit frameworks to this instruction set.")
@click.option("--shard", default="1/1", metavar="I/N", help="Run the I-th of N parts.")
@click.option("--times", metavar="RESULTS", help="Expect cells to take as long as they did in this results file.")
@click.option("--no-ledger", is_flag=True, help="Known divergences violate, as if nobody knew of them.")
@click.option("--strict-ledger", is_flag=True, help="Exit with 1 where a known divergence is gone.")
@click.option("--draws", type=click.IntRange(min=1), default=1, metavar="N", help="Ask every question N times.")
@click.option("--deadline", type=_MORE_THAN_0, metavar="SECONDS", help="CPU time per thread for a cell's answers; 300.")
@click.option("--start-deadline", type=_MORE_THAN_0, metavar="SECONDS", help="CPU time until a process is up; 120.")
@click.option("--hang", type=_MORE_THAN_0, metavar="SECONDS", help="Wall time almost without CPU time; 60.")
@click.option("--memory", type=_MORE_THAN_0, metavar="GIB", help="Resident, that a framework's process may take; 8.")
@click.option("--collect-only", is_flag=True, help="Say how many cells there are and what they would take; run none.")
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
    cpu_isa: str | None,
    shard: str,
    times: str | None,
    draws: int,
    no_ledger: bool,
    strict_ledger: bool,
    deadline: float | None,
    start_deadline: float | None,
    hang: float | None,
    memory: float | None,
    collect_only: bool,
    junit_xml: Path | None,
    output: Path,
) -> None:
    """
    Run CASES (files or folders; the default table without any) and write results and page into DIR.

    With --tx, workers run on other machines, as docs/machines.md says; for some on this one add --tx 2*popen.

    With --random so many random cases are run as well; `conformance list random` writes them to a file of their own.

    Exit code 0: all conform, or diverge as the ledger says. 1: something violates, crashed or timed out; with
    --strict-ledger also: a known divergence is gone. 2: the table or the command is at fault, or what is found cannot
    be written. 3: nothing ran.
    """
    if str(Path.cwd()) not in sys.path:
        # For implementations named as module:Class; at the end, so that it shadows nothing.
        sys.path.append(str(Path.cwd()))
    if collect_only:
        selected = {"cases": cases, "implementations": implementation, "device": device, "tier": tier, "times": times}
        _collect({**selected, "random": random, "random_seed": seed}, shard, draws)
        return

    import pytest

    from conformance import suite
    from conformance.results import ResultsError

    results = output / "results.jsonl"
    options = [f"--cases={each}" for each in cases] + [f"--implementation={each}" for each in implementation]
    options += [f"--device={device}", f"--tier={tier}", f"--shard={shard}", f"--draws={draws}", f"--results={results}"]
    options += ["--no-ledger"] if no_ledger else []
    options += ["--strict-ledger"] if strict_ledger else []
    limits = {"deadline": deadline, "start-deadline": start_deadline, "hang": hang, "memory": memory}
    options += [f"--{name}={value!r}" for name, value in limits.items() if value is not None]
    options += [f"--junit-xml={junit_xml.absolute()}"] if junit_xml is not None else []
    options += [f"--random={random}", f"--random-seed={seed}"]
    options += [] if times is None else [f"--times={times}"]
    options += [] if threads is None else [f"--threads={threads}"]
    options += [] if cpu_isa is None else [f"--cpu-isa={cpu_isa}"]
    package = Path(suite.__file__).parent
    # Nothing of the folder the command is called in has a say: no ini file, no conftest, no plugin, no cache.
    isolation = ["-c", str(package / "run.ini"), "--rootdir", str(package), "--noconftest", "-p", "no:cacheprovider"]
    isolation += ["-p", "conformance.plugin", "--import-mode=importlib", "-W", "error"]
    isolation += _workers(workers, tx)
    # The summary shows red cells itself: of thousands, pytest would print every one.
    quiet = ["-q", "--no-header", "--progress", "--tb=no", "-rN"]
    try:
        code = pytest.main([*isolation, *options, *quiet, f"{package / 'suite.py'}::test_dense"])
        if results.exists() and code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
            write_page([results], output / "index.html")
    except (OSError, ResultsError) as error:
        raise CommandFault(
            str(error)
        ) from None  # the page, or what else cannot be kept: a full disk, no temporary folder
    sys.exit(_EXIT_CODES.get(int(code), int(code)))


def _collect(selected: dict[str, Any], shard: str, draws: int) -> None:
    """Print what a run would be, and run nothing."""
    from conformance.planned import planned
    from conformance.selection import Selection, SelectionError, parse_shard

    try:
        for line in planned(Selection(**selected, shard=parse_shard(shard)), draws=draws):
            click.echo(line)
    except SelectionError as error:
        raise CommandFault(str(error)) from None


def _workers(count: str, tx: tuple[str, ...]) -> list[str]:
    """Return the options of pytest-xdist: so many workers here, or those that `tx` names."""
    if not tx:
        return [] if count == "0" else ["-n", count]
    source = click.get_current_context().get_parameter_source("workers")
    if source is not click.core.ParameterSource.DEFAULT:
        raise CommandFault("-n and --tx exclude one another: for workers of this machine add --tx 2*popen")
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
