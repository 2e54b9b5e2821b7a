"""The command `conformance merge`: merges the results files of shards."""

from __future__ import annotations

from pathlib import Path

import click

from conformance.run.errors import CommandFault, OutputPath


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "output", type=OutputPath(dir_okay=False), required=True, metavar="FILE")
def merge(results: tuple[Path, ...], output: Path) -> None:
    """
    Merge the RESULTS of all shards of a run into one FILE, for `diff`, `badge` and `nightly publish`.

    Exit code 2: RESULTS are not all shards of one run, each once.
    """
    from conformance.results import ResultsError
    from conformance.results.merge import MergeError
    from conformance.results.merge import merge as merge_files

    try:
        count = merge_files(results, output)
    except (MergeError, ResultsError) as error:
        raise CommandFault(str(error)) from None
    except OSError as error:
        raise CommandFault(f"{output}: {error.strerror}") from None
    click.echo(f"{output}: {count} cells of {len(results)} shards")
