"""
The hooks that exist only where pytest-xdist is loaded: what workers are sent, who runs what, and who replaces whom.

Loaded by `conformance.run.plugin`, which knows cells and results. This module knows xdist, and of a cell no more than
the form of its test's id.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import pytest

from conformance.run.distributed.machines import UNREACHABLE, Machines, Replacement, arguments_for, with_arguments
from conformance.run.distributed.scheduler import GroupScheduling
from conformance.run.errors import say_error
from conformance.run.expected_times import Times

_CELL: Final = re.compile(r"test_dense\[[^/\]]+/([^/\]]+)/(.+)\]$")
DEVICES: Final = ("cpu/", "gpu/")
#: How often in a row a worker may be killed before it answers.
STARTS: Final = 3
#: How long a test that is no cell is expected to take (seconds).
ANY_TEST: Final = 0.1


class WithXdist:
    """
    The hooks of one run; on a worker, none of them is called.

    `machines` are those that take part, `cells` what workers are sent, `options` those that matter on other machines,
    `named` the implementations a person named; `times` says how long what takes, `is_apart` which tests have a process
    of their own, `is_unasked` which need none, and `expect` is told of the tests to come.
    """

    def __init__(
        self,
        config: pytest.Config,
        machines: Machines,
        *,
        cells: Callable[[], bytes],
        options: Mapping[str, object],
        named: Sequence[str],
        times: Times,
        is_apart: Callable[[str], bool],
        is_unasked: Callable[[str], bool],
        expect: Callable[[Sequence[str]], None],
    ) -> None:
        self._config = config
        self._machines = machines
        self._cells = cells
        self._sent: bytes | None = None
        self._options = options
        self._named = named
        self._times = times
        self._is_apart = is_apart
        self._is_unasked = is_unasked
        self._expect = expect
        self._first: tuple[str, list[str]] | None = None
        self._arguments = config.invocation_params.args

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Say in a line which machine cannot be reached, or what none of them can do."""
        distributed = self._config.pluginmanager.getplugin("dsession")
        try:
            result = yield
            fault = None
        except UNREACHABLE as error:
            if distributed is None:
                raise
            result, fault = None, self._machines.unreached(error)
        except pytest.UsageError as error:
            result, fault = None, str(error)
        if distributed is not None:
            fault = fault or self._machines.fault(self._named)
            if fault and distributed.nodemanager is not None:
                distributed.nodemanager.teardown_nodes()
            Replacement(distributed, self._machines, self._tell)
        if fault:
            say_error(fault)
            raise pytest.UsageError
        return result

    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        """Take note of the workers to come, and let nothing be copied to other machines."""
        self._machines.expect(specs)
        group = config.pluginmanager.getplugin("dsession").nodemanager.group
        group.makegateway = functools.partial(_made, group.makegateway)
        if self._machines.are_elsewhere:
            # pytest itself, which is installed there: xdist would send this machine's.
            config.pluginmanager.getplugin("dsession").nodemanager.roots = []

    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """Ask another machine what it is, and call pytest there in its own words."""
        machine = self._machines.greet(gateway)
        words = self._arguments if machine is None else arguments_for(machine, self._options)
        with_arguments(self._config, words)

    def pytest_configure_node(self, node: Any) -> None:
        """Send a worker its cells, so that it need not look for them."""
        machine = self._machines.of(node.gateway)
        if self._sent is None:
            self._sent = self._cells()
        node.workerinput["conformance"] = {
            "cells": self._sent,
            "host": None if machine is None else machine.name,
            "threads": self._machines.threads(node.gateway),
            "junit": bool(self._config.getoption("xmlpath", None)),
        }

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> GroupScheduling | None:
        """Group tests by process, unless another distribution was asked for by name."""
        if config.getoption("dist") != "load":
            return None
        times = self._times
        return GroupScheduling(
            self._machines.workers,
            seconds=lambda test_id: 0.0 if self._is_unasked(test_id) else _seconds(times, test_id),
            is_apart=self._is_apart,
            start=lambda group: times.start(group.partition("/")[2]) if group.startswith(DEVICES) else 0.0,
            is_able=self._is_able,
            is_wanted=self.is_wanted,
            # A worker on this machine can be started again whatever happens; one elsewhere perhaps cannot.
            together=self._machines.are_elsewhere,
        )

    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Take note of the tests a worker collected; a worker that collected others is told from the rest in a line."""
        if self._first is None:
            self._first = (self._place(node), list(ids))
        elif list(ids) != self._first[1]:
            here = set(ids) ^ set(self._first[1])
            example = f", such as {min(here)}" if here else ", in another order"
            pytest.exit(
                f"{self._place(node)} and {self._first[0]} collected different tests{example}",
                returncode=pytest.ExitCode.USAGE_ERROR,
            )
        self._expect(ids)

    def is_wanted(self, group: str) -> bool:
        """Return whether a group is to run: not on a GPU that is on no machine, where none was asked for by name."""
        device, _, implementation = group.partition("/")
        if device != "gpu" or self._config.getoption("--device") != "auto" or not self._machines.are_elsewhere:
            return True
        return self._machines.is_possible(device, implementation)

    def _is_able(self, node: Any, group: str) -> bool:
        """Return whether a worker is the right one for a group; for what no machine can do, any is."""
        device, _, implementation = group.partition("/")
        if not self._machines.are_elsewhere or device not in ("cpu", "gpu"):
            return True
        able = self._machines.is_able(node.gateway, device, implementation)
        return able or not self._machines.is_possible(device, implementation)

    def place(self, report: pytest.TestReport) -> str | None:
        """Return the other machine a report comes from, None for this one."""
        node = getattr(report, "node", None)
        machine = None if node is None else self._machines.of(node.gateway)
        return None if machine is None else machine.name

    def _place(self, node: Any) -> str:
        machine = self._machines.of(node.gateway)
        return f"worker {node.gateway.id}" if machine is None else f"worker {node.gateway.id} on {machine.name}"

    def _tell(self, line: str) -> None:
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(line)


def _made(make: Callable[[Any], Any], spec: Any) -> Any:
    """Return the gateway that `make` makes, of a worker that is killed while it starts another one's."""
    for _ in range(STARTS - 1):
        with contextlib.suppress(EOFError):
            return make(spec)
    return make(spec)


def _seconds(times: Times, test_id: str) -> float:
    """Return how long a test is expected to take, the process of its group being up."""
    cell = _CELL.search(test_id)
    return ANY_TEST if cell is None else times.cell(cell.group(1), cell.group(2))
