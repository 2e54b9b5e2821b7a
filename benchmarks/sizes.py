"""
(d) The cost of a cell in a run of 200, 2,000 and 20,000 cells: CPU time of the run minus that of a run of one cell.

    python -m benchmarks.sizes [SIZE...]

The rows are made up: all different, with the same few sizes in turn. They run on NumPy, so that the suite itself is the
cost, and without workers, so that nothing starts twice.
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

#: The number of measurements of each size; the figure is the median. Sizes take turns, since the speed of a machine
#: changes. A size above `SMALL` is measured once, in the middle.
TIMES: Final = 5
SMALL: Final = 2000


def measure(*sizes: int) -> dict[str, Any]:
    """Return the CPU seconds of a cell at each size, and the largest over the smallest minus 1."""
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
    """Return the figures as lines of Markdown."""
    times = ", ".join(f"{1000 * seconds:.1f} ms at {int(size):,}" for size, seconds in found["seconds"].items())
    return [
        (
            f"CPU time of a cell: {times}. The largest is {100 * found['spread']:.0f} % above the smallest "
            f"(target {100 * found['target']:.0f} %)."
        )
    ]


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
