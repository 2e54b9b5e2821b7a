"""The command `conformance merge`: the results files of shards made one."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.run.errors import CommandFault, OutputPath


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "output", type=OutputPath(dir_okay=False), required=True, metavar="FILE")
def merge(results: tuple[Path, ...], output: Path) -> None:
    """
    Make one FILE of the RESULTS of all shards of a run, as `diff`, `badge` and `nightly publish` want it.

    Exit code 2: they are not the shards of one run, each once.
    """
    from conformance.results import ResultsError
    from conformance.results.merge import MergeError
    from conformance.results.merge import merge as merged

    try:
        count = merged(results, output)
    except (MergeError, ResultsError) as error:
        raise CommandFault(str(error)) from None
    except OSError as error:
        raise CommandFault(f"{output}: {error.strerror}") from None
    click.echo(f"{output}: {count} cells of {len(results)} shards")
