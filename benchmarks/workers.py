"""
(c) The gain of a second worker: wall time of the default table with `-n 1` over that with `-n 2`, 1 thread each.

    python -m benchmarks.workers [ROUNDS]

The ratio is meaningful only on a machine with two idle cores, so the load of the machine is printed with it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.overhead import ROUNDS, suite


def measure(rounds: int = ROUNDS, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the ratio of wall times, and the times of both runs; `names` are implementations, or all."""
    found = []
    for _ in range(rounds):
        busy = os.getloadavg()[0]
        two, one = suite(names, "2"), suite(names, "1")
        found.append({"one": one.wall, "two": two.wall, "one_cpu": one.cpu, "two_cpu": two.cpu, "load_before": busy})
    return {"ratio": statistics.median(each["one"] / each["two"] for each in found), "target": 1.8, "rounds": found}


def lines(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rounds = sorted(found["rounds"], key=lambda each: float(each["one"] / each["two"]))
    middle = rounds[len(rounds) // 2]
    return [
        f"`-n 2` takes {middle['two']:.0f} s, `-n 1` {middle['one']:.0f} s: **{found['ratio']:.2f}** times as fast",
        f"(target {found['target']}). CPU time: {middle['two_cpu']:.0f} s and {middle['one_cpu']:.0f} s.",
        f"The load before the run was {middle['load_before']:.1f}. Rounds: {len(rounds)}.",
    ]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS, sys.argv[2:]), indent=2))
