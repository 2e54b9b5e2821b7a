"""
A pytest plugin that writes the memory of each process of a run: `-p benchmarks.resident_memory`.

The controlling process and every worker write a line of JSON to the file named by `RESIDENT_FILE` after each number of
cells in `MARKS`: process, cells, and resident bytes.

The cache of questions grows to half a GiB and would hide other growth, so it is emptied often.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
from pathlib import Path
from typing import Final

import psutil
import pytest

from conformance.checks.references import question

#: Late imports and caches of a fixed size are complete by the first mark.
MARKS: Final = (250, 500, 1000, 2000, 4000, 8000, 16000)
#: The cache of questions is emptied after this many cells.
EMPTIED: Final = 25


class Resident:
    """Counts the reports of cells in one process."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._cells = 0

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the memory if the number of cells is a mark."""
        self._cells += report.when == "call" and "test_dense[" in report.nodeid
        if report.when == "call" and self._cells % EMPTIED == 0:
            question.cache.clear()
        if report.when == "call" and self._cells in MARKS:
            gc.collect()
            # Memory that was freed and not returned to the system does not count.
            ctypes.CDLL(None).malloc_trim(0)
            record = {"process": self._name, "cells": self._cells, "bytes": psutil.Process().memory_info().rss}
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Register the counter of this process."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    config.pluginmanager.register(Resident(Path(os.environ["RESIDENT_FILE"]), name), "resident")
