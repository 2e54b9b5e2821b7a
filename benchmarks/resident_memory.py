"""
A plugin of pytest that writes how much memory each process of a run holds, as cells end: `-p
benchmarks.resident_memory`.

Questions that a process keeps for the next implementation fill a cache of a fixed size, half a GiB, which would hide
what grows beside it: it is emptied again and again, so that it never gets large.

Each process, the controlling one and every worker, writes a line of JSON to the file named by `RESIDENT_FILE` whenever
the number of cells that it has seen end is one of `MARKS`: process, cells, and bytes resident.
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

#: What is imported late and what is bounded from the start (caches, pools) is there by the first mark.
MARKS: Final = (250, 500, 1000, 2000, 4000, 8000, 16000)
#: The cache of questions is emptied after so many cells.
EMPTIED: Final = 25


class Resident:
    """Counts the reports of cells in one process."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._cells = 0

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of memory at some numbers of cells."""
        self._cells += report.when == "call" and "test_dense[" in report.nodeid
        if report.when == "call" and self._cells % EMPTIED == 0:
            question.cache.clear()
        if report.when == "call" and self._cells in MARKS:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # what was freed and not given back is nobody's
            told = {"process": self._name, "cells": self._cells, "bytes": psutil.Process().memory_info().rss}
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(told) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    config.pluginmanager.register(Resident(Path(os.environ["RESIDENT_FILE"]), name), "resident")
