"""The process of an implementation while its cells run: one at a time, and what is known of how each starts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from conformance.adapters.registry import Implementation
from conformance.sandbox.sandbox import InProcess, Investigator, Limits, Respondent, Sandbox, StartError
from conformance.sandbox.steps import Hello

#: Where JAX keeps what it compiled; the sandbox keys it by version.
DEFAULT_CACHE: Final = Path("~/.cache/dense-conformance")
#: How often in a row a process may fail to start that started before.
TRIES: Final = 3
#: What one process is for: an implementation's name, and its environment.
ProcessKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessOptions:
    """How the processes of implementations are run."""

    #: Whether adapters are loaded into the suite's own process, for a debugger.
    in_process: bool = False
    #: Threads that a process may use.
    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    #: Where compiled programs are kept from one process to the next, None for nowhere.
    cache: Path | None = None
    #: The instruction set that processes are limited to, None for the processor's own.
    cpu_isa: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StartHistory:
    """
    How the starts of one process went: none yet, up the last time, or failed some times in a row.

    A process that never started fails for good the first time. A process that started once is retried up to `TRIES`
    times in a row.
    """

    was_up: bool = False
    #: Failures since the last time that it was up.
    failures: int = 0
    #: The last failure, None where there is none since then.
    error: StartError | None = None

    def started(self) -> StartHistory:
        """Return the history with another start."""
        return StartHistory(was_up=True)

    def failed(self, error: StartError) -> StartHistory:
        """Return the history with another failure."""
        return replace(self, failures=self.failures + 1, error=error)

    @property
    def final_error(self) -> StartError | None:
        """Why the process is not started any more, None where it may be tried."""
        return self.error if self.failures >= (TRIES if self.was_up else 1) else None


class ProcessHolder:
    """Holds the process of one implementation at a time, and ends it where another is needed."""

    def __init__(self, options: ProcessOptions) -> None:
        self._options = options
        self._held: ProcessKey | None = None
        self._respondent: Respondent | None = None
        self._sandbox: Sandbox | None = None
        self._histories: dict[ProcessKey, StartHistory] = {}
        self._hellos: dict[str, Hello] = {}
        self._waited: float | None = None

    @property
    def sandbox(self) -> Sandbox | None:
        """The sandbox of the process held, None where there is none, or where it is the suite's own."""
        return self._sandbox

    @property
    def hellos(self) -> Mapping[str, Hello]:
        """What the first process of each implementation said of itself, by the implementation's name."""
        return self._hellos

    def take_waited(self) -> float | None:
        """Return how long it took to start a process since this was last called (seconds), None where none was."""
        waited, self._waited = self._waited, None
        return waited

    def hold(self, implementation: Implementation) -> Respondent:
        """
        Return the running process of an implementation, ending that of another first.

        Raises:
            StartError: it did not start, now or so often before that it is not tried any more.
        """
        key = (implementation.name, tuple(sorted(implementation.environment.items())))
        history = self._histories.get(key, StartHistory())
        if history.final_error is not None:
            raise history.final_error
        is_new = self._held != key
        if self._respondent is None or is_new:
            self.close()
            self._respondent = self._made(implementation)
            self._held = key
        started = time.perf_counter()
        try:
            hello = self._respondent.start()
        except StartError as error:
            self._histories[key] = history.failed(error)
            self.close()
            raise
        self._histories[key] = history.started()
        # What a process with a row's own switches says of itself stands for no other.
        self._hellos.setdefault(implementation.name, hello)
        if is_new:
            self._waited = time.perf_counter() - started
        return self._respondent

    def _made(self, implementation: Implementation) -> Respondent:
        """Return what answers for an implementation; nothing is started yet."""
        options = self._options
        if options.in_process:
            return InProcess(implementation, threads=options.threads, cache=options.cache)
        self._sandbox = Sandbox(implementation, limits=options.limits, threads=options.threads, cache=options.cache)
        return Investigator(self._sandbox)

    def close(self) -> None:
        """End the process held, if any."""
        if self._respondent is not None:
            self._respondent.close()
        self._respondent = self._sandbox = self._held = None
