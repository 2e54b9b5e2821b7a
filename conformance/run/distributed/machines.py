"""
The workers of a run on other machines, which pytest-xdist reaches through gateways of execnet.

A machine is asked what it is before a worker is started there. A worker runs what is installed there: nothing is copied
to it, and no path of this machine means anything on it. All machines of a run have the same implementations, so that
any worker can run any cell.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import execnet
import pytest
from xdist.workermanage import parse_tx_spec_config

from conformance.adapters.installation import missing_text
from conformance.adapters.registry import Implementation
from conformance.run import resources
from conformance.run.distributed import transfer
from conformance.run.distributed.gateway import Gateway, Spec

#: How long a machine may take to say what it is, and for each implementation whose devices it looks for (seconds).
PATIENCE: Final = 60.0
PATIENCE_FOR_DEVICES: Final = 130.0
#: What is raised for a machine that is not there, or that ends in the middle of a message.
UNREACHABLE: Final = (OSError, EOFError, execnet.HostNotFound, execnet.RemoteError, execnet.TimeoutError)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Another machine: its `name` in results, the `address` it is reached by, and what it said of itself."""

    name: str
    address: str
    #: Its address without a port: workers of one host share its CPUs.
    host: str
    cpus: int
    #: The folder of the package there.
    package: str
    facts: Mapping[str, object]


def is_elsewhere(spec: Spec) -> bool:
    """Return whether a gateway leads to another machine."""
    return not spec.popen


def address(spec: Spec) -> str:
    """Return what of a gateway says which machine it leads to; sockets of one machine differ in their port."""
    # `ssh` may hold options of the program before the name.
    ways = (spec.installvia, spec.ssh, spec.vagrant_ssh, spec.socket)
    words = next((each for each in ways if isinstance(each, str) and each), "this machine").split()
    return " ".join(words) if words[0] == "this" else words[-1]


def are_elsewhere(config: pytest.Config) -> tuple[bool, bool]:
    """Return whether some of the workers asked for, and whether all of them, run on other machines."""
    if not config.getoption("tx", None) or config.getoption("dist", "no") == "no":
        return False, False
    found = [is_elsewhere(_spec(each)) for each in parse_tx_spec_config(config)]
    return any(found), all(found)


def _spec(text: str) -> Spec:
    """Return a gateway as xdist understands it; it would find out with a traceback that there is no such."""
    try:
        found: Spec = execnet.XSpec(text)
    except (ValueError, AttributeError) as error:
        raise pytest.UsageError(f"--tx {text}: {error}") from None
    hosts = [each for each in (found.ssh, found.vagrant_ssh) if each]
    port = str(found.socket).rpartition(":")[2]
    is_way = bool(hosts or found.popen or found.socket) and all(isinstance(each, str) for each in hosts)
    if not is_way or (found.socket and not found.installvia and not port.isdigit()):
        raise pytest.UsageError(
            f"--tx {text}: expected popen, ssh=HOST or socket=HOST:PORT, with //chdir=FOLDER or not"
        )
    if found.popen and any((found.python, found.chdir, found.via)):
        # xdist gives such a worker this interpreter's search path, wherever it is.
        raise pytest.UsageError(
            f"--tx {text}: popen is this interpreter here; for another one say ssh=HOST//python=PATH"
        )
    return found


class Machines:
    """
    The machines of one run.

    `chosen` are its implementations, `named` those of them that a person named; `device` and `threads` are what was
    asked for. `elsewhere` says whether some workers run on other machines, `only` whether all do.
    """

    def __init__(
        self,
        chosen: Sequence[Implementation],
        *,
        named: Sequence[str],
        device: str,
        threads: int | None,
        elsewhere: bool,
        only: bool,
    ) -> None:
        self.implementations = tuple(chosen)
        self._named = frozenset(named)
        self._device = device
        self._threads = threads
        self.are_elsewhere = elsewhere
        self.are_all_elsewhere = only
        self._machines: dict[str, Machine] = {}
        self._addresses: tuple[str, ...] = ()
        self._sharing: Counter[str] = Counter()
        self._greeted_count = 0
        #: The first machine of the run, by name, and the implementations it lacks.
        self._first: tuple[str, set[str]] | None = None
        if not only:
            self._first = "this machine", {each.name for each in chosen if each.missing_packages()}

    def expect(self, specs: Sequence[Spec]) -> None:
        """Take note of the gateways to come."""
        self._addresses = tuple(map(address, specs))
        self._sharing = Counter(map(_host, specs))

    @property
    def workers(self) -> int:
        """How many workers take part from the start."""
        return len(self._addresses)

    @property
    def workers_elsewhere(self) -> int:
        """How many of the workers run on other machines."""
        return sum(self._addresses.count(each.address) for each in self.elsewhere)

    @property
    def elsewhere(self) -> tuple[Machine, ...]:
        """The other machines, each once."""
        return tuple({each.address: each for each in self._machines.values()}.values())

    def machine_of(self, gateway: Gateway) -> Machine | None:
        """Return the machine a gateway leads to, None for this one."""
        return self._machines.get(gateway.id)

    def threads(self, gateway: Gateway) -> int:
        """Return how many threads a process started by a worker is to have: as asked for, or its share there."""
        machine = self.machine_of(gateway)
        return self._threads_on(_host(gateway.spec), resources.cpus() if machine is None else machine.cpus)

    def _threads_on(self, host: str, cpus: int) -> int:
        """Return how many threads each process on a host with so many CPUs is to have."""
        return self._threads or resources.threads_of_worker(cpus, self._sharing[host])

    def greet(self, gateway: Gateway) -> Machine | None:
        """
        Ask a machine what it is; None where the gateway leads nowhere else.

        Raises:
            pytest.UsageError: it cannot take part: no answer, no package or another one, other implementations, no GPU.
        """
        self._greeted_count += 1
        if not is_elsewhere(gateway.spec):
            return None
        where = address(gateway.spec)
        known = next((each for each in self.elsewhere if each.address == where), None)
        if known is None:
            known = self._meet(gateway, where)
        self._machines[gateway.id] = known
        return known

    def _meet(self, gateway: Gateway, where: str) -> Machine:
        devices = self._device == "gpu"
        try:
            channel = gateway.remote_exec(transfer.GREETING)
            channel.send(transfer.greeting(self.implementations, devices=devices))
            answer = channel.receive(PATIENCE + (PATIENCE_FOR_DEVICES * len(self.implementations) if devices else 0))
            channel.waitclose(PATIENCE)
        except UNREACHABLE as error:
            raise pytest.UsageError(f"{where} does not answer as a machine of this run: {last_line(error)}") from None
        if "fault" in answer:
            raise pytest.UsageError(f"{where}: {answer['fault']}")
        self._check(where, answer["missing"], answer["devices"])
        taken = {each.name for each in self.elsewhere} | {socket.gethostname()}
        name = str(answer["host"])
        return Machine(
            name=name if name not in taken else f"{name} ({where})",
            address=where,
            host=_host(gateway.spec),
            cpus=int(answer["cpus"]),
            package=str(answer["package"]),
            facts=answer["machine"],
        )

    def _check(self, where: str, missing: Mapping[str, Sequence[str]], devices: Mapping[str, Sequence[str]]) -> None:
        """Raise `pytest.UsageError` where a machine cannot run what was asked for, or what another one can."""
        lacks = {name for name, packages in missing.items() if packages}
        for name in sorted(lacks & self._named):
            packages = missing_text(missing[name])
            raise pytest.UsageError(f"{name} was asked for, but is not installed on {where}: {packages}")
        first, lacks_first = self._first = self._first or (where, lacks)
        for one, other, names in ((where, first, lacks - lacks_first), (first, where, lacks_first - lacks)):
            if names:
                raise pytest.UsageError(
                    f"{one} lacks {', '.join(sorted(names))}, which {other} has: install the same on both, "
                    "or name with -i what both have"
                )
        without = sorted(each.name for each in self.implementations if self._device not in (*devices[each.name], "cpu"))
        if without:
            raise pytest.UsageError(f"--device gpu: no GPU is visible to {', '.join(without)} on {where}")

    def unreachable_message(self, error: BaseException) -> str:
        """Return in a line that the next gateway could not be made."""
        where = self._addresses[self._greeted_count] if self._greeted_count < self.workers else "a machine"
        if where == "this machine":
            return f"a worker ended while it was started: {last_line(error)}; run again"
        return f"{where} cannot be reached: {last_line(error)}"

    def facts(self) -> list[dict[str, object]]:
        """Return what a results file says of the other machines."""
        found: list[dict[str, object]] = []
        for each in self.elsewhere:
            named = {"host": each.name, "address": each.address, "workers": self._addresses.count(each.address)}
            shared = {"threads": self._threads_on(each.host, each.cpus), "cpus_usable": each.cpus}
            found.append({**named, **shared, **each.facts})
        return found


def _host(spec: Spec) -> str:
    where = address(spec)
    return where.rpartition(":")[0] if spec.socket else where


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, or its type where it has none."""
    lines = [each for each in str(error).strip().splitlines() if each.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def is_reachable(spec: Spec) -> bool:
    """Return whether a machine that a worker was lost on takes another one."""
    group = execnet.Group()
    try:
        group.makegateway(str(spec))
    except (*UNREACHABLE, KeyError):  # KeyError: it is reached through a gateway that is lost as well
        return False
    finally:
        group.terminate(timeout=5.0)
    return True


def move_here(spec: Spec) -> None:
    """Let what is started next by a specification be started on this machine."""
    spec.ssh = spec.vagrant_ssh = spec.socket = spec.installvia = spec.via = spec.python = spec.chdir = None
    spec.popen = True


def arguments_for(machine: Machine, options: Sequence[str]) -> list[str]:
    """
    Return the words pytest is called with on another machine: what `conformance run` says, in paths of that machine.

    Nothing in them may be a file here, which xdist would take for one to send: so every path is part of a word.
    """
    words = [f"--config-file={machine.package}/run/run.ini", f"--rootdir={machine.package}", "--noconftest"]
    words += ["-pno:cacheprovider", "-pconformance.run.plugin", "--import-mode=importlib", "-Werror", "-q", "--tb=no"]
    return [*words, *options, "--pyargs", "conformance.run.runner::test_dense"]
