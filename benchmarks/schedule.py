"""
What scheduling by recorded time brings: recorded times replayed through the scheduler, and through the one before it.

    python -m benchmarks.schedule [RESULTS]

The replay needs no framework: workers do what xdist's do, a test takes as long as in the RESULTS file (or, without one,
as is expected of it, give or take a third), and a process that is not the worker's takes its start. `by count` is the
scheduler that went by the number of tests (`benchmarks.schedule_by_count`). The lower bound is that of no schedule at
all: each process started once, and the work spread evenly. Beside it a run of three implementations with two workers
says what is left of that when cells run for real, and the shards of the same cells how equally long they are.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.schedule_by_count import GroupScheduling as ByCount
from benchmarks.spent import python
from conformance.results import read
from conformance.run.distributed.scheduler import GroupScheduling, group_of
from conformance.run.expected_times import Times, of_results, recorded
from conformance.run.selection import Selection
from conformance.run.sharding import parts

WORKERS: Final = (2, 4, 8, 16)
SHARDS: Final = (2, 4, 8)
REAL: Final = ("numpy", "torch", "keras-torch")
#: How far what a test takes is from what was expected of it, where it is made up (of the logarithm).
SPREAD: Final = 0.3


class _Worker:
    """A worker of xdist: it begins a test when it knows the next one, or that there is none."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.shutting_down = False
        self.at: int | None = None
        self.group = ""
        self.starts = 0

    def send_runtest_some(self, tests: list[int]) -> None:
        self.queue += tests

    def shutdown(self) -> None:
        self.shutting_down = True

    def next_test(self) -> int | None:
        """Return the test it goes on to, None where it has to wait or is done."""
        if self.at is None and (len(self.queue) > 1 or (self.shutting_down and self.queue)):
            self.at = self.queue.pop(0)
            return self.at
        return None


def replay(scheduler: Any, workers: int, tests: Mapping[str, float], start: Callable[[str], float]) -> dict[str, float]:
    """Return how long the tests take with so many workers (seconds), and how many processes are started."""
    ids = list(tests)
    nodes = [_Worker() for _ in range(workers)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()
    events: list[tuple[float, int]] = []
    now = 0.0
    while True:
        for number, node in enumerate(nodes):
            test = node.next_test()
            if test is None:
                continue
            took = tests[ids[test]]
            if (group := group_of(ids[test])) != node.group:
                node.group, node.starts = group, node.starts + 1
                took += start(group)
            heapq.heappush(events, (now + took, number))
        if not events:
            break
        now, number = heapq.heappop(events)
        done, nodes[number].at = nodes[number].at, None
        assert done is not None
        scheduler.mark_test_complete(nodes[number], done, tests[ids[done]])
        if scheduler.tests_finished:
            for node in nodes:
                node.shutdown()
    assert not scheduler.has_pending
    return {"seconds": now, "starts": sum(node.starts for node in nodes)}


def measure(results: Path | None = None) -> dict[str, Any]:
    """Return for each number of workers the time over the lower bound and the starts, both ways, and a real run."""
    expected = recorded()
    actual = _made_up() if results is None else _taken(results)
    starts = (expected if results is None else of_results(results)).start
    seconds = {name: expected.cell(*name.partition("[")[2][:-1].split("/", 2)[1:]) for name in actual}
    groups = {group_of(name) for name in actual}
    rounds = []
    for workers in WORKERS:
        work = sum(actual.values()) + sum(starts(_implementation(each)) for each in groups)
        least = max(work / workers, max(actual.values()))
        schedulers = {
            "by count": ByCount(workers),
            "by time": GroupScheduling(
                workers, seconds=seconds.__getitem__, start=lambda group: expected.start(_implementation(group))
            ),
        }
        told = {
            name: replay(each, workers, actual, lambda group: starts(_implementation(group)))
            for name, each in schedulers.items()
        }
        rounds.append({"workers": workers, "least": least, **told})
    found = {"cells": len(actual), "processes": len(groups), "rounds": rounds, "shards": _shards(list(actual))}
    return found | {"real": _real(), "real_target": 0.9}


def _shards(tests: list[str]) -> list[dict[str, float]]:
    """Return for each number of shards the longest over the mean, the processes, and what a row less moves (shares)."""
    times = recorded()
    cells = [each.partition("[")[2][:-1] for each in tests]
    cases = sorted({each.split("/", 2)[2] for each in cells})
    return [_dealt(cells, cases[:: len(cases) // 10], count, times) for count in SHARDS]


def _dealt(cells: list[str], rows: list[str], count: int, times: Times) -> dict[str, float]:
    def deal(left: list[str]) -> dict[str, int]:
        processes: dict[str, list[str]] = {}
        for each in left:
            processes.setdefault(each.split("/")[1], []).append(each)
        return parts(processes, count, start=times.start, cell=lambda each: times.cell(*each.split("/", 2)[1:]))

    whole = deal(cells)
    loads, started = [0.0] * count, {(part, each.split("/")[1]) for each, part in whole.items()}
    for each, part in whole.items():
        loads[part] += times.cell(*each.split("/", 2)[1:])
    for part, name in started:
        loads[part] += times.start(name)
    moved = []
    for row in rows:
        left = deal([each for each in cells if each.split("/", 2)[2] != row])
        moved.append(sum(whole[each] != part for each, part in left.items()) / len(left))
    return {"count": count, "longest": max(loads) * count / sum(loads), "processes": len(started), "moved": max(moved)}


def _implementation(group: str) -> str:
    return group.partition("/")[2]


def _made_up() -> dict[str, float]:
    """Return for each cell of the nightly tier what is expected of it, give or take."""
    selection = Selection(tier="nightly")
    chosen = [each for each in selection.chosen() if each.name in recorded().implementations]
    generator = random.Random(1)
    return {
        f"suite.py::test_dense[{cell.id}]": recorded().cell(cell.implementation.name, cell.case.id)
        * math.exp(generator.gauss(0.0, SPREAD))
        for cell in selection.cells(selection.table(), chosen, selection.devices(chosen))
    }


def _taken(results: Path) -> dict[str, float]:
    """Return what each cell of a results file took, its process being up."""
    times = of_results(results)
    found = {}
    for each in read(results).cells:
        took = float(each["seconds"]) - float(each.get("start", 0.0))
        # The first cell of a file that does not say so waited for its process.
        usual = times.cell(each["implementation"], each["case"])
        took = usual if took > times.start(each["implementation"]) + usual else took
        found[f"suite.py::test_dense[{each['device']}/{each['implementation']}/{each['case']}]"] = took
    return found


def _real() -> dict[str, float]:
    """Return of a run with two workers its wall time, its CPU time, the starts, and the share of both cores used."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        chosen = [f"--implementation={name}" for name in REAL]
        given = ["tests/test_dense.py", "-q", "-p", "no:cacheprovider", "-n", "2", f"--results={results}"]
        spent = python("-m", "pytest", *given, *chosen, ends=(0, 1))
        starts = sum("start" in each for each in read(results).cells)
    return {"wall": spent.wall, "cpu": spent.cpu, "starts": starts, "used": spent.cpu / 2 / spent.wall}


def lines(found: dict[str, Any]) -> list[str]:
    """Return what was measured, as Markdown."""
    rows = [
        f"{found['cells']} cells of {found['processes']} implementations, replayed; time over that of no schedule at",
        "all, and processes started:",
        "",
        "| workers | by count | starts | by time | starts |",
        "|---:|---:|---:|---:|---:|",
    ]
    for each in found["rounds"]:
        told = [
            f"{each[way]['seconds'] / each['least']:.3f} | {each[way]['starts']}" for way in ("by count", "by time")
        ]
        rows.append(f"| {each['workers']} | {' | '.join(told)} |")
    rows += [
        "",
        "Shards of the same cells, each balanced by what is expected; of ten rows the one whose loss moves most:",
    ]
    rows += ["", "| shards | longest / mean | processes | cells moved by a row |", "|---:|---:|---:|---:|"]
    for each in found["shards"]:
        moved = f"{100 * each['moved']:.2f} %"
        rows.append(f"| {each['count']} | {each['longest']:.4f} | {each['processes']} | {moved} |")
    real = found["real"]
    rows += [
        "",
        f"A run of {', '.join(REAL)} with two workers takes {real['wall']:.0f} s and {real['cpu']:.0f} s of CPU time:",
        f"two cores were in use for {100 * real['used']:.0f} % of it (target {100 * found['real_target']:.0f} %), and",
        f"{real['starts']} processes were started.",
    ]
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None), indent=2))
