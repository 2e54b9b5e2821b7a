"""Replays a run through pytest-xdist's own scheduler with simulated workers, without running a test."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from xdist.remote import Producer
from xdist.scheduler import WorkStealingScheduling

from conformance.results.record import CellName


class _Worker:
    """A simulated worker of xdist: it begins a test once it knows the next one, or knows that there is none."""

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="worker")
        self.queue: list[int] = []
        self.wanted: list[int] = []
        self.shutting_down = False
        self.at: int | None = None
        self.implementation = ""
        self.starts = 0

    def send_runtest_some(self, tests: list[int]) -> None:
        self.queue += tests

    def send_steal(self, tests: list[int]) -> None:
        self.wanted = tests

    def shutdown(self) -> None:
        self.shutting_down = True

    def give_back(self) -> list[int]:
        """Remove and return the tests that the scheduler takes back, if none of them has begun."""
        given = self.wanted if set(self.wanted) <= set(self.queue) else []
        self.wanted, self.queue = [], [each for each in self.queue if each not in set(given)]
        return given

    def next_test(self) -> int | None:
        """Return the next test, or None if the worker has to wait or is done."""
        if self.at is None and (len(self.queue) > 1 or (self.shutting_down and self.queue)):
            self.at = self.queue.pop(0)
            return self.at
        return None


def replay(workers: int, tests: Mapping[CellName, float], start: Callable[[str], float]) -> dict[str, float]:
    """Return the run time of the tests with `workers` workers (seconds), and the number of processes started."""
    cells = list(tests)
    ids = list(map(str, cells))
    nodes = [_Worker() for _ in range(workers)]
    config: Any = SimpleNamespace(getvalue=lambda _: [f"{workers}*popen"])
    scheduler: Any = WorkStealingScheduling(config, Producer("replay", enabled=False))
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()
    events: list[tuple[float, int]] = []
    now = 0.0
    while True:
        while wanted := [node for node in nodes if node.wanted]:
            scheduler.remove_pending_tests_from_node(wanted[0], wanted[0].give_back())
        for number, node in enumerate(nodes):
            test = node.next_test()
            if test is None:
                continue
            took = tests[cells[test]]
            if (name := cells[test].implementation) != node.implementation:
                node.implementation, node.starts = name, node.starts + 1
                took += start(name)
            heapq.heappush(events, (now + took, number))
        if not events:
            break
        now, number = heapq.heappop(events)
        done, nodes[number].at = nodes[number].at, None
        assert done is not None
        scheduler.mark_test_complete(nodes[number], done, tests[cells[done]])
        if scheduler.tests_finished:
            for node in nodes:
                node.shutdown()
    assert not scheduler.has_pending
    return {"seconds": now, "starts": sum(node.starts for node in nodes)}
