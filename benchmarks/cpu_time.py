"""Runs a command and measures its wall seconds and the CPU seconds of it and its children."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

#: If it is set, Python writes no bytecode.
_COMPILES_ANEW: Final = "PYTHONDONTWRITEBYTECODE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """The cost of a command: `cpu` and `wall` in seconds, and its output."""

    cpu: float
    wall: float
    output: str


def python(
    *arguments: str, environment: Mapping[str, str] | None = None, ends: Sequence[int] = (0,), root: Path = ROOT
) -> Spent:
    """
    Run this interpreter with some arguments, from the root of a checkout, and return what it cost.

    Modules are compiled once, as they are wherever Python may write what it compiled: where it may not, every process
    compiles what it imports, and it is that which would be measured.

    `ends` are the exit statuses that are as they should be, any where there are none.

    Raises:
        RuntimeError: its exit status is not as it should be; the message ends with what it printed.
    """
    before, started = _of_children(), time.perf_counter()
    inherited = dict(os.environ) if environment is None else dict(environment)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={name: value for name, value in inherited.items() if name != _COMPILES_ANEW} | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - started
    if ends and done.returncode not in ends:
        raise RuntimeError(f"{arguments}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Spent(cpu=_of_children() - before, wall=wall, output=done.stdout)


def _of_children() -> float:
    """Return the CPU seconds of all ended children and their ended descendants."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
