"""
The hooks that exist only where pytest-xdist is loaded: what workers are sent, and what happens when one is lost.

`conformance.run.plugin` registers them. pytest-xdist itself hands out the tests, by its `WorkStealingScheduling`;
docs/machines.md says what that costs.
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


class WithXdist:
    """
    The hooks of one run; on a worker, none of them is called.

    `machines` are those that take part, `cells` returns what workers are sent, `words` give pytest on another machine
    the options that concern its workers, and `expect` takes the ids of the tests to come.
    """

    def __init__(
        self,
        config: pytest.Config,
        machines: Machines,
        *,
        cells: Callable[[], bytes],
        words: Sequence[str],
        expect: Callable[[Sequence[str]], None],
    ) -> None:
        self._config = config
        self._machines = machines
        self._cells = cells
        self._sent: bytes | None = None
        self._words = tuple(words)
        self._expect = expect
        self._first: tuple[str, list[str]] | None = None
        self._arguments = config.invocation_params.args
        self._scheduler: WorkStealingScheduling | None = None
        #: Workers that were started and have not ended.
        self._running: set[Worker] = set()
        #: Whether some machine was lost.
        self._is_short = False

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None, object, object]:
        """Say in a line which machine cannot be reached, or why it takes no part."""
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
        """End the run in a line where a worker ends while it is started in place of another one."""
        try:
            return (yield)
        except (EOFError, ConnectionError, execnet.HostNotFound) as error:
            if not self._machines.workers:
                raise
            pytest.exit(f"a worker could not be replaced: {last_line(error)}", returncode=pytest.ExitCode.INTERRUPTED)

    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Spec]) -> None:
        """Take note of the workers to come, and let nothing be copied to other machines."""
        self._machines.expect(specs)
        if self._machines.are_elsewhere:
            # pytest itself, which is installed there: xdist would send this machine's.
            config.pluginmanager.getplugin("dsession").nodemanager.roots = []

    def pytest_xdist_newgateway(self, gateway: Gateway) -> None:
        """Ask another machine what it is, and call pytest there with words of its own."""
        machine = self._machines.greet(gateway)
        words = self._arguments if machine is None else arguments_for(machine, self._words)
        self._config.invocation_params = dataclasses.replace(self._config.invocation_params, args=tuple(words))

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
        Let each worker begin with a part of the list that is in one piece, unless another distribution was named.

        The cells of a process lie side by side in the list, so that few processes are started twice.
        """
        if config.getoption("dist") == "load":
            self._scheduler = WorkStealingScheduling(config, log)
        return self._scheduler

    def pytest_xdist_node_collection_finished(self, node: Worker, ids: Sequence[str]) -> None:
        """Take note of the tests a worker collected; end the run where two workers collected different tests."""
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
        """Give no tests to a worker on this machine in a run that is to use other machines alone."""
        if self._machines.are_all_elsewhere and not is_elsewhere(node.gateway.spec):
            node.shutdown()

    def pytest_testnodedown(self, node: Worker, error: object) -> None:
        """
        Go on without a machine that is lost; end the run where none is left.

        xdist replaces each worker that is lost, and ends the run with a traceback where that fails. What replaces a
        worker of a lost machine is therefore started on this machine.
        """
        self._running.discard(node)
        spec = node.gateway.spec
        if error and is_elsewhere(spec) and not is_reachable(spec):
            self._print(f"{address(spec)} is lost, the run goes on without it")
            self._is_short = True
            move_here(spec)
        elif self._is_short and not self._running and self._scheduler is not None and self._scheduler.has_pending:
            pytest.exit("no machine is left to run the rest", returncode=pytest.ExitCode.INTERRUPTED)

    def place(self, report: pytest.TestReport) -> str | None:
        """Return the other machine a report comes from, None for this one."""
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
