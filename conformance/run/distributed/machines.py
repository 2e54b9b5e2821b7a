"""
The workers of a run on other machines, which pytest-xdist reaches through gateways of execnet.

Before a worker starts on a machine, the machine sends its facts. A worker runs the packages that are installed there:
nothing is copied, and no path of this machine is used. All machines of a run have the same implementations, so that any
worker can run any cell.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import execnet
import pytest
from xdist.workermanage import parse_tx_spec_config

from conformance.adapters.installation import missing_text
from conformance.adapters.registry import Implementation
from conformance.run import resources
from conformance.run.distributed import transfer
from conformance.run.distributed.gateway import Gateway, Spec

#: The most time for the answer of a machine, and for each implementation whose devices it looks for (seconds).
PATIENCE: Final = 60.0
PATIENCE_FOR_DEVICES: Final = 130.0
#: Exceptions for a machine that cannot be reached, or that ends within a message.
UNREACHABLE: Final = (OSError, EOFError, execnet.HostNotFound, execnet.RemoteError, execnet.TimeoutError)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Another machine: its `name` in results, its `address`, and its facts."""

    name: str
    address: str
    #: Its address without a port. Workers of one host share its CPUs.
    host: str
    cpus: int
    #: The folder of the package there.
    package: str
    facts: Mapping[str, object]


def is_elsewhere(spec: Spec) -> bool:
    """Return whether a gateway leads to another machine."""
    return not spec.popen


def address(spec: Spec) -> str:
    """Return the address of the machine of a gateway. Sockets of one machine differ in their port."""
    # `ssh` may hold options of the program before the name.
    ways = (spec.installvia, spec.ssh, spec.vagrant_ssh, spec.socket)
    words = next((each for each in ways if isinstance(each, str) and each), "this machine").split()
    return " ".join(words) if words[0] == "this" else words[-1]


def are_elsewhere(config: pytest.Config) -> tuple[bool, bool]:
    """Return whether some workers run on other machines, and whether all do."""
    if not config.getoption("tx", None) or config.getoption("dist", "no") == "no":
        return False, False
    found = [is_elsewhere(_spec(each)) for each in parse_tx_spec_config(config)]
    return any(found), all(found)


def _spec(text: str) -> Spec:
    """Return a gateway as xdist reads it. An invalid one is an error here, because xdist would print a traceback."""
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
        # xdist gives such a worker the search path of this interpreter.
        raise pytest.UsageError(f"--tx {text}: popen is this interpreter; for another one use ssh=HOST//python=PATH")
    return found


class Machines:
    """
    The machines of one run.

    - `chosen`: its implementations.
    - `named`: the implementations that the command names.
    - `device`, `threads`: the options of the command.
    - `elsewhere`: whether some workers run on other machines.
    - `only`: whether all workers do.
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
        """Record the gateways of the run."""
        self._addresses = tuple(map(address, specs))
        self._sharing = Counter(map(_host, specs))

    @property
    def workers(self) -> int:
        """How many workers the run starts with."""
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
        """Return the machine of a gateway, None for this one."""
        return self._machines.get(gateway.id)

    def threads(self, gateway: Gateway) -> int:
        """Return the threads of each process of a worker: as given, or its share of the machine."""
        machine = self.machine_of(gateway)
        return self._threads_on(_host(gateway.spec), resources.cpus() if machine is None else machine.cpus)

    def _threads_on(self, host: str, cpus: int) -> int:
        """Return the threads of each process on a host."""
        return self._threads or resources.threads_of_worker(cpus, self._sharing[host])

    def greet(self, gateway: Gateway) -> Machine | None:
        """
        Return the machine of a gateway with its facts; None for this machine.

        Raises:
            pytest.UsageError: it cannot take part: no answer, no package or another version, other implementations, no
                GPU.
        """
        self._greeted_count += 1
        if not is_elsewhere(gateway.spec):
            return None
        where = address(gateway.spec)
        machine = next((each for each in self.elsewhere if each.address == where), None)
        if machine is None:
            machine = self._new_machine(gateway, where)
        self._machines[gateway.id] = machine
        return machine

    def _new_machine(self, gateway: Gateway, where: str) -> Machine:
        devices = self._device == "gpu"
        try:
            channel = gateway.remote_exec(transfer.GREETING)
            channel.send(transfer.greeting(self.implementations, devices=devices))
            patience = PATIENCE + (PATIENCE_FOR_DEVICES * len(self.implementations) if devices else 0)
            answer = cast(transfer.MachineAnswer, channel.receive(patience))
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
        """Raise `pytest.UsageError` if a machine cannot run a named implementation, or one that another machine can."""
        missing_here = {name for name, packages in missing.items() if packages}
        for name in sorted(missing_here & self._named):
            packages = missing_text(missing[name])
            raise pytest.UsageError(f"{name} is not installed on {where}: {packages}")
        first, missing_on_first = self._first = self._first or (where, missing_here)
        for one, other, names in (
            (where, first, missing_here - missing_on_first),
            (first, where, missing_on_first - missing_here),
        ):
            if names:
                raise pytest.UsageError(
                    f"{one} lacks {', '.join(sorted(names))}, which {other} has: install the same on both, "
                    "or name with -i what both have"
                )
        without = sorted(each.name for each in self.implementations if self._device not in (*devices[each.name], "cpu"))
        if without:
            raise pytest.UsageError(f"--device gpu: no GPU is visible to {', '.join(without)} on {where}")

    def unreachable_message(self, error: BaseException) -> str:
        """Return the one-line error of a gateway that could not be made."""
        where = self._addresses[self._greeted_count] if self._greeted_count < self.workers else "a machine"
        if where == "this machine":
            return f"a worker ended during its start: {last_line(error)}; run again"
        return f"{where} cannot be reached: {last_line(error)}"

    def facts(self) -> list[dict[str, object]]:
        """Return the facts of the other machines for a results file."""
        facts: list[dict[str, object]] = []
        for each in self.elsewhere:
            named = {"host": each.name, "address": each.address, "workers": self._addresses.count(each.address)}
            shared = {"threads": self._threads_on(each.host, each.cpus), "cpus_usable": each.cpus}
            facts.append({**named, **shared, **each.facts})
        return facts


def _host(spec: Spec) -> str:
    where = address(spec)
    return where.rpartition(":")[0] if spec.socket else where


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, or its type if it has no text."""
    lines = [each for each in str(error).strip().splitlines() if each.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def is_reachable(spec: Spec) -> bool:
    """Return whether a machine that lost a worker accepts another one."""
    group = execnet.Group()
    try:
        group.makegateway(str(spec))
    except (*UNREACHABLE, KeyError):  # KeyError: the gateway on the way to it is lost too
        return False
    finally:
        group.terminate(timeout=5.0)
    return True


def move_here(spec: Spec) -> None:
    """Change a specification so that its next worker starts on this machine."""
    spec.ssh = spec.vagrant_ssh = spec.socket = spec.installvia = spec.via = spec.python = spec.chdir = None
    spec.popen = True


def arguments_for(machine: Machine, options: Sequence[str]) -> list[str]:
    """
    Return the arguments of pytest on another machine: those of `conformance run`, with paths of that machine.

    Every path is part of an argument, because xdist would copy an argument that is a file on this machine.
    """
    words = [f"--config-file={machine.package}/run/run.ini", f"--rootdir={machine.package}", "--noconftest"]
    words += ["-pno:cacheprovider", "-pconformance.run.plugin", "--import-mode=importlib", "-Werror", "-q", "--tb=no"]
    return [*words, *options, "--pyargs", "conformance.run.runner::test_dense"]
