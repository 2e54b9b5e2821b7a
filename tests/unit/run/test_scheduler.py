"""Tests go to workers by group, every test goes to exactly one, and none is lost when a worker dies."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from benchmarks.schedule import replay
from conformance.run.distributed.scheduler import GroupScheduling, group_of


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
    assert (
        group_of("runner.py::test_dense[cpu/tests.support.faulty:Exact/784-4-exact]")
        == "cpu/tests.support.faulty:Exact"
    )
    assert group_of("tests/unit/table/test_rule.py::test_x[a/b]") == "tests/unit/table/test_rule.py"


def run(
    collection: list[str], workers: list[Worker], *, dies: Worker | None = None, seed: int = 0, **options: Any
) -> dict[Worker, list[int]]:
    """Run all tests in the order in which workers would, in random turns; `dies` ends after three tests."""
    scheduler = GroupScheduling(len(workers), **options)
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
    collection = ids(torch=23)
    done = run(collection, [Worker(), Worker(), Worker()], start=lambda group: 3.0 if group.startswith("cpu/") else 0.0)
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


def by_time(seconds: dict[str, float], start: float = 1.0) -> dict[str, Any]:
    """Return options of a scheduler: how long a cell of each implementation takes, and a start."""
    return {
        "seconds": lambda test_id: seconds.get(group_of(test_id).partition("/")[2], 0.001),
        "start": lambda group: start if group.startswith("cpu/") else 0.0,
    }


def replayed(collection: list[str], workers: int, **options: Any) -> dict[str, float]:
    taken = options["seconds"]
    return replay(
        GroupScheduling(workers, **options), workers, {each: taken(each) for each in collection}, options["start"]
    )


def test_the_longest_group_is_begun_first_and_each_process_started_once() -> None:
    """Three short groups before the long one would leave a worker idle; no process is started twice to no use."""
    collection = ids(a=10, b=10, c=10, long=30)
    told = replayed(collection, 2, **by_time(dict.fromkeys(("a", "b", "c", "long"), 0.5)))
    assert told["starts"] == 4 + 1  # and the file of tests
    assert told["seconds"] <= 3 * (1 + 5) + 0.1  # and no schedule takes less than 17


def test_few_slow_cells_are_split_and_many_quick_ones_are_not() -> None:
    slow = replayed(ids(slow=20), 2, **by_time({"slow": 2.0}))
    assert (slow["starts"], round(slow["seconds"])) == (2 + 1, 21)
    quick = replayed(ids(quick=200), 2, **by_time({"quick": 0.005}))
    assert quick["starts"] == 1 + 1


def test_workers_end_together_though_one_process_has_nearly_all() -> None:
    told = replayed(ids(huge=400, small=20), 4, **by_time({"huge": 0.2, "small": 0.2}))
    assert told["seconds"] < 1.1 * (84 + 5) / 4
    assert told["starts"] <= 4 + 2


def test_the_longest_cells_of_a_group_come_first_and_those_apart_last() -> None:
    scheduler = GroupScheduling(
        1, seconds=lambda each: 9.0 if each.endswith("case-7]") else 0.1, is_apart=lambda each: each.endswith("case-2]")
    )
    worker = Worker()
    scheduler.add_node(worker)
    scheduler.add_node_collection(worker, ids(torch=10))
    scheduler.schedule()
    while scheduler.has_pending and not scheduler.tests_finished:
        scheduler.mark_test_complete(worker, worker.sent[len(worker.sent) - len(scheduler._pending[worker])])
    assert worker.sent[:10] == [7, 0, 1, 3, 4, 5, 6, 8, 9, 2]


def test_what_takes_longer_than_expected_is_split_after_all() -> None:
    """What is expected is of another machine: what a process is seen to take counts."""
    expected = by_time({"slow": 0.01, "other": 1.0}, start=2.0)
    collection = [each for each in ids(slow=100, other=20) if "test_dense" in each]
    actual = dict.fromkeys(collection, 1.0)
    told = replay(GroupScheduling(2, **expected), 2, actual, expected["start"])
    assert told["seconds"] < 1.1 * (120 + 6) / 2


def test_a_group_goes_to_those_who_can_run_it() -> None:
    able, other = Worker(), Worker()
    done = run(
        ids(here=30, there=30),
        [able, other],
        is_able=lambda worker, group: worker is able or not group.endswith("/there"),
    )
    assert all("/there/" not in ids(here=30, there=30)[index] for index in done[other])
    assert sorted(index for each in done.values() for index in each) == list(range(65))


def test_a_group_that_is_not_wanted_is_not_run() -> None:
    done = run(ids(cpu=5, gpu=5), [Worker()], is_wanted=lambda group: group != "cpu/gpu")
    (indices,) = done.values()
    assert len(indices) == 10


def test_nobody_ends_before_all_can_so_that_a_lost_workers_tests_find_another() -> None:
    scheduler = GroupScheduling(2, together=True)
    one, two = Worker(), Worker()
    for worker in (one, two):
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, ids(torch=12))
    scheduler.schedule()
    # One does all it can; two, which has the rest, is lost at its first test.
    while len(scheduler._pending[one]) > 1:
        scheduler.mark_test_complete(one, scheduler._pending[one][0])
    assert not one.shutting_down
    before = len(one.sent)
    assert scheduler.remove_node(two) is not None
    scheduler.expect_one_less(two)
    assert len(one.sent) > before
    while scheduler._pending[one]:
        scheduler.mark_test_complete(one, scheduler._pending[one][0])
    assert len(set(one.sent)) == 17 - 1
    assert not scheduler.has_pending


def test_a_worker_that_is_lost_before_it_collected_is_not_waited_for() -> None:
    scheduler = GroupScheduling(2, together=True)
    one, two = Worker(), Worker()
    for worker in (one, two):
        scheduler.add_node(worker)
    scheduler.add_node_collection(one, ids(torch=12))
    assert not scheduler.collection_is_completed
    assert scheduler.remove_node(two) is None
    scheduler.expect_one_less(two)
    assert one.sent
