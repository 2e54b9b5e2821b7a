"""
The hooks of pytest-xdist: the data that workers receive, and the loss of workers and machines.

`conformance.run.plugin` registers them if pytest-xdist is loaded. pytest-xdist distributes the tests with its
`WorkStealingScheduling`; docs/machines.md has the cost of that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence

import execnet
import pytest
from xdist.scheduler import WorkStealingScheduling

from conformance.run.distributed import transfer
from conformance.run.distributed.gateway import Gateway, Spec, Worker
from conformance.run.distributed.machines import (
    UNREACHABLE,
    Machines,
    address,
    arguments_for,
    is_elsewhere,
    is_reachable,
    last_line,
    move_here,
)
from conformance.run.errors import print_error


class XdistHooks:
    """
    The hooks of the leading process of one run.

    - `machines`: the machines of the run.
    - `cells`: returns the data for workers.
    - `arguments`: the arguments of pytest on another machine.
    - `expect`: receives the ids of the tests.
    """

    def __init__(
        self,
        config: pytest.Config,
        machines: Machines,
        *,
        cells: Callable[[], bytes],
        arguments: Sequence[str],
        expect: Callable[[Sequence[str]], None],
    ) -> None:
        self._config = config
        self._machines = machines
        self._cells = cells
        self._sent: bytes | None = None
        self._machine_arguments = tuple(arguments)
        self._expect = expect
        self._first: tuple[str, list[str]] | None = None
        self._arguments = config.invocation_params.args
        self._scheduler: WorkStealingScheduling | None = None
        #: The running workers.
        self._running: set[Worker] = set()
        #: Whether a machine was lost.
        self._has_lost_machine = False

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None, object, object]:
        """Print in one line which machine cannot be reached, or why it cannot take part."""
        try:
            return (yield)
        except UNREACHABLE as error:
            if not self._machines.workers:
                raise
            fault = self._machines.unreachable_message(error)
        except pytest.UsageError as error:
            fault = str(error)
        print_error(fault)
        raise pytest.UsageError

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """End the run with one line if the replacement of a worker fails."""
        try:
            return (yield)
        except (EOFError, ConnectionError, execnet.HostNotFound) as error:
            if not self._machines.workers:
                raise
            pytest.exit(f"a worker could not be replaced: {last_line(error)}", returncode=pytest.ExitCode.INTERRUPTED)

    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Spec]) -> None:
        """Record the workers of the run, and copy nothing to other machines."""
        self._machines.expect(specs)
        if self._machines.are_elsewhere:
            # xdist would copy pytest of this machine; the other machine has its own.
            config.pluginmanager.getplugin("dsession").nodemanager.roots = []

    def pytest_xdist_newgateway(self, gateway: Gateway) -> None:
        """Ask another machine what it is, and call pytest there with arguments of its own."""
        machine = self._machines.greet(gateway)
        arguments = self._arguments if machine is None else arguments_for(machine, self._machine_arguments)
        self._config.invocation_params = dataclasses.replace(self._config.invocation_params, args=tuple(arguments))

    def pytest_configure_node(self, node: Worker) -> None:
        """Send a worker its cells, so that it need not look for them."""
        self._running.add(node)
        machine = self._machines.machine_of(node.gateway)
        if self._sent is None:
            self._sent = self._cells()
        node.workerinput["conformance"] = transfer.WorkerInput(
            cells=self._sent,
            host=None if machine is None else machine.name,
            threads=self._machines.threads(node.gateway),
            junit=bool(self._config.getoption("xmlpath", None)),
        )

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> WorkStealingScheduling | None:
        """
        Return a scheduler that gives each worker a contiguous part of the tests, unless `--dist` names another one.

        The cells of a process are neighbours in the list, so that few processes start twice.
        """
        if config.getoption("dist") == "load":
            self._scheduler = WorkStealingScheduling(config, log)
        return self._scheduler

    def pytest_xdist_node_collection_finished(self, node: Worker, ids: Sequence[str]) -> None:
        """Record the tests that a worker collected. End the run if two workers collected different tests."""
        if self._first is None:
            self._first = (self._name_of(node), list(ids))
        elif list(ids) != self._first[1]:
            here = set(ids) ^ set(self._first[1])
            example = f", such as {min(here)}" if here else ", in another order"
            pytest.exit(
                f"{self._name_of(node)} and {self._first[0]} collected different tests{example}",
                returncode=pytest.ExitCode.USAGE_ERROR,
            )
        self._expect(ids)

    def pytest_testnodeready(self, node: Worker) -> None:
        """End a worker on this machine in a run that uses only other machines."""
        if self._machines.are_all_elsewhere and not is_elsewhere(node.gateway.spec):
            node.shutdown()

    def pytest_testnodedown(self, node: Worker, error: object) -> None:
        """
        Continue without a lost machine; end the run if no machine is left.

        xdist replaces each lost worker, and ends the run with a traceback if that fails. The replacement of a worker of
        a lost machine is therefore started on this machine.
        """
        self._running.discard(node)
        spec = node.gateway.spec
        if error and is_elsewhere(spec) and not is_reachable(spec):
            self._print(f"{address(spec)} is lost; the run continues without it")
            self._has_lost_machine = True
            move_here(spec)
        elif (
            self._has_lost_machine and not self._running and self._scheduler is not None and self._scheduler.has_pending
        ):
            pytest.exit("no machine is left to run the rest", returncode=pytest.ExitCode.INTERRUPTED)

    def place(self, report: pytest.TestReport) -> str | None:
        """Return the name of the other machine of a report, None for this one."""
        node = getattr(report, "node", None)
        machine = None if node is None else self._machines.machine_of(node.gateway)
        return None if machine is None else machine.name

    def _name_of(self, node: Worker) -> str:
        machine = self._machines.machine_of(node.gateway)
        return f"worker {node.gateway.id}" if machine is None else f"worker {node.gateway.id} on {machine.name}"

    def _print(self, text: str) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(text)
