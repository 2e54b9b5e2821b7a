"""
Hands tests to the workers of pytest-xdist by group and by the time they are expected to take.

All cells of one implementation on one device are a group, whose framework's process takes seconds to start, and so are
all tests of one file. A worker stays with a group until it is empty, then takes the longest untouched one; when there
is none left it takes over the end of the longest that is held, so much that both come to their end together, if that
gains more than the start of another process costs. This module follows xdist's `Scheduling` protocol and knows nothing
of cases or frameworks but the form of a test's id.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

#: A worker begins a test only when it knows the next one, so it needs two at the least.
NEEDED: Final = 2
#: What a worker knows beyond the test it is at, so that it never waits for the controller: so much time (seconds), but
#: no more tests than this. What it knows nobody can take over.
AHEAD: Final = 0.25
MOST_AHEAD: Final = 12
#: A group is split where what is left of it takes so many times as long as a start; less is not worth the work.
WORTH_A_START: Final = 2.0
#: For so long what was expected counts as much as what is seen (seconds).
DOUBT: Final = 0.25
#: A group that needs no start is split down to this (seconds).
SHORTEST: Final = 0.5

_CELL = re.compile(r"test_dense\[([^/\]]+/[^/\]]+)/")


def group_of(test_id: str) -> str:
    """Return the group of a test: `DEVICE/IMPLEMENTATION` for a cell, the file for any other."""
    cell = _CELL.search(test_id)
    return cell.group(1) if cell else test_id.partition("::")[0]


def _always(*_: object) -> bool:
    return True


def _never(_: str) -> bool:
    return False


def _usual(_: str) -> float:
    """Return how long a test takes of which nothing is known (seconds)."""
    return 0.05


def _no_start(_: str) -> float:
    return 0.0


class _Pace:
    """How fast the tests of one process turn out to be: on this machine, in this version, beside what was expected."""

    def __init__(self, start: float) -> None:
        self.start = start
        self._expected = self._taken = DOUBT

    def learn(self, expected: float, taken: float) -> None:
        """Take note of a test that ended."""
        self._expected += expected
        self._taken += taken

    @property
    def factor(self) -> float:
        """How many times as long as expected tests take."""
        return self._taken / self._expected


class _Group:
    """Tests that are still to be handed out, by index, and how long they and the start of their process take."""

    def __init__(self, name: str, pace: _Pace, tests: Iterable[int], seconds: Sequence[float]) -> None:
        self.name = name
        self.pace = pace
        self.tests = deque(tests)
        self.seconds = seconds
        self._left = sum(seconds[each] for each in self.tests)

    @property
    def left(self) -> float:
        """How long its tests take, as it looks by now (seconds)."""
        return self._left * self.pace.factor

    def take(self) -> int:
        """Take away the first test."""
        test = self.tests.popleft()
        self._left -= self.seconds[test]
        return test

    def split(self, ahead: float) -> _Group:
        """Take away so much of the end that it takes, with a start, as long as what stays and what is `ahead` of it."""
        wanted = (ahead + self.left - self.pace.start) / 2 / self.pace.factor
        moved: deque[int] = deque()
        taken = 0.0
        while len(self.tests) > 1 and taken + self.seconds[self.tests[-1]] / 2 < wanted:
            moved.appendleft(self.tests.pop())
            taken += self.seconds[moved[0]]
        self._left -= taken
        return _Group(self.name, self.pace, moved, self.seconds)

    @property
    def is_worth_splitting(self) -> bool:
        """Whether two that share it are done clearly before one would be."""
        return len(self.tests) > 1 and self.left > max(WORTH_A_START * self.pace.start, SHORTEST)


class GroupScheduling:
    """
    A scheduler of pytest-xdist; `workers` is the number of workers that take part from the start.

    `seconds` says how long a test is expected to take, by its id, and `start` how long the process of a group takes to
    be up; `is_apart` which cells have a process of their own, and are kept for the end of their group. `is_able` says
    whether a worker can run a group, for each group at least one of them; `is_wanted` whether a group is to run at all.
    `together` lets no worker end before all can: each holds its last test back until nobody has more than one, so that
    the tests of a worker that is lost, and cannot be replaced, always find another.
    """

    def __init__(
        self,
        workers: int,
        *,
        seconds: Callable[[str], float] = _usual,
        start: Callable[[str], float] = _no_start,
        is_apart: Callable[[str], bool] = _never,
        is_able: Callable[[Any, str], bool] = _always,
        is_wanted: Callable[[str], bool] = _always,
        together: bool = False,
    ) -> None:
        self._workers = workers
        self._expected = seconds
        self._start = start
        self._is_apart = is_apart
        self._is_able = is_able
        self._is_wanted = is_wanted
        self._together = together
        self._collections: dict[Any, list[str]] = {}
        self._pending: dict[Any, list[int]] = {}
        self._collection: list[str] | None = None
        self._seconds: list[float] = []
        self._names: list[str] = []
        self._groups: list[_Group] = []
        self._held: dict[Any, _Group] = {}
        self._paces: dict[str, _Pace] = {}
        self._last: dict[Any, str] = {}

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
        if not self.collection_is_completed or self._is_any_left():
            return False
        return all(len(each) < NEEDED for each in self._pending.values())

    @property
    def has_pending(self) -> bool:
        """Whether some test has not been finished."""
        return self._is_any_left() or any(self._pending.values())

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
            self._seconds = [self._expected(each) for each in first]
            self._names = [group_of(each) for each in first]
            wanted = [i for i, each in enumerate(first) if not _is_cell(each) or self._is_wanted(self._names[i])]
            # The longest come first: at the end of a run only what is short is waited for. Other tests stay in order.
            wanted.sort(
                key=lambda i: (self._is_apart(first[i]), -self._seconds[i]) if _is_cell(first[i]) else (False, 0)
            )
            # Cells first: their processes take long to start, and files of tests fill the gaps at the end.
            self._groups = sorted(
                self._grouped(wanted),
                key=lambda each: (not _is_cell(first[each.tests[0]]), -each.pace.start - each.left),
            )
        for node in self.nodes:
            self._refill(node)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Take note of a finished test, which took `duration` (seconds), and hand out more."""
        self._pending[node].remove(item_index)
        self._learn(node, item_index, duration)
        self._refill(node)

    def mark_test_pending(self, item: str) -> None:
        """Put a test back that has to run again."""
        assert self._collection is not None
        self._groups[:0] = self._grouped([self._collection.index(item)])
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
        self._groups[:0] = self._grouped(rest)
        for other in self.nodes:
            self._refill(other)
        return self._collection[at]

    def expect_one_less(self, node: Any) -> None:
        """Take note that a worker was lost and is not replaced; its tests are with the others already."""
        self._collections.pop(node, None)
        self._workers -= 1
        if self._workers and self.collection_is_completed:
            self.schedule()

    def _grouped(self, tests: Sequence[int]) -> list[_Group]:
        found: dict[str, list[int]] = {}
        for test in tests:
            found.setdefault(self._names[test], []).append(test)
        return [_Group(name, self._pace_of(name), each, self._seconds) for name, each in found.items()]

    def _time(self, test: int) -> float:
        """Return how long a test takes, as it looks by now (seconds)."""
        return self._seconds[test] * self._pace_of(self._names[test]).factor

    def _learn(self, node: Any, test: int, duration: float) -> None:
        group = self._names[test]
        # The first test of a process waited for it.
        if self._last.get(node) == group and duration:
            self._pace_of(group).learn(self._seconds[test], duration)
        self._last[node] = group

    def _pace_of(self, group: str) -> _Pace:
        if group not in self._paces:
            self._paces[group] = _Pace(self._start(group))
        return self._paces[group]

    def _is_any_left(self) -> bool:
        return any(each.tests for each in self._groups)

    def _refill(self, node: Any) -> None:
        pending = self._pending[node]
        if node.shutting_down or node not in self._collections:
            return
        ahead = sum(map(self._time, pending[1:]))
        if len(pending) < NEEDED or ahead < AHEAD / 2:
            more: list[int] = []
            while (known := len(pending) + len(more)) < MOST_AHEAD:
                group = self._held.get(node)
                if group is None or not group.tests:
                    # What follows another group is decided as late as possible.
                    group = self._group_for(node) if known < NEEDED else None
                if group is None or (known >= NEEDED and ahead >= AHEAD):
                    break
                more.append(group.take())
                ahead += self._time(more[-1]) if known else 0.0
            if more:
                pending += more
                node.send_runtest_some(more)
        if len(pending) < NEEDED and not self._together:
            node.shutdown()

    def _group_for(self, node: Any) -> _Group | None:
        """Return a group with tests left for a worker: an untouched one, or the end of the longest that is held."""
        self._groups = [each for each in self._groups if each.tests]
        held = [each for other, each in self._held.items() if other is not node]
        able = [each for each in self._groups if self._is_able(node, each.name)]
        found = next((each for each in able if each not in held), None)
        if found is None and able:
            longest = max(able, key=lambda each: each.left)
            if longest.is_worth_splitting:
                holders = (other for other, each in self._held.items() if each is longest)
                found = longest.split(sum(self._time(each) for other in holders for each in self._pending[other]))
                self._groups.append(found)
        if found is not None:
            self._held[node] = found
        return found if found is not None and found.tests else None


def _is_cell(test_id: str) -> bool:
    return _CELL.search(test_id) is not None
