"""Tests go to workers by pytest-xdist's work stealing: few processes are started twice, and workers end together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import WorkStealingScheduling

from conformance.results.record import CellName
from conformance.run.distributed.hooks import XdistHooks
from conformance.run.distributed.machines import Machines
from tools.replay import replay

SECONDS = {"fast": 0.01, "usual": 0.05, "slow": 0.5}


@pytest.mark.parametrize(("workers", "most"), [(1, 3), (2, 7), (4, 14)])
def test_the_cells_of_a_process_lie_side_by_side_and_few_are_started_twice(workers: int, most: int) -> None:
    tests = {
        CellName("cpu", name, str(number)): took for name, took in SECONDS.items() for number in range(200)
    }  # 112 s, nearly all of it in the last process
    found = replay(workers, tests, lambda _: 1.0)
    assert found["starts"] <= most
    assert found["seconds"] <= 1.1 * (sum(tests.values()) + most) / workers


@pytest.mark.parametrize(("named", "kind"), [("load", WorkStealingScheduling), ("loadfile", type(None))])
def test_another_distribution_is_left_to_xdist(named: str, kind: type) -> None:
    options = {"dist": named, "tx": ["2*popen"]}
    config: Any = SimpleNamespace(
        invocation_params=SimpleNamespace(args=()), getoption=options.get, getvalue=options.__getitem__
    )
    machines = Machines((), named=(), device="cpu", threads=None, elsewhere=False, only=False)
    hooks = XdistHooks(config, machines, cells=lambda: b"", arguments=[], expect=lambda _: None)
    assert type(hooks.pytest_xdist_make_scheduler(config, Producer("test", enabled=False))) is kind
