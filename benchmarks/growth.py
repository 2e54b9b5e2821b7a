"""
Makes results files of any size from the records of one real run.

The records of the real run are repeated. In each repetition every case gets another leading axis, id and line. The
records of the two real implementations stand in turn for those of all `NAMES`.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu_time import python
from conformance.adapters.registry import registered

#: The implementations of the real run, which start and answer fast.
REAL: Final = ("torch", "numpy")
#: Implementations of a made-up file: about as many as a run has if all frameworks are installed.
NAMES: Final = tuple(registered())[:20]


def real(folder: Path) -> Path:
    """Run the default table on two implementations and return the results file."""
    results = folder / "real.jsonl"
    named = [f"--implementation={each}" for each in REAL]
    options = ["-q", "-p", "no:cacheprovider", "-n", "0", f"--results={results}"]
    python("-m", "pytest", "tests/test_dense.py", *options, *named)
    return results


def grown(source: Path, target: Path, cells: int, *, started: str | None = None, red_every: int = 0) -> None:
    """
    Write a results file of `cells` cells from another one; compressed if its name ends with `.gz`.

    Every `red_every`-th cell violates; with 0 none does. `started` replaces the real time in the header.
    """
    header, *others = (json.loads(line) for line in source.read_text(encoding="utf-8").splitlines())
    counts: Counter[str] = Counter()
    with gzip.open(target, "wt", 1) if target.suffix == ".gz" else target.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps({**header, "cells": cells, **({"started": started} if started else {})}) + "\n")
        implementations = [each for each in others if each["type"] == "implementation"]
        for number, name in enumerate(NAMES):
            stream.write(json.dumps({**implementations[number % len(implementations)], "implementation": name}) + "\n")
        for number, record in enumerate(_records([each for each in others if each["type"] == "cell"], cells)):
            if red_every and number % red_every == 0:
                record |= _violation(record)
            counts[record["outcome"]] += 1
            stream.write(json.dumps(record) + "\n")
        stream.write(json.dumps({"type": "footer", "counts": counts, "complete": True, "seconds": 1.0}) + "\n")


def _records(real_cells: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    by_case: dict[str, list[dict[str, Any]]] = {}
    for each in real_cells:
        by_case.setdefault(each["case"], []).append(each)
    made = 0
    for turn in range(count):
        for case, records in by_case.items():
            for number, name in enumerate(NAMES):
                if made == count:
                    return
                made += 1
                yield _copy(records[number % len(records)], case, name, turn)


def _copy(record: dict[str, Any], case: str, name: str, turn: int) -> dict[str, Any]:
    copy = {**record, "implementation": name}
    if turn:
        file, _, line = str(record["row"]).rpartition(":")
        shape = record["question"]["input_shape"]
        copy |= {"case": f"{turn + 1000}x{case}", "row": f"{file}:{int(line) + 1000 * turn}"}
        copy["question"] = {**record["question"], "input_shape": [turn + 1000, *shape]}
        # Only red and diverging cells have scripts, and a real run has few of these.
        copy.pop("reproduce", None)
    return copy


def _violation(record: dict[str, Any]) -> dict[str, Any]:
    checks = [dict(each) for each in record["checks"]] or [{"check": "output"}]
    checks[-1] |= {"outcome": "violates", "margin": 4.0, "message": "output[0, 1] = 3.0, expected 1.0"}
    return {"outcome": "violates", "checks": checks}
