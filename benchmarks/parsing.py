"""
The cost of reading a table: CPU time of the default table and of tables of 10,000 and 100,000 rows.

    python -m benchmarks.parsing [ROWS...]

Each is read with libyaml, as the suite does, and with PyYAML's parser in Python. `docs/performance.md` and
`docs/scale.md` have the cost of whole commands.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from unittest import mock

import yaml

from benchmarks.cpu_time import ROOT, python
from conformance.table.yaml_document import read
from tools.large_tables import singles

SIZES: Final = (10_000, 100_000)
TIMES: Final = 3
_COLLECT: Final = ("-m", "conformance", "run", "--collect-only", "-i", "numpy")


def measure(*sizes: int) -> dict[str, Any]:
    """Return for each table the CPU seconds of both parsers, their ratio, and libyaml's share of a command."""
    with tempfile.TemporaryDirectory() as name:
        folders = {"default": ROOT / "cases"}
        folders |= {f"{size:,} rows": singles(Path(name) / str(size), size) for size in sizes or SIZES}
        return {each: _of_table(folder) for each, folder in folders.items()}


def _of_table(folder: Path) -> dict[str, float]:
    files = sorted(folder.rglob("*.yaml"))
    quick = min(_reading(files) for _ in range(TIMES))
    with mock.patch.object(yaml, "CBaseLoader", yaml.BaseLoader):
        slow = _reading(files)
    command = python(*_COLLECT, str(folder)).cpu
    return {"libyaml": quick, "python": slow, "ratio": slow / quick, "share_of_collecting": quick / command}


def _reading(files: Sequence[Path]) -> float:
    started = time.process_time()
    for each in files:
        read(each)
    return time.process_time() - started


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))
