"""
Hands tests to the workers of pytest-xdist by group, so that each framework's process is started few times.

All cells of one implementation on one device are a group, and so are all tests of one file. A worker stays with a group
until it is empty, then takes the largest untouched one; when there is none left, half of what remains of the longest.
This module follows xdist's `Scheduling` protocol and knows nothing of cases or frameworks but the form of a test's id.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

#: A worker begins a test only when it knows the next one, so it needs two; two more hide the way to the controller.
WANTED: Final = 4
CHUNK: Final = 8
#: A group with fewer tests left is not split: starting a second process costs more than the tests.
WORTH_SPLITTING: Final = 24

_CELL = re.compile(r"test_dense\[([^/\]]+/[^/\]]+)/")


def group_of(test_id: str) -> str:
    """Return the group of a test: `DEVICE/IMPLEMENTATION` for a cell, the file for any other."""
    cell = _CELL.search(test_id)
    return cell.group(1) if cell else test_id.partition("::")[0]


class GroupScheduling:
    """A scheduler of pytest-xdist; `workers` is the number of workers that take part from the start."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._collections: dict[Any, list[str]] = {}
        self._pending: dict[Any, list[int]] = {}
        self._collection: list[str] | None = None
        self._groups: list[deque[int]] = []
        self._held: dict[Any, deque[int]] = {}

    @property
    def nodes(self) -> list[Any]:
        """The workers that are up."""
        return list(self._pending)

    @property
    def collection_is_completed(self) -> bool:
        """Whether every worker of the start has collected."""
        return len(self._collections) >= self._workers

    @property
    def tests_finished(self) -> bool:
        """Whether nothing is left to hand out and every worker is at its last test."""
        if not self.collection_is_completed or self._left():
            return False
        return all(len(each) < 2 for each in self._pending.values())

    @property
    def has_pending(self) -> bool:
        """Whether some test has not been finished."""
        return bool(self._left()) or any(self._pending.values())

    def add_node(self, node: Any) -> None:
        """Take note of a worker that is up."""
        self._pending[node] = []

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Take note of what a worker collected; a later worker that differs from the first gets no tests."""
        if self._collection is None or list(collection) == self._collection:
            self._collections[node] = list(collection)

    def schedule(self) -> None:
        """
        Hand out the first tests, or more of them after a worker was replaced.

        Raises:
            RuntimeError: workers collected different tests.
        """
        if self._collection is None:
            first, *others = self._collections.values()
            if any(each != first for each in others):
                raise RuntimeError("the workers collected different tests; do they see the same files and packages?")
            self._collection = first
            groups: dict[str, deque[int]] = {}
            for index, test_id in enumerate(first):
                groups.setdefault(group_of(test_id), deque()).append(index)
            # Cells first: their processes take long to start, and files of tests fill the gaps at the end.
            self._groups = sorted(groups.values(), key=lambda each: (not _is_cell(first[each[0]]), -len(each)))
        for node in self.nodes:
            self._refill(node)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Take note of a finished test and hand out more."""
        self._pending[node].remove(item_index)
        self._refill(node)

    def mark_test_pending(self, item: str) -> None:
        """Put a test back that has to run again."""
        assert self._collection is not None
        self._groups.insert(0, deque([self._collection.index(item)]))
        for node in self.nodes:
            self._refill(node)

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        """Take tests back from a worker; this scheduler never asks a worker to give tests up."""
        raise NotImplementedError

    def remove_node(self, node: Any) -> str | None:
        """Forget a worker that ended; return the test it was at, if it died, and hand its others to the rest."""
        pending = self._pending.pop(node)
        self._held.pop(node, None)
        if not pending:
            return None
        assert self._collection is not None
        at, *rest = pending
        if rest:
            self._groups.insert(0, deque(rest))
        for other in self.nodes:
            self._refill(other)
        return self._collection[at]

    def _left(self) -> int:
        return sum(len(each) for each in self._groups)

    def _refill(self, node: Any) -> None:
        if node.shutting_down or node not in self._collections or len(self._pending[node]) >= WANTED:
            return
        chunk: list[int] = []
        while len(chunk) + len(self._pending[node]) < WANTED:
            group = self._group_for(node)
            if group is None:
                break
            chunk += [group.popleft() for _ in range(min(CHUNK, len(group)))]
        if chunk:
            self._pending[node] += chunk
            node.send_runtest_some(chunk)
        if len(self._pending[node]) < 2:
            node.shutdown()

    def _group_for(self, node: Any) -> deque[int] | None:
        """Return a group with tests left for a worker: its own, an untouched one, or half of the longest."""
        held = self._held.get(node)
        if held:
            return held
        self._groups = [each for each in self._groups if each]
        taken = [id(each) for other, each in self._held.items() if other is not node]
        free = next((each for each in self._groups if id(each) not in taken), None)
        if free is None and self._groups:
            longest = max(self._groups, key=len)
            if len(longest) >= WORTH_SPLITTING:
                free = deque(longest.pop() for _ in range(len(longest) // 2))
                free.reverse()
                self._groups.append(free)
        if free is not None:
            self._held[node] = free
        return free


def _is_cell(test_id: str) -> bool:
    return _CELL.search(test_id) is not None
