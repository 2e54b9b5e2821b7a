"""
Kills runs at random moments, and checks that the results file is readable and claims no more than it has.

`make fuzz` kills `KILLS` runs, each at a random moment between its start and its end: the whole run by SIGKILL or
Ctrl-C, a worker of pytest, or the process of an implementation. Each run starts in a folder with an earlier results
file.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from conformance.results import ResultsError, Run, read

KILLS: Final = 50
#: What is killed -> the signal.
TARGETS: Final = {"run": signal.SIGKILL, "Ctrl-C": signal.SIGINT, "worker": signal.SIGKILL, "child": signal.SIGKILL}
EARLIER: Final = (
    '{"type": "header", "schema": 1, "started": "2020-01-01T00:00:00Z", "cells": 0}\n'
    '{"type": "footer", "counts": {}, "complete": true, "seconds": 0.0}\n'
)
_ROWS: Final = [{"input_shape": [2], "units": units, "values": "exact"} for units in range(1, 31)]


def kill(seed: int, folder: Path, longest: float) -> tuple[str, str]:
    """
    Kill one run, or a part of it, at most `longest` seconds after its start.

    Returns:
        What was killed and the state of the file, and what is wrong with it (empty if nothing is).
    """
    chance = random.Random(seed)
    target, moment = chance.choice(list(TARGETS)), chance.uniform(0, longest)
    with started(folder) as process:
        time.sleep(moment)
        hit = _hit(process.pid, target)
        output, _ = process.communicate(timeout=300)
    now, wrong = judged(folder / "out" / "results.jsonl", output, process.returncode)
    is_early = target == "worker" and "while it was started" in output  # before any cell ran
    if hit and target in ("worker", "child") and now != "complete" and not is_early:
        wrong = wrong or f"a {target} was killed, and the run did not go on: {now}"
    where = f"{target} after {moment:.1f} s" if hit else "nothing"
    return f"{target if hit else 'nothing'}: {now}", wrong and f"{where}: {wrong}\n{output[-2000:]}"


def started(folder: Path) -> subprocess.Popen[str]:
    """Start a run in a folder with the results file of an earlier run."""
    results = folder / "out" / "results.jsonl"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(EARLIER, encoding="utf-8")
    (folder / "rows.yaml").write_text(json.dumps({"rows": _ROWS}), encoding="utf-8")
    words = ("run", str(folder / "rows.yaml"), "-inumpy", "-n", "2", "--threads", "1", "-o", str(results.parent))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "conformance", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _hit(run: int, target: str) -> bool:
    """Kill a run or a part of it, and return whether it existed."""
    try:
        if target == "Ctrl-C":
            os.killpg(run, TARGETS[target])
            return True
        process = psutil.Process(run)
        workers = process.children()
        children = [child for each in workers for child in each.children()]
        found = {"run": [process], "worker": workers, "child": children}[target]
        for each in found[:1]:
            each.send_signal(TARGETS[target])
        return bool(found)
    except (psutil.Error, ProcessLookupError):
        return False


def judged(results: Path, output: str, code: int) -> tuple[str, str]:
    """Return the state of a results file after a run, and what is wrong with it."""
    try:
        found = read(results)
    except ResultsError as error:
        return "unreadable", str(error)
    if found.header.started.startswith("2020"):
        return "the earlier file", "the run ended well, and its file is another's" if code == 0 else ""
    if "INTERNALERROR" in output:
        return "a new file", "an internal error"
    if not found.complete:
        return "broken off", "the run ended well, and its file is broken off" if code == 0 else ""
    return "complete", "" if _is_whole(found) else f"complete with {len(found.cells)} of {found.header.cells} cells"


def _is_whole(run: Run) -> bool:
    """Return whether every planned cell has exactly one outcome."""
    return len({each.name for each in run.cells}) == run.header.cells == len(run.cells)


def ends(kills: int) -> Iterator[tuple[str, str]]:
    """Kill `kills` runs; yield for each the two results of `kill`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.monotonic()
        with started(folder) as process:
            process.communicate()
        longest = time.monotonic() - begun
        yield from (kill(seed, folder, longest) for seed in range(kills))


if __name__ == "__main__":
    wrongs = 0
    for seed, (end, wrong) in enumerate(ends(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)):
        print(f"{seed}: {end}", *filter(None, [wrong]), sep="\n", flush=True)
        wrongs += bool(wrong)
    print(f"{wrongs} ends are wrong")
    sys.exit(bool(wrongs))
