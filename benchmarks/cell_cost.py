"""
What a cell costs beside an earlier commit: CPU time of whole runs of both, in turn, on the table of that commit.

    python -m benchmarks.cell_cost COMMIT [--rounds N] [OPTION_OF_PYTEST...] IMPLEMENTATION...

Prints for each implementation a Markdown row: cells, ms of CPU a cell at the commit and now, and their ratio, each the
median of the rounds. An option such as `--shard=1/4` measures a part of the cells. Both run in this interpreter, with
one process of each framework and one thread. Compiled programs of JAX are kept between the runs; a first run of each,
with `--rounds 2` or more, may have to compile them.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cpu_time import ROOT, python


def milliseconds(root: Path, cases: Path, name: str, options: Sequence[str]) -> tuple[int, float]:
    """Return how many cells of `cases` an implementation has, and what one costs in the checkout at `root` (ms)."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        given = ["tests/test_dense.py", "-q", "-p", "no:cacheprovider", "-n", "0", "--threads=1", f"--cases={cases}"]
        chosen = [f"--implementation={name}", f"--results={results}"]
        # Exit status 1: some cell violates, which a table of another commit may.
        spent = python("-m", "pytest", *given, *chosen, *options, root=root, ends=(0, 1))
        cells = sum('"outcome"' in line for line in results.read_text(encoding="utf-8").splitlines())
    return cells, 1000 * spent.cpu / cells


def export(commit: str, folder: Path) -> None:
    """Write the files of a commit into a folder."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def row(earlier: Path, name: str, rounds: int, options: Sequence[str]) -> str:
    """Return the row of an implementation."""
    cases = earlier / "cases"
    pairs = [
        (milliseconds(earlier, cases, name, options), milliseconds(ROOT, cases, name, options)) for _ in range(rounds)
    ]
    before = statistics.median(each[0][1] for each in pairs)
    now = statistics.median(each[1][1] for each in pairs)
    ratio = statistics.median(each[1][1] / each[0][1] for each in pairs)
    return f"| {name} | {pairs[0][1][0]} | {before:.1f} | {now:.1f} | {ratio:.2f} |"


def main() -> None:
    """Print the table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("names", nargs="+", metavar="IMPLEMENTATION")
    known, options = parser.parse_known_args(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        export(known.commit, Path(folder))
        print("| implementation | cells | ms a cell at the commit | ms a cell now | ratio |\n|---|---:|---:|---:|---:|")
        for name in known.names:
            print(row(Path(folder), name, known.rounds, options), flush=True)


if __name__ == "__main__":
    main()
