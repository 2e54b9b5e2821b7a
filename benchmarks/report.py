"""
(f) The cost of a page: CPU time and size of `conformance report` on results files of 20,000 and 100,000 cells.

    python -m benchmarks.report [CELLS...]

The files are those of `benchmarks/growth.py`, of twenty implementations.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu_time import python
from benchmarks.growth import grown, real

SIZES: Final = (20_000, 100_000)
TIMES: Final = 3


def measure(*sizes: int) -> dict[str, Any]:
    """Return for each size the CPU seconds of `conformance report` (median), and the bytes of file and page."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = real(folder)
        for size in sizes or SIZES:
            results, page = folder / f"{size}.jsonl", folder / f"{size}.html"
            grown(source, results, size)
            command = ("-m", "conformance", "report", str(results), "-o", str(page))
            cpu = statistics.median(python(*command).cpu for _ in range(TIMES))
            found[str(size)] = {"cpu": cpu, "results": results.stat().st_size, "page": page.stat().st_size}
            results.unlink()
    return {"sizes": found, "seconds_target": 10.0, "bytes_target": 10_000_000}


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = ["| cells | results file, MB | CPU seconds | page, MB |", "|---:|---:|---:|---:|"]
    for size, each in found["sizes"].items():
        numbers = f"{each['results'] / 1e6:.0f} | {each['cpu']:.1f} | {each['page'] / 1e6:.1f}"
        rows.append(f"| {int(size):,} | {numbers} |")
    targets = f"{found['seconds_target']:g} s and {found['bytes_target'] / 1e6:g} MB"
    return [*rows, "", f"Target at 100,000: {targets}."]


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
