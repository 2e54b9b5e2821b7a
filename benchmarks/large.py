"""
Large tables and files: CPU time and memory of what reads 100,000 cases or 100,000 cells, and of a long run.

    python -m benchmarks.large [CASES [CELLS [RUN]]]

The tables are made up: single rows, no two alike, and rows that are products of lists. The results files are those of
`benchmarks/growth.py`. A run is looked at while it runs: what its processes hold may not grow with the cells that
ended. `LIMITS` are what these commands may take; a limit that is exceeded makes the exit code 1.
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

#: Command -> CPU seconds and GiB resident that it may take at the sizes above.
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
#: Bytes that a process may hold for each cell that ended: pytest keeps about 2,000 of a test, a record takes 16,000.
GROWTH: Final = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """CPU seconds of a command and its children, and the most that it held itself (bytes)."""

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
            said = printed.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{arguments}: exit status {process.returncode}\n{said}")
    return Taken(cpu=used.ru_utime + used.ru_stime, peak=used.ru_maxrss * 1024)


def of_tables(folder: Path, cases: int) -> Iterator[tuple[str, Taken]]:
    """Yield what commands take that read a table."""
    for kind, made in (("single rows", singles(folder / "s", cases)), ("products", products(folder / "p", cases))):
        yield f"lint, {kind}", taken(*_COMMAND, "lint", str(made))
        collected = taken(*_COMMAND, "run", "--collect-only", "-i", "numpy", "-i", "torch", str(made))
        yield f"run --collect-only, {kind}", collected
    yield "pytest --collect-only, single rows", taken(*_COLLECT, "--collect-only", f"--cases={folder / 's'}")


def of_files(folder: Path, source: Path, cells: int) -> Iterator[tuple[str, Taken]]:
    """Yield what commands take that read results files: two nights, the second with more red cells."""
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
    """Return the bytes resident in each process of a run as cells end, by process and number of cells ended."""
    told = folder / "resident.jsonl"
    rows = f"--cases={singles(folder / 'run', cells)}"
    options = ["-p", "benchmarks.resident_memory", "-n", "1", rows, f"--results={folder / 'run.jsonl'}"]
    taken(*_COLLECT, *options, environment={"RESIDENT_FILE": str(told)})
    found: dict[str, dict[int, int]] = {}
    for line in told.read_text(encoding="utf-8").splitlines():
        content = json.loads(line)
        found.setdefault(content["process"], {})[content["cells"]] = content["bytes"]
    return found


def growth(marks: dict[int, int]) -> float:
    """Return the bytes that a process held more for each cell between the last mark and the one before."""
    *_, before, last = sorted(marks)
    return (marks[last] - marks[before]) / (last - before)


def measure(cases: int = CASES, cells: int = CELLS, run: int = RUN) -> dict[str, Any]:
    """Return what each command took, what it may take at full size, and what the processes of a run held."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {
            command: {"cpu": each.cpu, "peak": each.peak}
            for found in (of_tables(folder, cases), of_files(folder, real(folder), cells))
            for command, each in found
        }
        held = of_a_run(folder, run)
    resident = {process: {str(number): marks[number] for number in marks} for process, marks in held.items()}
    return {"cases": cases, "cells": cells, "commands": commands, "limits": LIMITS, "resident": resident}


def exceeded(found: dict[str, Any]) -> list[str]:
    """Return the limits that do not hold."""
    faults = []
    for command, each in found["commands"].items():
        seconds, gib = LIMITS[command]
        if each["cpu"] > seconds or each["peak"] > gib * 2**30:
            faults.append(f"{command}: {each['cpu']:.0f} s of {seconds:g}, {each['peak'] / 2**30:.2f} GiB of {gib:g}")
    for process, marks in found["resident"].items():
        if (more := growth({int(n): held for n, held in marks.items()})) > GROWTH:
            faults.append(f"{process}: {more:,.0f} bytes more for each cell")
    return faults


def lines(found: dict[str, Any]) -> list[str]:
    """Return what was measured, as Markdown."""
    told = [
        f"Tables of {found['cases']:,} cases, results files of {found['cells']:,} cells.",
        "",
        "| command | CPU seconds | may take | GiB | may take |",
        "|---|---:|---:|---:|---:|",
    ]
    for command, each in found["commands"].items():
        seconds, gib = found["limits"][command]
        told.append(f"| {command} | {each['cpu']:.0f} | {seconds:g} | {each['peak'] / 2**30:.2f} | {gib:g} |")
    told += [
        "",
        "Memory of a run as its cells end, MiB, without the questions that are kept for the next implementation:",
        "",
    ]
    marks = sorted({int(n) for each in found["resident"].values() for n in each})
    told += ["| process | " + " | ".join(f"{n:,}" for n in marks) + " |", "|---|" + "---:|" * len(marks)]
    for process, each in found["resident"].items():
        held = (f"{each[str(n)] / 2**20:.1f}" if str(n) in each else "" for n in marks)
        told.append(f"| {process} | " + " | ".join(held) + " |")
    more = {process: growth({int(n): held for n, held in each.items()}) for process, each in found["resident"].items()}
    grown_by = ", ".join(f"{process} {each:,.0f}" for process, each in more.items())
    return [*told, "", f"Bytes for each cell between the last two marks: {grown_by}; may be {GROWTH:,}."]


if __name__ == "__main__":
    result = measure(*map(int, sys.argv[1:]))
    print(json.dumps(result, indent=2))
    print("\n".join(faults := exceeded(result)))
    sys.exit(1 if faults else 0)
