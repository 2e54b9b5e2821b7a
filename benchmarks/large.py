"""
Large tables and files: CPU time and memory of the commands that read them, and the memory of a long run.

    python -m benchmarks.large [CASES [CELLS [RUN]]]

The tables are made up: single rows, all different, and rows that are products of lists. The results files are those of
`benchmarks/growth.py`. The memory of a run's processes may grow by at most `GROWTH` bytes for each cell that ends. If a
command exceeds its `LIMITS`, the exit code is 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu_time import ROOT
from benchmarks.growth import grown, real
from tools.large_tables import products, singles

CASES: Final = 100_000
CELLS: Final = 100_000
RUN: Final = 8_000
_COMMAND: Final = ("-m", "conformance")
_COLLECT: Final = ("-m", "pytest", "tests/test_dense.py", "-p", "no:cacheprovider", "-q", "--implementation=numpy")

#: Command -> the most CPU seconds and resident GiB at the sizes above.
LIMITS: Final[dict[str, tuple[float, float]]] = {
    "lint, single rows": (300, 1.5),
    "lint, products": (120, 1.5),
    "run --collect-only, single rows": (60, 1.5),
    "run --collect-only, products": (60, 1.5),
    "pytest --collect-only, single rows": (120, 2),
    "report": (30, 2),
    "report --against": (60, 3.5),
    "diff": (60, 3.25),
    "merge": (60, 2),
    "triage": (60, 2),
    "badge": (30, 2),
    "history": (30, 2),
}
#: The most bytes by which a process may grow for each cell that ends. pytest stores about 2,000 for each test; a record
#: takes 16,000.
GROWTH: Final = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """CPU seconds of a command and its children, and its own peak memory in bytes."""

    cpu: float
    peak: int


def taken(*arguments: str, ends: tuple[int, ...] = (0,), environment: dict[str, str] | None = None) -> Taken:
    """
    Run this interpreter from the root of the checkout, and return what it took.

    Raises:
        RuntimeError: its exit status is none of `ends`.
    """
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT)},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in ends:
            printed.seek(0)
            output = printed.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{arguments}: exit status {process.returncode}\n{output}")
    return Taken(cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss * 1024)


def of_tables(folder: Path, cases: int) -> Iterator[tuple[str, Taken]]:
    """Yield the cost of each command that reads a table."""
    for kind, made in (("single rows", singles(folder / "s", cases)), ("products", products(folder / "p", cases))):
        yield f"lint, {kind}", taken(*_COMMAND, "lint", str(made))
        collected = taken(*_COMMAND, "run", "--collect-only", "-i", "numpy", "-i", "torch", str(made))
        yield f"run --collect-only, {kind}", collected
    yield "pytest --collect-only, single rows", taken(*_COLLECT, "--collect-only", f"--cases={folder / 's'}")


def of_files(folder: Path, source: Path, cells: int) -> Iterator[tuple[str, Taken]]:
    """Yield the cost of each command that reads results files: two nights, the second with more red cells."""
    nights = folder / "nights"
    nights.mkdir()
    old, new = nights / "1.jsonl", nights / "2.jsonl"
    grown(source, old, cells, started="2026-01-01T00:00:00Z", red_every=max(1, cells // 100))
    grown(source, new, cells, started="2026-01-02T00:00:00Z", red_every=max(1, cells // 110))
    page = ("-o", str(folder / "page.html"))
    yield "report", taken(*_COMMAND, "report", str(new), *page)
    yield "report --against", taken(*_COMMAND, "report", str(new), "--against", str(old), *page)
    yield "diff", taken(*_COMMAND, "diff", str(old), str(new), ends=(0, 1))
    yield "merge", taken(*_COMMAND, "merge", str(new), "-o", str(folder / "merged.jsonl"))
    yield "triage", taken(*_COMMAND, "triage", str(new))
    yield "badge", taken(*_COMMAND, "badge", str(new), "-o", str(folder / "badges"))
    yield "history", taken(*_COMMAND, "history", str(nights))


def of_a_run(folder: Path, cells: int) -> dict[str, dict[int, int]]:
    """Return the resident bytes of each process of a run, by process and number of ended cells."""
    text = folder / "resident.jsonl"
    rows = f"--cases={singles(folder / 'run', cells)}"
    options = ["-p", "benchmarks.resident_memory", "-n", "1", rows, f"--results={folder / 'run.jsonl'}"]
    taken(*_COLLECT, *options, environment={"RESIDENT_FILE": str(text)})
    found: dict[str, dict[int, int]] = {}
    for line in text.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        found.setdefault(content["process"], {})[content["cells"]] = content["bytes"]
    return found


def growth(marks: dict[int, int]) -> float:
    """Return the bytes by which a process grew for each cell between its last two marks."""
    *_, before, last = sorted(marks)
    return (marks[last] - marks[before]) / (last - before)


def measure(cases: int = CASES, cells: int = CELLS, run: int = RUN) -> dict[str, Any]:
    """Return the cost and the limits of each command, and the memory of the processes of a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {
            command: {"cpu": each.cpu, "peak": each.peak}
            for found in (of_tables(folder, cases), of_files(folder, real(folder), cells))
            for command, each in found
        }
        measured = of_a_run(folder, run)
    resident = {process: {str(number): marks[number] for number in marks} for process, marks in measured.items()}
    return {"cases": cases, "cells": cells, "commands": commands, "limits": LIMITS, "resident": resident}


def exceeded(found: dict[str, Any]) -> list[str]:
    """Return a line for each limit that is exceeded."""
    faults = []
    for command, each in found["commands"].items():
        seconds, gib = LIMITS[command]
        if each["cpu"] > seconds or each["peak"] > gib * 2**30:
            faults.append(f"{command}: {each['cpu']:.0f} s of {seconds:g}, {each['peak'] / 2**30:.2f} GiB of {gib:g}")
    for process, marks in found["resident"].items():
        if (more := growth({int(n): size for n, size in marks.items()})) > GROWTH:
            faults.append(f"{process}: {more:,.0f} bytes more for each cell")
    return faults


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    text = [
        f"Tables of {found['cases']:,} cases, results files of {found['cells']:,} cells.",
        "",
        "| command | CPU seconds | limit | GiB | limit |",
        "|---|---:|---:|---:|---:|",
    ]
    for command, each in found["commands"].items():
        seconds, gib = found["limits"][command]
        text.append(f"| {command} | {each['cpu']:.0f} | {seconds:g} | {each['peak'] / 2**30:.2f} | {gib:g} |")
    text += [
        "",
        "Memory of a run in MiB by number of ended cells, without the cached questions:",
        "",
    ]
    marks = sorted({int(n) for each in found["resident"].values() for n in each})
    text += ["| process | " + " | ".join(f"{n:,}" for n in marks) + " |", "|---|" + "---:|" * len(marks)]
    for process, each in found["resident"].items():
        sizes = (f"{each[str(n)] / 2**20:.1f}" if str(n) in each else "" for n in marks)
        text.append(f"| {process} | " + " | ".join(sizes) + " |")
    more = {process: growth({int(n): size for n, size in each.items()}) for process, each in found["resident"].items()}
    grown_by = ", ".join(f"{process} {each:,.0f}" for process, each in more.items())
    return [*text, "", f"Bytes for each cell between the last two marks: {grown_by}. The limit is {GROWTH:,}."]


if __name__ == "__main__":
    result = measure(*map(int, sys.argv[1:]))
    print(json.dumps(result, indent=2))
    print("\n".join(faults := exceeded(result)))
    sys.exit(1 if faults else 0)
