"""A plugin that counts, in each process of a run, the reports and records of cells that live when it ends."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    gc.unfreeze()
    gc.collect()
    living = gc.get_objects()
    reports = sum(isinstance(each, pytest.TestReport) and "test_dense[" in each.nodeid for each in living)
    records = sum(type(each) is dict and {"checks", "case", "outcome"} <= each.keys() for each in living)
    name = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    with Path(os.environ["SURVIVORS"]).open("a", encoding="utf-8") as stream:
        stream.write(f"{name} {reports} {records}\n")
