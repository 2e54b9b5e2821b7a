"""
Runs the benchmarks and writes their figures to `docs/performance.md`.

    python -m benchmarks.performance [NAME...]

NAME is a key of `BENCHMARKS`; without one, all run. The figures are stored under `build/bench`, so that a single
benchmark can run again. The document marks a benchmark without figures as not measured.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = ROOT / "build" / "bench"
DOCUMENT: Final = ROOT / "docs" / "performance.md"

#: Title -> the module that measures it, in the order of the document.
BENCHMARKS: Final = {
    "overhead": "What the suite adds to the frameworks' own work",
    "keras_layer_test": "Compared with Keras's own test of a layer",
    "workers": "Two workers compared with one",
    "schedule": "Workers and shards",
    "sizes": "Cost of a cell in small and large runs",
    "collection": "Collection compared with empty tests",
    "report": "The page",
    "large": "Large tables and files",
}


def measured(name: str) -> dict[str, Any]:
    """Run a benchmark, store its figures with the date and the machine, and return them."""
    module = importlib.import_module(f"benchmarks.{name}")
    # The figures go through JSON, so that the stored and the printed figures are the same.
    found: dict[str, Any] = json.loads(json.dumps(module.measure()))
    on = f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}"
    content = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "on": on, "found": found}
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    return content


def document() -> str:
    """Return the document of the stored figures."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield "Written by `make bench`, not by hand. CPU time is that of all processes of a run. The times of a ratio come"
    yield "from one run of a benchmark, on a machine that may have been busy. The docstring of each file in"
    yield "`benchmarks/` describes its figures."
    for name, title in BENCHMARKS.items():
        yield from ("", f"## {title}", "")
        figures = FIGURES / f"{name}.json"
        if not figures.exists():
            yield "Not measured."
            continue
        content = json.loads(figures.read_text(encoding="utf-8"))
        module = importlib.import_module(f"benchmarks.{name}")
        yield from module.lines(content["found"])
        yield ""
        yield f"`python -m benchmarks.{name}`, {content['date']}, {content['on']}."


if __name__ == "__main__":
    for each in sys.argv[1:] or BENCHMARKS:
        print(f"{each}: {json.dumps(measured(each)['found'])}", flush=True)
    DOCUMENT.write_text(document(), encoding="utf-8")
