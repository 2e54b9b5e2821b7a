"""What is asked of gateways and machines, without a run; whole runs are in `tests/integration/test_machines.py`."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import execnet
import pytest
from xdist.dsession import DSession

from conformance.adapters.registry import Implementation, registered
from conformance.checks.cell import cell_of
from conformance.ledger import load_ledger
from conformance.run.distributed import transfer
from conformance.run.distributed.machines import (
    Machines,
    Replacement,
    address,
    are_elsewhere,
    arguments_for,
    is_elsewhere,
)
from conformance.table.case import Case, Layer
from conformance.table.loader import default_cases

NUMPY = registered()["numpy"]
#: Nothing of it is installed anywhere.
ABSENT = Implementation(name="absent", adapter="absent_module:Class", packages=("absent_module",))


class Channel:
    def __init__(self, answers: Mapping[str, Any] | Exception) -> None:
        self.answers = answers

    def send(self, _: object) -> None:
        pass

    def receive(self, _: float) -> Mapping[str, Any]:
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers

    def waitclose(self, _: float) -> None:
        pass


class Node:
    """A worker as the session of xdist keeps it."""

    def __init__(self, gateway: Any) -> None:
        self.gateway = gateway


def gateway(number: int, spec: str, answers: Mapping[str, Any] | Exception) -> Any:
    channel = Channel(answers)
    return SimpleNamespace(id=f"gw{number}", spec=execnet.XSpec(spec), remote_exec=lambda _: channel)


def said(host: str, *, cpus: int = 8, **changed: object) -> dict[str, Any]:
    lacking = {"numpy": [], "absent": ["absent_module"]}
    devices = {"numpy": ["cpu"], "absent": ["cpu"]}
    return {
        "host": host,
        "cpus": cpus,
        "package": f"/{host}/conformance",
        "machine": {"python": "3.11"},
        "missing": lacking,
        "devices": devices,
        **changed,
    }


def machines(
    specs: Mapping[str, Mapping[str, Any] | Exception], *, device: str = "cpu", threads: int | None = None
) -> tuple[Machines, list[Any]]:
    """Return machines that were asked, and the gateways to them."""
    gateways = [gateway(number, spec.partition("#")[0], each) for number, (spec, each) in enumerate(specs.items())]
    away = [is_elsewhere(each.spec) for each in gateways]
    found = Machines((NUMPY, ABSENT), device=device, threads=threads, elsewhere=any(away), only=all(away))
    found.expect([each.spec for each in gateways])
    for each in gateways:
        found.greet(each)
    return found, gateways


@pytest.mark.parametrize(
    ("spec", "elsewhere", "where"),
    [
        ("popen", False, "this machine"),
        ("ssh=cluster1", True, "cluster1"),
        ("ssh=-p 2222 me@cluster1//chdir=work", True, "me@cluster1"),
        ("socket=10.0.0.7:8888", True, "10.0.0.7:8888"),
        ("socket//installvia=gw0", True, "gw0"),
    ],
)
def test_a_gateway_says_where_it_leads(spec: str, elsewhere: bool, where: str) -> None:
    assert is_elsewhere(execnet.XSpec(spec)) is elsewhere
    assert address(execnet.XSpec(spec)) == where


def config(*tx: str) -> Any:
    options = {"tx": list(tx), "dist": "load"}
    return SimpleNamespace(
        getoption=lambda name, default=None: options.get(name, default), getvalue=lambda name: options[name]
    )


def test_what_is_no_gateway_is_said_in_a_line() -> None:
    assert are_elsewhere(config("2*popen", "ssh=cluster1")) == (True, False)
    assert are_elsewhere(config("4*ssh=cluster1")) == (True, True)
    assert are_elsewhere(config("3*popen")) == (False, False)
    for spec in ("sockt", "ssh", "socket=localhost", "socket=localhost:http", "popen//python=python3", "python=x"):
        with pytest.raises(pytest.UsageError, match=rf"^--tx {spec}"):
            are_elsewhere(config(spec))


def test_threads_are_shared_by_the_workers_of_a_machine() -> None:
    answers = {"ssh=big#1": said("big", cpus=64), "ssh=big#2": said("big", cpus=64), "ssh=small": said("small", cpus=2)}
    found, gateways = machines(answers)
    assert [found.threads(each) for each in gateways] == [32, 32, 2]
    assert [each["workers"] for each in found.facts()] == [2, 1]
    assert [each["threads"] for each in found.facts()] == [32, 2]
    fixed, gateways = machines(answers, threads=5)
    assert [fixed.threads(each) for each in gateways] == [5, 5, 5]


def test_machines_of_one_name_are_told_apart() -> None:
    found, _ = machines({"socket=a:1": said("node"), "socket=b:1": said("node")})
    assert [each.name for each in found.elsewhere] == ["node", "node (b:1)"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"fault": "dense-conformance cannot be imported there: No module"}, "^far: dense-conformance cannot be"),
        (EOFError("lost"), "^far does not answer as a machine of this run: lost$"),
        (execnet.TimeoutError("no item after 60 seconds"), "^far does not answer as a machine of this run: no item"),
        (execnet.RemoteError("Traceback:\n  a line\nValueError: no\n"), "ValueError: no$"),
    ],
)
def test_a_machine_that_takes_no_part_is_named_with_the_reason(answer: Any, told: str) -> None:
    with pytest.raises(pytest.UsageError, match=told):
        machines({"ssh=far": answer})


def test_what_no_machine_has_is_a_fault_where_it_was_named() -> None:
    found, _ = machines({"ssh=one": said("one"), "ssh=two": said("two")})
    assert found.fault(["numpy"]) is None
    assert (
        found.fault(["absent"]) == "absent was asked for, but is not installed on any machine (one, two): absent_module"
    )
    on_one, _ = machines({"ssh=one": said("one"), "ssh=two": said("two", missing={"numpy": [], "absent": []})})
    assert on_one.fault(["absent"]) is None


def test_a_gpu_is_looked_for_where_the_workers_are() -> None:
    gpus = {"numpy": ["cpu", "gpu"], "absent": ["gpu"]}
    host = said("host", devices=gpus, missing={"numpy": [], "absent": []})
    found, (here, there) = machines({"ssh=login": said("login"), "ssh=host": host}, device="auto")
    assert not found.is_able(here, "gpu", "numpy")
    assert found.is_able(here, "cpu", "numpy")
    assert found.is_able(there, "gpu", "numpy")
    assert found.is_possible("gpu", "numpy")
    # Once it is lost nobody has one, and whoever asks must not wait for it.
    found.lose(there)
    assert not found.is_possible("gpu", "numpy")
    without, _ = machines({"ssh=login": said("login")}, device="gpu")
    assert without.fault([]) == "--device gpu: no GPU is visible to absent, numpy on any machine: login"


def test_words_for_another_machine_name_nothing_of_this_one() -> None:
    found, _ = machines({"ssh=far": said("far")})
    words = arguments_for(found.elsewhere[0], {"draws": 2})
    assert "--rootdir=/far/conformance" in words
    assert "--draws=2" in words
    # pytest-xdist takes a word for a file to be sent where there is such a file.
    assert not any(each.startswith(("/", "conformance/")) for each in words)


def test_cells_and_ledger_travel_whole_and_an_unread_module_is_read_where_it_runs() -> None:
    case = Case(input_shape=(2,), layers=(Layer(units=3),), row="rows.yaml:7", environment=(("SWITCH", "1"),))
    unread = Implementation(
        name="tests.support.plain_functions:dense", adapter="tests.support.plain_functions:dense", packages=("tests",)
    )
    cells = [cell_of(case, each, "cpu") for each in (NUMPY, ABSENT, unread)]
    entries = load_ledger([default_cases()])
    (first, second, third), ledger = transfer.unpack(transfer.pack(cells, entries))
    assert (first, second) == (cells[0], cells[1])
    assert first.case.row == "rows.yaml:7"
    assert len(ledger) == len(entries)
    # What looked like a class from where its source is not, is a function here; the row's switch is kept.
    assert third.implementation.adapter != unread.adapter
    assert third.implementation.environment["SWITCH"] == "1"


def test_another_source_is_a_fault_that_says_both() -> None:
    asked = transfer.greeting([NUMPY], devices=False)
    assert "fault" not in transfer.answer(asked)
    fault = transfer.answer({**asked, "source": "0123456789ab"})["fault"]
    assert transfer.source() in fault
    assert "0123456789ab" in fault


def test_the_session_of_xdist_has_what_replaces_a_worker() -> None:
    """It is not part of what xdist promises: where it is renamed, a lost machine would end the run again."""
    assert callable(DSession._clone_node)


@pytest.mark.parametrize(("others", "pending", "stopped"), [(1, True, False), (0, True, True), (0, False, False)])
def test_who_is_left_goes_on_and_when_nobody_is_the_run_ends(others: int, pending: bool, stopped: bool) -> None:
    found, (lost,) = machines({"ssh=far": said("far")})
    node = Node(lost)
    told: list[str] = []
    counted: list[Any] = []
    scheduler = SimpleNamespace(has_pending=pending, collection_is_completed=True, expect_one_less=counted.append)

    def clone(_: object) -> None:
        raise ConnectionRefusedError("refused")

    active = {node, *(Node(lost) for _ in range(others))}
    session = SimpleNamespace(
        sched=scheduler, _clone_node=clone, _active_nodes=active, shuttingdown=False, shouldstop=False
    )
    Replacement(session, found, told.append)
    session._clone_node(node)
    assert counted == [node]
    assert bool(session.shouldstop) is stopped
    assert session.shuttingdown is (others == 0)
    assert told == (["far is lost, the run goes on without it: refused"] if pending else [])
