"""Whole runs of the command in processes of their own, for tests that look at a run from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.command_process import run_module
from tests.support.paths import ROOT

EXACT: Final = "tests.support.faulty_adapters:Exact"
UNRULY: Final = "tests.support.unruly_adapter:Unruly"


def arguments(*options: str | Path) -> list[str]:
    """Return the words that call the command `conformance`."""
    return [sys.executable, "-P", "-m", "conformance", *map(str, options)]


def environment(**variables: str | None) -> dict[str, str]:
    """Return this process's environment, free of the run of pytest around it; None takes a variable away."""
    found: dict[str, str | None] = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST_", "CONFORMANCE"))}
    found |= {"PYTHONPATH": str(ROOT), **variables}
    return {name: value for name, value in found.items() if value is not None}


def conformance(*options: str | Path, cwd: Path, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; text that is not UTF-8 is kept as escapes."""
    return run_module("conformance", *map(str, options), cwd=cwd, environment=environment(**variables))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def outcomes(path: Path) -> dict[str, str]:
    """Return the outcome of every cell, by IMPLEMENTATION/CASE."""
    return {f"{each['implementation']}/{each['case']}": each["outcome"] for each in cells(path)}


def cells(path: Path) -> list[dict[str, Any]]:
    return [each for each in lines(path) if each["type"] == "cell"]


def table(*rows: Mapping[str, object]) -> str:
    """Return a file of the table with these rows; JSON is YAML."""
    return json.dumps({"rows": list(rows)})
