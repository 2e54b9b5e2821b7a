"""The processes of implementations while cells run: one at a time, with the history of their starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from conformance.adapters.registry import Implementation
from conformance.sandbox.sandbox import InProcessSandbox, Investigator, Limits, Respondent, Sandbox, StartError
from conformance.sandbox.steps import Hello

#: The folder for programs that JAX compiled; the sandbox has a subfolder for each version.
DEFAULT_CACHE: Final = Path("~/.cache/dense-conformance")
#: How often in a row a process that started before may fail to start.
TRIES: Final = 3
#: The name of an implementation and the environment variables of its process.
ProcessKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessOptions:
    """How the processes of implementations are run."""

    #: Whether adapters are loaded into the suite's own process, for a debugger.
    in_process: bool = False
    #: Threads that a process may use.
    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    #: Folder for compiled programs, shared by processes; None for none.
    cache: Path | None = None
    #: The instruction set of `--cpu-isa`, None without a limit.
    cpu_isa: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StartHistory:
    """
    The starts of one process: none yet, the last one successful, or failures in a row.

    A process that never started fails for good the first time. A process that started once is retried up to `TRIES`
    times in a row.
    """

    was_up: bool = False
    #: Failures since the last successful start.
    failures: int = 0
    #: The last failure since then, if any.
    error: StartError | None = None

    def started(self) -> StartHistory:
        """Return the history with another start."""
        return StartHistory(was_up=True)

    def failed(self, error: StartError) -> StartHistory:
        """Return the history with another failure."""
        return replace(self, failures=self.failures + 1, error=error)

    @property
    def final_error(self) -> StartError | None:
        """The reason not to start the process again, None if it may be tried."""
        return self.error if self.failures >= (TRIES if self.was_up else 1) else None


class ImplementationProcess:
    """The running process: of one implementation at a time, ended when another is needed."""

    def __init__(self, options: ProcessOptions) -> None:
        self._options = options
        self._key: ProcessKey | None = None
        self._respondent: Respondent | None = None
        self._sandbox: Sandbox | None = None
        self._histories: dict[ProcessKey, StartHistory] = {}
        self._hellos: dict[str, Hello] = {}
        self._waited: float | None = None

    @property
    def sandbox(self) -> Sandbox | None:
        """The sandbox of the running process, None without one or with the adapter in the suite's own process."""
        return self._sandbox

    @property
    def hellos(self) -> Mapping[str, Hello]:
        """The greeting of the first process of each implementation, by the implementation's name."""
        return self._hellos

    def take_start_seconds(self) -> float | None:
        """Return the time of the last start (seconds), None if no process started since the last call."""
        waited, self._waited = self._waited, None
        return waited

    def process_of(self, implementation: Implementation) -> Respondent:
        """
        Return the running process of an implementation, ending that of another first.

        Raises:
            StartError: it did not start, or failed so often before that it is not tried again.
        """
        key = (implementation.name, tuple(sorted(implementation.environment.items())))
        history = self._histories.get(key, StartHistory())
        if history.final_error is not None:
            raise history.final_error
        is_new = self._key != key
        if self._respondent is None or is_new:
            self.close()
            self._respondent = self._new_respondent(implementation)
            self._key = key
        started = time.perf_counter()
        try:
            hello = self._respondent.start()
        except StartError as error:
            self._histories[key] = history.failed(error)
            self.close()
            raise
        self._histories[key] = history.started()
        # The greeting of a process with a row's own environment does not replace the first one.
        self._hellos.setdefault(implementation.name, hello)
        if is_new:
            self._waited = time.perf_counter() - started
        return self._respondent

    def _new_respondent(self, implementation: Implementation) -> Respondent:
        """Return the respondent of an implementation, not started yet."""
        options = self._options
        if options.in_process:
            return InProcessSandbox(implementation, threads=options.threads, cache=options.cache)
        self._sandbox = Sandbox(implementation, limits=options.limits, threads=options.threads, cache=options.cache)
        return Investigator(self._sandbox)

    def close(self) -> None:
        """End the running process, if any."""
        if self._respondent is not None:
            self._respondent.close()
        self._respondent = self._sandbox = self._key = None
