"""Makes tables of any number of rows or cases, for benchmarks and tests of size."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Final

_UNITS: Final = 25
#: Shape of a sample without its last axis, batch and lane of the rows, in turn.
_KINDS: Final = tuple(itertools.product(([], [3], [2, 3]), (2, 4), ("uniform", "exact")))
#: The number of lengths, from 8 up, of features and of units in tables of up to 20,000 rows.
_SIDE: Final = 41
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
#: A file of the table has at most 1 MiB.
_ROWS_OF_A_FILE: Final = 5000


def singles(folder: Path, count: int) -> Path:
    """
    Write a folder of the table with `count` rows that differ in features and units.

    Features and units walk over a square of lengths by the golden ratio, so that the mean size of the rows is the same
    for few rows and for many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    side = max(_SIDE, math.isqrt(count // len(_KINDS)) + 1)
    step = next(each for each in itertools.count(round(side**2 * _GOLDEN)) if math.gcd(each, side) == 1)
    for first in range(0, count, _ROWS_OF_A_FILE):
        lines = ["description: Rows made up to measure the cost of a cell.", "rows:"]
        for number in range(first, min(first + _ROWS_OF_A_FILE, count)):
            shape, batch, lane = _KINDS[number % len(_KINDS)]
            units, features = divmod(number // len(_KINDS) * step % side**2, side)
            shown = ", ".join(map(str, [*shape, 8 + features]))
            lines.append(f"  - {{input_shape: [{shown}], units: {8 + units}, batch: {batch}, values: {lane}}}")
        (folder / f"rows-{first}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def products(folder: Path, cases: int) -> Path:
    """Write a folder of the table with a row for every 1,000 cases, the last row for the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, cases, 1000)):
        units = min(_UNITS, (cases - first) // 40) or 1
        (folder / f"products-{number}.yaml").write_text(
            "description: Rows that are products.\n"
            "rows:\n"
            f"  - input_shape: [{2 + number}]\n"
            "    values: uniform\n"
            "    each:\n"
            f"      units: [{', '.join(str(2 + each) for each in range(units))}]\n"
            "      batch: [1, 2, 3, 4, 5]\n"
            "      use_bias: [true, false]\n"
            "      dtype: [float64, float32, float16, bfloat16]\n",
            encoding="utf-8",
        )
    return folder
