"""What is asked of gateways and machines, without a run; whole runs are in `tests/integration/test_machines.py`."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import execnet
import pytest

from conformance.adapters.registry import Implementation, registered
from conformance.checks.cell import cell_of
from conformance.ledger import load_ledger
from conformance.run.distributed import hooks, transfer
from conformance.run.distributed.hooks import XdistHooks
from conformance.run.distributed.machines import (
    Machines,
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


def gateway(number: int, spec: str, answers: Mapping[str, Any] | Exception) -> Any:
    channel = Channel(answers)
    return SimpleNamespace(id=f"gw{number}", spec=execnet.XSpec(spec), remote_exec=lambda _: channel)


def answer_of(host: str, *, cpus: int = 8, **changed: object) -> dict[str, Any]:
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
    specs: Mapping[str, Mapping[str, Any] | Exception],
    *,
    named: Sequence[str] = (),
    device: str = "cpu",
    threads: int | None = None,
) -> tuple[Machines, list[Any]]:
    """Return machines that were asked, and the gateways to them."""
    gateways = [gateway(number, spec.partition("#")[0], each) for number, (spec, each) in enumerate(specs.items())]
    away = [is_elsewhere(each.spec) for each in gateways]
    found = Machines((NUMPY, ABSENT), named=named, device=device, threads=threads, elsewhere=any(away), only=all(away))
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
def test_a_gateway_has_the_address_of_its_machine(spec: str, elsewhere: bool, where: str) -> None:
    assert is_elsewhere(execnet.XSpec(spec)) is elsewhere
    assert address(execnet.XSpec(spec)) == where


def config(*tx: str) -> Any:
    options = {"tx": list(tx), "dist": "load"}
    return SimpleNamespace(
        getoption=lambda name, default=None: options.get(name, default), getvalue=lambda name: options[name]
    )


def test_an_invalid_gateway_is_an_error_in_one_line() -> None:
    assert are_elsewhere(config("2*popen", "ssh=cluster1")) == (True, False)
    assert are_elsewhere(config("4*ssh=cluster1")) == (True, True)
    assert are_elsewhere(config("3*popen")) == (False, False)
    for spec in ("sockt", "ssh", "socket=localhost", "socket=localhost:http", "popen//python=python3", "python=x"):
        with pytest.raises(pytest.UsageError, match=rf"^--tx {spec}"):
            are_elsewhere(config(spec))


def test_threads_are_shared_by_the_workers_of_a_machine() -> None:
    answers = {
        "ssh=big#1": answer_of("big", cpus=64),
        "ssh=big#2": answer_of("big", cpus=64),
        "ssh=small": answer_of("small", cpus=2),
    }
    found, gateways = machines(answers)
    assert [found.threads(each) for each in gateways] == [32, 32, 2]
    assert [each["workers"] for each in found.facts()] == [2, 1]
    assert [each["threads"] for each in found.facts()] == [32, 2]
    fixed, gateways = machines(answers, threads=5)
    assert [fixed.threads(each) for each in gateways] == [5, 5, 5]


def test_machines_with_the_same_name_get_different_names() -> None:
    found, _ = machines({"socket=a:1": answer_of("node"), "socket=b:1": answer_of("node")})
    assert [each.name for each in found.elsewhere] == ["node", "node (b:1)"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"fault": "dense-conformance cannot be imported there: No module"}, "^far: dense-conformance cannot be"),
        (EOFError("lost"), "^far does not answer as a machine of this run: lost$"),
        (execnet.TimeoutError("no item after 60 seconds"), "^far does not answer as a machine of this run: no item"),
        (execnet.RemoteError("Traceback:\n  a line\nValueError: no\n"), "ValueError: no$"),
    ],
)
def test_a_machine_that_takes_no_part_is_named_with_the_reason(answer: Any, message: str) -> None:
    with pytest.raises(pytest.UsageError, match=message):
        machines({"ssh=far": answer})


HAS_ALL: Mapping[str, Any] = {"numpy": [], "absent": []}


def test_a_named_implementation_that_a_machine_lacks_is_a_fault() -> None:
    assert machines({"ssh=one": answer_of("one"), "ssh=two": answer_of("two")}, named=["numpy"])
    with pytest.raises(pytest.UsageError, match=r"^absent is not installed on two: absent_module$"):
        machines({"ssh=one": answer_of("one", missing=HAS_ALL), "ssh=two": answer_of("two")}, named=["absent"])


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            {"ssh=one": answer_of("one"), "ssh=two": answer_of("two", missing=HAS_ALL)},
            "^one lacks absent, which two has: ",
        ),
        (
            {"ssh=one": answer_of("one", missing=HAS_ALL), "ssh=two": answer_of("two")},
            "^two lacks absent, which one has: ",
        ),
        ({"popen": {}, "ssh=two": answer_of("two", missing=HAS_ALL)}, "^this machine lacks absent, which two has: "),
    ],
)
def test_machines_of_a_run_have_the_same_implementations(specs: dict[str, Any], message: str) -> None:
    """Any worker is given any cell."""
    with pytest.raises(pytest.UsageError, match=message):
        machines(specs)


def test_a_gpu_is_looked_for_on_each_machine() -> None:
    gpus = {"numpy": ["cpu", "gpu"], "absent": ["gpu"]}
    host = answer_of("host", devices=gpus, missing=HAS_ALL)
    assert machines({"ssh=host": host}, device="gpu")
    with pytest.raises(pytest.UsageError, match=r"^--device gpu: no GPU is visible to absent, numpy on login$"):
        machines({"ssh=host": host, "ssh=login": answer_of("login", missing=HAS_ALL)}, device="gpu")
    assert machines({"ssh=login": answer_of("login")}, device="cpu")


def test_words_for_another_machine_name_nothing_of_this_one() -> None:
    found, _ = machines({"ssh=far": answer_of("far")})
    words = arguments_for(found.elsewhere[0], ["--draws=2"])
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


def test_another_source_is_a_fault_with_both_versions() -> None:
    asked = transfer.greeting([NUMPY], devices=False)
    assert "fault" not in transfer.answer(asked)
    fault = str(transfer.answer({**asked, "source": "0123456789ab"})["fault"])
    assert transfer.source() in fault
    assert "0123456789ab" in fault


def distribution(found: Machines) -> tuple[XdistHooks, list[str]]:
    """Return the hooks of a run on machines, and the lines they print."""
    lines: list[str] = []
    manager = SimpleNamespace(getplugin=lambda _: SimpleNamespace(write_line=lines.append))
    parameters = SimpleNamespace(args=())
    given: Any = SimpleNamespace(
        invocation_params=parameters, pluginmanager=manager, getoption=lambda *_: None, getvalue=lambda _: ["popen"]
    )
    return XdistHooks(given, found, cells=lambda: b"", arguments=[], expect=lambda _: None), lines


class Node:
    """A worker as the hooks of xdist see it."""

    def __init__(self, lost: Any) -> None:
        self.gateway = lost
        self.workerinput: dict[str, Any] = {}
        self.is_ended = False

    def shutdown(self) -> None:
        self.is_ended = True


def test_a_machine_that_is_not_there_is_not_reachable() -> None:
    """In a process of its own: execnet leaves connections to be closed by whoever finds them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    specs = (f"socket=127.0.0.1:{port}", "socket//installvia=gw0", "popen")
    code = "import sys; from execnet import XSpec; from conformance.run.distributed.machines import is_reachable\n"
    code += "print([is_reachable(XSpec(each)) for each in sys.argv[1:]])"
    words = [sys.executable, "-c", code, *specs]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[False, False, True]\n"


@pytest.mark.parametrize(("others", "pending", "stopped"), [(1, True, False), (0, True, True), (0, False, False)])
def test_a_run_continues_on_the_remaining_machines_and_ends_without_any(
    monkeypatch: pytest.MonkeyPatch, others: int, pending: bool, stopped: bool
) -> None:
    monkeypatch.setattr(hooks, "is_reachable", lambda _: False)
    found, gateways = machines({"ssh=far": answer_of("far"), "ssh=near": answer_of("near")})
    spread, lines = distribution(found)
    spread._scheduler = SimpleNamespace(has_pending=pending)
    lost, left = map(Node, gateways)
    for each in (lost, left)[: 1 + others]:
        spread.pytest_configure_node(each)
    spread.pytest_testnodedown(lost, "Not properly terminated")
    assert lines == ["far is lost; the run continues without it"]
    # What xdist starts in its place is here, and ends without a test.
    assert not is_elsewhere(lost.gateway.spec)
    here = Node(SimpleNamespace(id="gw9", spec=lost.gateway.spec))
    spread.pytest_configure_node(here)
    spread.pytest_testnodeready(here)
    assert here.is_ended
    with pytest.raises(pytest.exit.Exception, match="no machine is left") if stopped else nullcontext():
        spread.pytest_testnodedown(here, None)


def test_a_worker_that_is_lost_on_a_machine_that_is_there_is_replaced_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "is_reachable", lambda _: True)
    found, (lost,) = machines({"ssh=far": answer_of("far")})
    spread, lines = distribution(found)
    spread.pytest_testnodedown(Node(lost), "Not properly terminated")
    assert lines == []
    assert is_elsewhere(lost.spec)
