"""
Measures the search of a folder of made-up nights: the first reading, and each query after it.

Prints the size of the nights, and the wall time of each query in seconds. One night has a planted regression, and one
cell alternates; a query that misses them ends the benchmark with an error.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from conformance.results.history import queries
from conformance.results.history.store import open_nights

IMPLEMENTATIONS: Final = ("torch", "torch:compile", "keras-jax", "keras-torch", "flax-nnx")
#: The night of the regression, counted from the last.
AGO: Final = 20
CHECKS: Final = ("output_shape", "parameters", "output_dtype", "placement", "output", "gradients", "repeatable")


def cell(number: int) -> dict[str, Any]:
    """Return the record of a cell, about as long as that of a real cell."""
    implementation = IMPLEMENTATIONS[number % len(IMPLEMENTATIONS)]
    checks = [
        {
            "check": check,
            "outcome": "conforms",
            "margin": round((number % 97) / 100 + 0.01 * index, 4),
            "where": "output",
            "worst": [1, 17, 3],
            "got": 0.6684439182281494,
            "exact": 0.6684437754284102,
            "allowed": 1.0456477769615845e-06,
            "line": "proven",
        }
        for index, check in enumerate(CHECKS)
    ]
    return {
        "type": "cell",
        "case": f"{number // len(IMPLEMENTATIONS)}x28-4-uniform",
        "implementation": implementation,
        "device": "cpu",
        "outcome": "conforms",
        "checks": checks,
        "steps": {f"output of step {index}": 0.000123 for index in range(12)},
        "seconds": 0.0031,
        "row": "cases/seed.yaml:4",
        "question": {"input_shape": [32, 28], "units": [4], "dtype": ("float32", "bfloat16")[number % 2]},
        "why": "The 32 positions share one kernel of 28 by 4.",
    }


def make(folder: Path, nights: int, cells: int) -> int:
    """Write the nights, and return their size in bytes."""
    records = [cell(number) for number in range(cells)]
    good = [json.dumps(each) for each in records]
    bad = json.dumps(
        {**records[0], "outcome": "violates", "checks": [{"check": "output", "outcome": "violates", "margin": 17.0}]}
    )
    begun = datetime(2026, 1, 1, 3, tzinfo=UTC)
    written = 0
    for night in range(nights):
        regressed = night >= nights - AGO
        lines = list(good)
        lines[0] = bad if regressed else good[0]
        lines[1] = lines[1].replace('"conforms"', '"timed_out"', 1) if night % 2 else lines[1]
        started = (begun + timedelta(days=night)).isoformat()
        versions = {"torch": "2.13.0" if regressed else "2.12.0", "numpy": "2.4.6"}
        head = [{"type": "header", "schema": 1, "started": started, "distributions": {}, "cells": cells}]
        head += [{"type": "implementation", "implementation": each, "versions": versions} for each in IMPLEMENTATIONS]
        foot = {"type": "footer", "counts": {}, "complete": True, "seconds": 1.0}
        text = "\n".join([*map(json.dumps, head), *lines, json.dumps(foot), ""])
        (folder / f"{night:05d}.jsonl").write_text(text, encoding="utf-8")
        written += len(text)
    return written


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the wall time of the block."""
    started = time.perf_counter()
    yield
    print(f"{what:<52} {time.perf_counter() - started:8.2f} s", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Measure in a folder, which is emptied first and removed at the end; arguments: folder, nights, cells."""
    folder, nights, cells = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        written = make(folder, nights, cells)
        print(f"{nights:,} nights of {cells:,} cells: {nights * cells:,} in {written / 1e9:.2f} GB of results files")
        with timed("read for the first time"):
            open_nights(folder)
        columns = sum(each.stat().st_size for each in (folder / ".cache").iterdir())
        print(f"stored as {columns / 1e6:.0f} MB of columns")
        with timed("opened again"):
            found = open_nights(folder)
        with timed("first bad night of a cell"):
            (cell,) = queries.cell_histories(found, "torch/0x28-4-uniform")
        with timed("what got worse, in the last 30 nights"):
            worse = queries.worse_cells(found, 30)
        with timed("what alternates, in the last 90 nights"):
            alternating = queries.flaky(found, 90)
        with timed("what alternates, in all nights"):
            queries.flaky(found, nights)
        with timed("what the page shows, opened again"):
            queries.summary(folder)
        (turn,) = cell.regressions
        if turn.version_changes != ("torch 2.12.0 -> 2.13.0",) or turn.after.file != f"{nights - AGO:05d}.jsonl":
            sys.exit(f"the planted regression was not found: {turn}")
        if [each.case for each in worse] != ["0x28-4-uniform", "0x28-4-uniform"][: len(worse)] or not worse:
            sys.exit(f"what got worse is not what was planted: {worse}")
        if {each.implementation for each in alternating} != {"torch:compile"}:
            sys.exit(f"what alternates is not what was planted: {alternating}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
