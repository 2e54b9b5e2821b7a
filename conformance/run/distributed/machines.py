"""
The workers of a run on other machines, which pytest-xdist reaches through gateways of execnet.

A machine is asked what it is before a worker is started there, and a worker is started from what is installed there:
nothing is copied to it, and no path of this machine means anything on it. A machine that is lost costs the cell it was
at; the others go on. This module knows gateways and nothing of how cells are run or judged.
"""

from __future__ import annotations

import dataclasses
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import execnet
import pytest
from xdist.workermanage import parse_tx_spec_config

from conformance.adapters.installation import told_missing
from conformance.adapters.registry import Implementation
from conformance.run import resources
from conformance.run.distributed import transfer
from conformance.run.selection import visible

#: How long a machine may take to say what it is, and for each implementation whose devices it looks for (seconds).
PATIENCE: Final = 60.0
PATIENCE_FOR_DEVICES: Final = 130.0
#: What becomes of a gateway to a machine that is not there, or that ends in the middle of a sentence.
UNREACHABLE: Final = (OSError, EOFError, execnet.HostNotFound, execnet.RemoteError, execnet.TimeoutError)
#: After how many seconds of silence a connection is asked whether it is still there, how often, and how many times.
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


@dataclass(frozen=True, kw_only=True)
class Machine:
    """
    Another machine: its `name` in results, the `address` it is reached by, and what it said of itself.

    `missing` are the packages each implementation lacks there, `devices` those its framework sees.
    """

    name: str
    address: str
    cpus: int
    package: str
    facts: Mapping[str, Any]
    missing: Mapping[str, Sequence[str]]
    devices: Mapping[str, Sequence[str]]

    def carries(self, implementation: str, device: str) -> bool:
        """Return whether cells of an implementation on a device can run there."""
        return not self.missing.get(implementation) and device in self.devices.get(implementation, (device,))


def is_elsewhere(spec: Any) -> bool:
    """Return whether a gateway leads to another machine."""
    return not spec.popen


def address(spec: Any) -> str:
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


def _spec(text: str) -> Any:
    """Return a gateway as xdist understands it; it would find out with a traceback that there is no such."""
    try:
        found = execnet.XSpec(text)
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

    `chosen` are its implementations, `device` and `threads` what was asked for; `elsewhere` says whether some workers
    run on other machines, `only` whether all do.
    """

    def __init__(
        self, chosen: Sequence[Implementation], *, device: str, threads: int | None, elsewhere: bool, only: bool
    ) -> None:
        self._chosen = {each.name: each for each in chosen}
        self._device = device
        self._threads = threads
        self.are_elsewhere = elsewhere
        self._only = only
        self._of: dict[str, Machine] = {}
        self._here: dict[str, bool] = {}
        self._specs: tuple[Any, ...] = ()
        self._made = 0

    def expect(self, specs: Sequence[Any]) -> None:
        """Take note of the gateways to come."""
        self._specs = tuple(specs)

    @property
    def workers(self) -> int:
        """How many workers take part from the start."""
        return len(self._specs)

    @property
    def elsewhere(self) -> tuple[Machine, ...]:
        """The other machines, each once."""
        return tuple({each.address: each for each in self._of.values()}.values())

    def of(self, gateway: Any) -> Machine | None:
        """Return the machine a gateway leads to, None for this one."""
        return self._of.get(gateway.id)

    def lose(self, gateway: Any) -> None:
        """Forget a gateway that is no more; a machine that none leads to carries nothing."""
        self._of.pop(gateway.id, None)

    def threads(self, gateway: Any) -> int:
        """Return how many threads a process started by a worker is to have: as asked for, or its share there."""
        return self._threads_at(gateway.spec, self.of(gateway))

    def _threads_at(self, spec: Any, machine: Machine | None) -> int:
        sharing = Counter(map(_host, self._specs))[_host(spec)]
        return self._threads or resources.share(resources.cpus() if machine is None else machine.cpus, sharing)

    def greet(self, gateway: Any) -> Machine | None:
        """
        Ask a machine what it is; None where the gateway leads nowhere else.

        Raises:
            pytest.UsageError: it cannot take part: no package, another one, no answer.
        """
        self._made += 1
        if not is_elsewhere(gateway.spec):
            return None
        where = address(gateway.spec)
        known = next((each for each in self.elsewhere if each.address == where), None)
        if known is None:
            _keep_alive(gateway)
            devices = self._device != "cpu"
            patience = PATIENCE + (PATIENCE_FOR_DEVICES * len(self._chosen) if devices else 0)
            try:
                channel = gateway.remote_exec(transfer.GREETING)
                channel.send(transfer.greeting(tuple(self._chosen.values()), devices=devices))
                said = channel.receive(patience)
                channel.waitclose(PATIENCE)
            except UNREACHABLE as error:
                raise pytest.UsageError(f"{where} does not answer as a machine of this run: {_line(error)}") from None
            if "fault" in said:
                raise pytest.UsageError(f"{where}: {said['fault']}")
            known = self._met(where, said)
        self._of[gateway.id] = known
        return known

    def _met(self, where: str, said: Mapping[str, Any]) -> Machine:
        taken = {each.name for each in self.elsewhere} | {socket.gethostname()}
        name = str(said["host"])
        return Machine(
            name=name if name not in taken else f"{name} ({where})",
            address=where,
            cpus=int(said["cpus"]),
            package=str(said["package"]),
            facts=said["machine"],
            missing=said["missing"],
            devices=said["devices"],
        )

    def unreached(self, error: BaseException) -> str:
        """Return in a line that the next gateway could not be made."""
        where = address(self._specs[self._made]) if self._made < len(self._specs) else "a machine"
        return f"{where} cannot be reached: {_line(error)}"

    def fault(self, named: Sequence[str]) -> str | None:
        """Return why the machines together cannot do what was asked, None where they can; `named` as by a person."""
        if not self._only:
            return None
        machines = ", ".join(each.name for each in self.elsewhere)
        for name in filter(self._chosen.__contains__, named):
            if all(each.missing.get(name) for each in self.elsewhere):
                missing = dict.fromkeys(p for each in self.elsewhere for p in each.missing[name])
                return (
                    f"{name} was asked for, but is not installed on any machine ({machines}): {told_missing(missing)}"
                )
        without = sorted(name for name in self._chosen if self._device == "gpu" and not self.is_possible("gpu", name))
        return (
            f"--device gpu: no GPU is visible to {', '.join(without)} on any machine: {machines}" if without else None
        )

    def is_possible(self, device: str, implementation: str) -> bool:
        """Return whether any machine carries the cells of an implementation on a device."""
        here = not self._only and self._is_possible_here(device, implementation)
        return here or any(each.carries(implementation, device) for each in self.elsewhere)

    def is_able(self, gateway: Any, device: str, implementation: str) -> bool:
        """Return whether the machine a gateway leads to does."""
        machine = self.of(gateway)
        if machine is None:
            return self._is_possible_here(device, implementation)
        return machine.carries(implementation, device)

    def _is_possible_here(self, device: str, implementation: str) -> bool:
        """Return whether this machine does; a GPU is looked for once, by a process of the framework."""
        asked = self._chosen[implementation]
        if device == "cpu" or not self.are_elsewhere:
            return not asked.missing_packages()
        if implementation not in self._here:
            self._here[implementation] = device in visible(asked)
        return self._here[implementation]

    def facts(self) -> list[dict[str, Any]]:
        """Return what a results file says of the other machines."""
        found = []
        for each in self.elsewhere:
            its = [spec for spec in self._specs if address(spec) == each.address]
            threads = self._threads_at(its[0], each)
            told = {"host": each.name, "address": each.address, "workers": len(its), "threads": threads}
            found.append({**told, "cpus_usable": each.cpus, **each.facts})
        return found


def _host(spec: Any) -> str:
    where = address(spec)
    return where.rpartition(":")[0] if spec.socket else where


def _line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _keep_alive(gateway: Any) -> None:
    """Let the system notice that the other end of a socket vanished without a word, as when a machine loses power."""
    connection = getattr(getattr(gateway, "_io", None), "sock", None)
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def arguments_for(machine: Machine, options: Mapping[str, object]) -> list[str]:
    """
    Return the words pytest is called with on another machine: what `conformance run` says, in paths of that machine.

    Nothing in them may be a file here, which xdist would take for one to send: so every path is part of a word.
    """
    words = [f"--config-file={machine.package}/run/run.ini", f"--rootdir={machine.package}", "--noconftest"]
    words += ["-pno:cacheprovider", "-pconformance.run.plugin", "--import-mode=importlib", "-Werror", "-q", "--tb=no"]
    words += [f"--{name}={value}" for name, value in options.items()]
    return [*words, "--pyargs", "conformance.run.runner::test_dense"]


class Replacement:
    """
    Replaces workers that were lost, where that is possible.

    xdist starts a worker anew wherever the lost one was, and ends the whole run with a traceback where that machine is
    gone. Here the others go on without it; when nobody is left the run ends in a line, saying which cells did not run.
    """

    def __init__(self, session: Any, machines: Machines, tell: Callable[[str], None]) -> None:
        self._session = session
        self._machines = machines
        self._tell = tell
        self._clone = session._clone_node
        session._clone_node = self.replace

    def replace(self, node: Any) -> None:
        """Start a worker in place of one that was lost, or see that the run goes on without."""
        session, scheduler = self._session, self._session.sched
        self._machines.lose(node.gateway)
        if scheduler.has_pending or not scheduler.collection_is_completed:
            try:
                self._clone(node)
                return
            except (*UNREACHABLE, pytest.UsageError) as error:
                self._tell(f"{address(node.gateway.spec)} is lost, the run goes on without it: {_line(error)}")
        scheduler.expect_one_less(node)
        if session._active_nodes - {node}:
            return
        session.shuttingdown = True
        if scheduler.has_pending or not scheduler.collection_is_completed:
            session.shouldstop = "no machine is left to run the rest"


def with_arguments(config: pytest.Config, words: Sequence[str]) -> None:
    """Let the next worker be started with these words."""
    config.invocation_params = dataclasses.replace(config.invocation_params, args=tuple(words))
