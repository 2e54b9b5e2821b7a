"""What is known of how a process starts decides whether it is tried again."""

from __future__ import annotations

import pytest

from conformance.adapters.implementation import AxisLimit
from conformance.adapters.registry import Implementation, select
from conformance.checks.cell import Cell
from conformance.run import implementation_process
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import TRIES, ImplementationProcess, ProcessOptions, StartHistory
from conformance.sandbox.sandbox import StartError
from conformance.sandbox.steps import Hello
from conformance.table.case import Case, Layer

EXACT = select(["tests.support.faulty_adapters:Exact"])[0]
HELLO = Hello(versions={}, settings={}, devices=("cpu",), threads=1)


class Unsteady:
    """Stands for a process in the suite's own: starts, or fails to, as the next of `plans` says."""

    plans: list[bool]

    def __init__(self, implementation: Implementation, **options: object) -> None:
        pass

    def start(self) -> Hello:
        if not self.plans.pop(0):
            raise StartError("it does not start")
        return HELLO

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("starts", "tried"),
    [
        ([False], 1),
        ([True, *[False] * TRIES], 1 + TRIES),
        ([True, False, False, True, *[False] * TRIES], 4 + TRIES),
    ],
)
def test_a_process_that_never_started_fails_for_good_and_one_that_did_is_retried(
    starts: list[bool], tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(implementation_process, "InProcessSandbox", Unsteady)
    monkeypatch.setattr(Unsteady, "plans", [*starts, True, True], raising=False)
    holder = ImplementationProcess(ProcessOptions(in_process=True))
    outcomes = []
    for _ in range(tried + 2):
        try:
            holder.process_of(EXACT)
            outcomes.append(True)
        except StartError:
            outcomes.append(False)
    assert outcomes == [*starts, False, False]
    assert Unsteady.plans == [True, True], "a process that failed for good is not tried"


def test_a_history_has_the_last_error_of_a_process_that_is_not_tried_again() -> None:
    error = StartError("why")
    assert StartHistory().final_error is None
    assert StartHistory().failed(error).final_error is error
    assert StartHistory().started().failed(error).final_error is None
    assert StartHistory().started().failed(error).failed(error).started() == StartHistory(was_up=True)


def test_an_implementation_is_announced_once_and_not_before_its_process_ran() -> None:
    case = Case(input_shape=(4, 3), layers=(Layer(units=2),), lane="exact")
    short = Cell(case=case, implementation=EXACT, device="cpu")
    limited = Implementation(
        name=EXACT.name, adapter=EXACT.adapter, packages=EXACT.packages, second_axis=AxisLimit(longest=2, reason="why")
    )
    runner = Runner(processes=ProcessOptions(in_process=True))
    assert runner.run(Cell(case=case, implementation=limited, device="cpu")).outcome == "unsupported"
    assert runner.new_hello(EXACT.name) is None
    assert runner.run(short).outcome == "conforms"
    hello = runner.new_hello(EXACT.name)
    assert hello is not None
    assert hello.devices == ("cpu",)
    assert runner.new_hello(EXACT.name) is None
    runner.close()
