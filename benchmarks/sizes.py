"""
(d) What a cell costs in a run of 200, 2,000 and 20,000 cells: CPU time of the whole run, less that of a run of one.

    python -m benchmarks.sizes [SIZE...]

The rows are made up, no two alike and of the same few sizes in turn, and asked of NumPy, so that the suite itself is
what costs; no worker, so that nothing is started twice.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.overhead import suite
from tools.large_tables import singles

SIZES: Final = (200, 2000, 20_000)

#: How often each size is measured, in turn with the others, as a machine is faster now and slower then; what is said
#: is the median. What is larger than `SMALL` is measured once, in the middle.
TIMES: Final = 5
SMALL: Final = 2000


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
