"""
What the suite costs: runs the benchmarks and writes `docs/performance.md` from what they measured.

    python -m benchmarks.performance [NAME...]

Names are those of `BENCHMARKS`, all without any. What each measured is kept under `build/bench`, so that one that was
changed can be measured anew; a benchmark that was never run is said to be missing.
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
KEPT: Final = ROOT / "build" / "bench"
DOCUMENT: Final = ROOT / "docs" / "performance.md"

#: Title -> the module that measures it, in the order of the document.
BENCHMARKS: Final = {
    "overhead": "What the suite adds to the frameworks' own work",
    "keras_layer_test": "Beside Keras's own test of a layer",
    "workers": "Two workers beside one",
    "schedule": "Workers and shards",
    "sizes": "Cost of a cell in small and large runs",
    "collection": "Collection beside empty tests",
    "report": "The page",
    "large": "Large tables and files",
}


def measured(name: str) -> dict[str, Any]:
    """Run a benchmark, keep what it measured with when and on what, and return it."""
    module = importlib.import_module(f"benchmarks.{name}")
    # Through JSON, so that what is kept and what is told at once cannot differ.
    found: dict[str, Any] = json.loads(json.dumps(module.measure()))
    on = f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}"
    content = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "on": on, "found": found}
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    return content


def document() -> str:
    """Return the document of what is kept."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield "Written by `make bench`; not edited by hand. CPU time is that of all processes of a run. Ratios are of times"
    yield "measured in one run of a benchmark, on a machine that may have been busy; what each stands for is said at"
    yield "the head of its file in `benchmarks/`."
    for name, title in BENCHMARKS.items():
        yield from ("", f"## {title}", "")
        kept = KEPT / f"{name}.json"
        if not kept.exists():
            yield "Not measured."
            continue
        content = json.loads(kept.read_text(encoding="utf-8"))
        module = importlib.import_module(f"benchmarks.{name}")
        yield from module.lines(content["found"])
        yield ""
        yield f"`python -m benchmarks.{name}`, {content['date']}, {content['on']}."


if __name__ == "__main__":
    for each in sys.argv[1:] or BENCHMARKS:
        print(f"{each}: {json.dumps(measured(each)['found'])}", flush=True)
    DOCUMENT.write_text(document(), encoding="utf-8")
