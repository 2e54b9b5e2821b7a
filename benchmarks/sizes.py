"""
(d) What a cell costs in a run of 200, 2,000 and 20,000 cells: CPU time of the whole run, less that of a run of one.

    python -m benchmarks.sizes [SIZE...]

The rows are made up, no two alike and of the same few sizes in turn, and asked of NumPy, so that the suite itself is
what costs; no worker, so that nothing is started twice.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.overhead import suite

SIZES: Final = (200, 2000, 20_000)
#: What every dozen of rows has in common: shape of a sample without its last axis, batch, lane.
_KINDS: Final = tuple(itertools.product(([], [3], [2, 3]), (2, 4), ("uniform", "exact")))

#: How many lengths features and units have, each from 8 up, in tables of up to 20,000 rows.
_SIDE: Final = 41
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
#: No file of the table may have more than 1 MiB.
_ROWS_OF_A_FILE: Final = 5000
#: How often each size is measured, in turn with the others, as a machine is faster now and slower then; what is said
#: is the median. What is larger than `SMALL` is measured once, in the middle.
TIMES: Final = 5
SMALL: Final = 2000


def singles(folder: Path, count: int) -> Path:
    """
    Write a folder of the table with so many rows, no two alike: features and units tell them apart.

    They walk over a square of lengths by the golden ratio, so that few rows are as large, on average, as many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    side = max(_SIDE, math.isqrt(count // len(_KINDS)) + 1)
    step = next(each for each in itertools.count(round(side**2 * _GOLDEN)) if math.gcd(each, side) == 1)
    for first in range(0, count, _ROWS_OF_A_FILE):
        lines = ["description: Rows made up to see what a cell costs.", "rows:"]
        for number in range(first, min(first + _ROWS_OF_A_FILE, count)):
            shape, batch, lane = _KINDS[number % len(_KINDS)]
            units, features = divmod(number // len(_KINDS) * step % side**2, side)
            shown = ", ".join(map(str, [*shape, 8 + features]))
            lines.append(f"  - {{input_shape: [{shown}], units: {8 + units}, batch: {batch}, values: {lane}}}")
        (folder / f"rows-{first}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def measure(*sizes: int) -> dict[str, Any]:
    """Return the CPU seconds of a cell at each size, and how far the dearest is above the cheapest."""
    sizes = sizes or SIZES
    spent: dict[int, list[float]] = {size: [] for size in (1, *sizes)}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(TIMES):
            for size, seconds in spent.items():
                if size <= SMALL or number == TIMES // 2:
                    seconds.append(_run(Path(folder), size))
    alone = statistics.median(spent[1])
    found = {size: (statistics.median(spent[size]) - alone) / (size - 1) for size in sizes}
    return {"seconds": found, "spread": max(found.values()) / min(found.values()) - 1, "target": 0.1}


def _run(folder: Path, size: int) -> float:
    return suite(["numpy"], "0", f"--cases={singles(folder / str(size), size)}").cpu


def lines(found: dict[str, Any]) -> list[str]:
    """Return what was measured, as Markdown."""
    told = ", ".join(f"{1000 * seconds:.1f} ms at {int(size):,}" for size, seconds in found["seconds"].items())
    return [
        (
            f"CPU time of a cell: {told}. The dearest is {100 * found['spread']:.0f} % above the cheapest "
            f"(target {100 * found['target']:.0f} %)."
        )
    ]


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
