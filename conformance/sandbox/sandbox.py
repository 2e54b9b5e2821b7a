"""
An adapter in its own process, so that an abort, a hang or too much memory is the outcome of one question.

A sandbox runs one question at a time and always returns a transcript. A process that ended is replaced at the next
question. `Investigator` runs questions in a sandbox and finds the question that causes a crash in a later one.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from conformance.adapters.registry import Implementation
from conformance.sandbox.codec import encode_question
from conformance.sandbox.crash_bisection import Culprit, InvestigatedTranscript, Investigator
from conformance.sandbox.deadline import TimeLimit
from conformance.sandbox.execution import room
from conformance.sandbox.in_process_sandbox import InProcessSandbox
from conformance.sandbox.process import GIB, ChildProcess, Ended, StartError
from conformance.sandbox.steps import GREETING, Crash, Hello, Raised, Reply, Step, Transcript

__all__ = [
    "GIB",
    "Culprit",
    "InProcessSandbox",
    "InvestigatedTranscript",
    "Investigator",
    "Limits",
    "Respondent",
    "Sandbox",
    "StartError",
]

#: The time for a process to end after its pipe is closed, before it is killed (seconds).
EXIT_TIME: Final = 2.0
#: The interval between readings of memory between questions (seconds).
MEMORY_INTERVAL: Final = 0.5


class Respondent(Protocol):
    """An object that answers questions: `Sandbox`, `Investigator` or `InProcessSandbox`."""

    def start(self) -> Hello:
        """Return the greeting of the process, started if necessary; raises `StartError`."""
        ...

    def run_steps(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """Return the transcript of `steps`, whose labels differ; `name` is for notes; raises `StartError`."""
        ...

    def close(self) -> None:
        """End the process, if any; it may be started again."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The limits of a process and its descendants."""

    #: CPU time of the start (seconds).
    start: float = 120.0
    #: CPU time of each thread for one question (seconds).
    question: float = 300.0
    #: Wall time almost without CPU time after which it hangs (seconds), see `conformance.sandbox.deadline`.
    hang: float = 60.0
    #: Resident set of the process itself (bytes).
    memory: int = 8 * GIB

    def of_start(self) -> TimeLimit:
        """Return the time limit of a start."""
        return TimeLimit(cpu=self.start, hang=self.hang, missing="no start", option="--start-deadline")

    def of_question(self, threads: int) -> TimeLimit:
        """Return the time limit of a question for a process with this number of threads."""
        return TimeLimit(cpu=self.question, threads=threads, hang=self.hang, missing="no answer", option="--deadline")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    """A running process."""

    process: ChildProcess
    hello: Hello
    #: Resident set of the process after its start (bytes).
    resident_at_start: int


class Sandbox:
    """
    The process of one implementation, for use by one thread; a context manager.

    - `threads`: the threads of the framework's CPU kernels.
    - `cache`: a folder for compiled programs, shared by processes.
    - `search_path`: folders in which the adapter is searched, after those of this process.
    """

    def __init__(
        self,
        implementation: Implementation,
        *,
        limits: Limits | None = None,
        threads: int = 1,
        cache: Path | None = None,
        search_path: Sequence[str] = (),
    ) -> None:
        self._implementation = implementation
        self._limits = limits or Limits()
        self._threads = threads
        self._cache = cache
        self._search_path = tuple(search_path)
        self._running: _Running | None = None
        self._next_memory_reading = 0.0
        self._generation = 0
        self._hang_seconds = 0.0

    @property
    def generation(self) -> int:
        """The number of the current process. Two questions with the same number ran in the same process."""
        return self._generation

    @property
    def cost(self) -> float:
        """
        The cost of its processes in seconds: CPU time, and wall time of those that hung.

        Only differences of two readings are meaningful, because the CPU time of all ended children of this process is
        included.
        """
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = 0.0 if self._running is None else self._running.process.cpu_seconds
        return ended.ru_utime + ended.ru_stime + running + self._hang_seconds

    def start(self) -> Hello:
        """
        Return the greeting of the process, started if necessary.

        Raises:
            StartError: it did not start.
        """
        if self._running is None:
            self._running = self._new_process()
            self._next_memory_reading = time.monotonic() + MEMORY_INTERVAL
        return self._running.hello

    def _new_process(self) -> _Running:
        """Return a new process after its greeting; raises `StartError`."""
        self._generation += 1
        try:
            process = ChildProcess(
                self._implementation,
                memory=self._limits.memory,
                threads=self._threads,
                cache=self._cache,
                search_path=self._search_path,
            )
        except OSError as error:  # its files or its process cannot be created
            raise StartError(f"no process could be started: {error}") from None
        try:
            return _Running(process=process, hello=self._hello_of(process), resident_at_start=process.resident)
        except BaseException:
            process.end()
            raise

    def run_steps(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """
        Return the transcript of `steps`: the replies by label.

        If the process ends, hangs, or uses too much CPU time or memory, the transcript has a `crash`, and the next
        question starts a new process. A process that ended after the question before crashes in the first step of this
        one. `name` is not used here.

        Raises:
            StartError: the process did not start.
        """
        if not steps:
            return Transcript(replies={})
        frame, largest = encode_question(steps), room(steps)
        notes = self._end_if_grown()
        self.start()
        assert self._running is not None, "start has set it"
        process = self._running.process
        replies: dict[str, Reply] = {}
        at = 0
        try:
            process.check_silent()
            process.allow(self._limits.of_question(self._threads))
            process.send(frame)
            for at, step in enumerate(steps):  # noqa: B007 - the last step is read after the loop
                reply = process.receive(largest)
                if (reply.label, reply.stage) != (step.label, step.stage):
                    raise Ended("unexpected message: a reply to another step")
                replies[reply.label] = reply
        except Ended as ended:
            self._hang_seconds += self._limits.hang if ended.hung else 0.0
            crash = Crash(label=steps[at].label, reason=ended.reason, stderr=process.final_output())
            self._discard()
            return Transcript(replies=replies, crash=crash, timed_out=ended.timed_out, notes=notes)
        except BaseException:  # Ctrl-C: later replies of the process belong to no question
            self._discard()
            raise
        return Transcript(replies=replies, notes=notes)

    def close(self) -> None:
        """End the process and its descendants. It may be called again, and the process started again."""
        self._discard(patience=EXIT_TIME)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _discard(self, patience: float = 0.0) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.process.end(patience=patience)

    def _hello_of(self, process: ChildProcess) -> Hello:
        """Return the greeting of a starting process; raises `StartError`."""
        try:
            process.allow(self._limits.of_start(), starting=True)
            reply = process.receive()
        except Ended as ended:
            self._hang_seconds += self._limits.hang if ended.hung else 0.0
            raise StartError(ended.reason, stderr=process.final_output()) from None
        greeting = reply.answer
        if isinstance(greeting, Raised):
            raise StartError(greeting.in_a_line, stderr=process.stderr(), raised=greeting)
        if reply.label != GREETING or not isinstance(greeting, Hello):
            raise StartError("unexpected message: no greeting", stderr=process.stderr())
        return greeting

    def _end_if_grown(self) -> tuple[str, ...]:
        """End a process that grew over many questions, before it passes the limit in an innocent one."""
        if self._running is None or time.monotonic() < self._next_memory_reading:
            return ()
        self._next_memory_reading = time.monotonic() + MEMORY_INTERVAL
        resident = self._running.process.resident
        if resident <= (self._limits.memory + self._running.resident_at_start) / 2:
            return ()
        self.close()
        return (f"the process had grown to {resident / GIB:.3g} GiB before this question and was replaced",)
