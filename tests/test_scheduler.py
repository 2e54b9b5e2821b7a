"""Tests go to workers by group, every test goes to exactly one, and none is lost when a worker dies."""

from __future__ import annotations

import itertools
import random

import pytest

from conformance.scheduler import WORTH_SPLITTING, GroupScheduling, group_of


class Worker:
    """A worker of xdist as the scheduler sees it."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def ids(**groups: int) -> list[str]:
    cells = [
        f"tests/test_dense.py::test_dense[cpu/{name}/case-{i}]" for name, count in groups.items() for i in range(count)
    ]
    return [*cells, *(f"tests/test_other.py::test_{i}" for i in range(5))]


def test_a_group_is_an_implementation_on_a_device_or_a_file() -> None:
    assert group_of("suite.py::test_dense[cpu/tests.faulty:Exact/784-4-exact]") == "cpu/tests.faulty:Exact"
    assert group_of("tests/test_rule.py::test_x[a/b]") == "tests/test_rule.py"


def run(
    collection: list[str], workers: list[Worker], *, dies: Worker | None = None, seed: int = 0
) -> dict[Worker, list[int]]:
    """Run all tests in the order in which workers would, in random turns; `dies` ends after three tests."""
    scheduler = GroupScheduling(len(workers))
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, collection)
    scheduler.schedule()
    done: dict[Worker, list[int]] = {worker: [] for worker in workers}
    generator = random.Random(seed)
    alive = list(workers)
    while scheduler.has_pending:
        ready = [w for w in alive if len(w.sent) > len(done[w]) + 1 or (w.shutting_down and len(w.sent) > len(done[w]))]
        assert ready, "no worker can go on"
        worker = generator.choice(ready)
        index = worker.sent[len(done[worker])]
        if worker is dies and len(done[worker]) == 3:
            alive.remove(worker)
            assert scheduler.remove_node(worker) == collection[index]
            done[worker].append(index)
            continue
        done[worker].append(index)
        scheduler.mark_test_complete(worker, index)
    assert scheduler.tests_finished
    return done


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_test_runs_exactly_once(workers: int, seed: int) -> None:
    collection = ids(torch=70, flax=40, keras=33)
    done = run(collection, [Worker() for _ in range(workers)], seed=seed)
    assert sorted(index for each in done.values() for index in each) == list(range(len(collection)))


def test_a_worker_stays_with_an_implementation_until_it_is_done() -> None:
    collection = ids(torch=60, flax=60)
    done = run(collection, [Worker(), Worker()])
    for indices in done.values():
        groups = [group_of(collection[index]) for index in indices]
        changes = sum(one != other for one, other in itertools.pairwise(groups))
        assert changes <= 3, groups


def test_a_short_group_is_not_split() -> None:
    collection = ids(torch=WORTH_SPLITTING - 1)
    done = run(collection, [Worker(), Worker(), Worker()])
    holders = [w for w, indices in done.items() if any("torch" in collection[i] for i in indices)]
    assert len(holders) == 1


@pytest.mark.parametrize("seed", range(5))
def test_a_dead_workers_tests_go_to_the_others(seed: int) -> None:
    collection = ids(torch=70, flax=40)
    workers = [Worker(), Worker()]
    done = run(collection, workers, dies=workers[0], seed=seed)
    assert sorted(index for each in done.values() for index in each) == list(range(len(collection)))


def test_workers_that_collected_different_tests_are_an_error() -> None:
    scheduler = GroupScheduling(2)
    for collection in (["a"], ["b"]):
        worker = Worker()
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, collection)
    with pytest.raises(RuntimeError, match="different tests"):
        scheduler.schedule()
