"""
The commands `conformance nightly ...`: run a night, publish it, open the issues of what got worse.

`make nightly` calls them one after the other, and so does the workflow, in jobs with different permissions.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import click

from conformance.run.errors import CommandFault, OutputPath

#: Exit code: something got worse, or a known behaviour is gone.
WORSE: Final = 1
#: Exit code: a night was set aside, or nothing ran.
SET_ASIDE: Final = 3

_RESULTS: Final = "results.jsonl"


@click.group()
def nightly() -> None:
    """Run a night, publish it, and open the issues of what got worse."""


@nightly.command(context_settings={"ignore_unknown_options": True})
@click.option("-o", "output", type=OutputPath(file_okay=False), required=True, metavar="DIR")
@click.option("--strict-ledger", is_flag=True, help="Exit with 1 if a known divergence is gone.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(output: Path, strict_ledger: bool, arguments: tuple[str, ...]) -> None:
    """
    Run the table, and write results and page into DIR. The name of DIR names the environment.

    ARGUMENTS are those of `conformance run`. The results of an earlier run in DIR are removed first, so that no night
    is published twice. Red cells do not change the exit code: `publish` compares them with the last good night. With
    --strict-ledger the exit code is 1 if a known divergence is gone.
    """
    output.mkdir(parents=True, exist_ok=True)
    for each in (_RESULTS, "index.html"):
        (output / each).unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-m", "conformance", "run", *arguments, "-o", str(output)], check=False)
    if done.returncode not in (0, 1):
        sys.exit(done.returncode)
    sys.exit(WORSE if strict_ledger and _has_gone_behaviour(output / _RESULTS) else 0)


def _has_gone_behaviour(results: Path) -> bool:
    """Return whether any known behaviour is gone in a run."""
    from conformance.results import ResultsError, read
    from conformance.results.behaviours import gone_entries

    try:
        return any(True for cell in read(results).cells for _ in gone_entries(cell))
    except ResultsError as error:
        raise CommandFault(str(error)) from None


@nightly.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--site", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR")
@click.option("--issues", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write issues here.")
@click.option("--expect", multiple=True, metavar="NAME", help="An environment that must have a night; repeatable.")
@click.option("--accept", is_flag=True, help="Compare later nights with this one, even if something got worse.")
@click.option(
    "--keep",
    "limit",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    metavar="N",
    help="The number of nights in the history.",
)
def publish(folder: Path, site: Path, issues: Path | None, expect: tuple[str, ...], accept: bool, limit: int) -> None:
    """
    Publish the nights in FOLDER, one folder for each environment, into DIR.

    Exit code 0: nothing got worse. 1: something got worse; the night is published. 2: the command failed. 3: a night
    was set aside, since it was broken off, nothing ran or everything failed; what was published before stays.
    """
    from conformance.commands.nightly import publish as nights
    from conformance.commands.nightly.archive import NightlyError
    from conformance.commands.nightly.pages import cover
    from conformance.results import ResultsError

    files = {each.parent.name: each for each in sorted(folder.glob(f"*/{_RESULTS}"))}
    files |= {name: folder / name / _RESULTS for name in expect if name not in files}
    if not files:
        raise CommandFault(f"{folder}: no night: no folder in it has a {_RESULTS}")
    try:
        published = [nights.publish(files[name], site, accept=accept, limit=limit) for name in sorted(files)]
        cover(site)
        written = [] if issues is None else nights.write_issues(published, issues)
    except (NightlyError, ResultsError) as error:
        raise CommandFault(str(error)) from None
    except OSError as error:
        raise CommandFault(f"{error.filename}: {error.strerror}") from None
    for each in published:
        click.echo(each.sentence())
    if written:
        click.echo(f"issues: {len(written)} in {issues}")
    worst = max((SET_ASIDE if each.reason else WORSE if each.is_worse else 0) for each in published)
    sys.exit(worst)


@nightly.command()
@click.argument("folder", type=click.Path(path_type=Path))
def issues(folder: Path) -> None:
    """Open or update an issue on GitHub for each file in FOLDER, with the command `gh`."""
    from conformance.commands.nightly.github import TrackerError, open_or_update, read_issues

    try:
        for each in open_or_update(read_issues(folder)):
            click.echo(each)
    except TrackerError as error:
        raise CommandFault(str(error)) from None
