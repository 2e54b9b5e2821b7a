"""
Runs an adapter in a process of its own, so that an abort, a hang or a runaway allocation is one question's outcome.

A sandbox asks one question at a time and always returns a transcript. A process that ended is replaced when the next
question comes. `Investigator`, which asks through a sandbox, finds the question that causes a crash in a later one.
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
from conformance.sandbox.crash_bisection import Culprit, Investigated, Investigator
from conformance.sandbox.deadline import TimeLimit
from conformance.sandbox.execution import room
from conformance.sandbox.in_process import InProcess
from conformance.sandbox.process import GIB, ChildProcess, Ended, StartError
from conformance.sandbox.steps import GREETING, Crash, Hello, Raised, Reply, Step, Transcript

__all__ = [
    "GIB",
    "Culprit",
    "InProcess",
    "Investigated",
    "Investigator",
    "Limits",
    "Respondent",
    "Sandbox",
    "StartError",
]

#: How long a process may take to end when it is asked to, before it is killed (seconds).
FAREWELL: Final = 2.0
#: How often the memory of a process is looked at between questions (seconds).
INVENTORY: Final = 0.5


class Respondent(Protocol):
    """What answers questions: `Sandbox`, `Investigator`, `InProcess`."""

    def start(self) -> Hello:
        """Return what the process says of itself, starting it if it is not running; raises `StartError`."""
        ...

    def ask(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """Return what came of `steps`, whose labels differ; `name` is the question's in notes; raises `StartError`."""
        ...

    def close(self) -> None:
        """End the process, if any; it may be started again."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a process may take; its descendants count with it."""

    #: CPU time until it is up (seconds).
    start: float = 120.0
    #: CPU time of each thread for one question (seconds).
    question: float = 300.0
    #: Wall time after which it hangs if it gains next to no CPU time (seconds), see `conformance.sandbox.deadline`.
    hang: float = 60.0
    #: Resident set of the process itself, at any time (bytes).
    memory: int = 8 * GIB

    def of_start(self) -> TimeLimit:
        """Return what the start of a process may take."""
        return TimeLimit(cpu=self.start, hang=self.hang, missing="not up", option="--start-deadline")

    def of_question(self, threads: int) -> TimeLimit:
        """Return what a question may take of a process with so many threads."""
        return TimeLimit(cpu=self.question, threads=threads, hang=self.hang, missing="no answer", option="--deadline")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    """A process that is up."""

    process: ChildProcess
    hello: Hello
    #: Resident set of the process when it was up (bytes).
    resident_at_start: int


class Sandbox:
    """
    The process of one implementation, for use by one thread; a context manager.

    `threads` is how many threads the framework's CPU kernels may use. Compiled programs are kept under `cache` from one
    process to the next, if it is given. `search_path` names folders to find the adapter in, beside this process's own.
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
        self._next_inventory = 0.0
        self._generation = 0
        self._hung = 0.0

    @property
    def generation(self) -> int:
        """How many processes there have been: two questions with the same number were answered by the same one."""
        return self._generation

    @property
    def cost(self) -> float:
        """
        What its processes have cost until now, in seconds: CPU time, and wall time of those that hung.

        Two readings are compared: the CPU time of processes that ended is that of all children of this process.
        """
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = 0.0 if self._running is None else self._running.process.cpu_seconds
        return ended.ru_utime + ended.ru_stime + running + self._hung

    def start(self) -> Hello:
        """
        Return what the process says of itself, starting it if there is none.

        Raises:
            StartError: it did not come up.
        """
        if self._running is None:
            self._running = self._started()
            self._next_inventory = time.monotonic() + INVENTORY
        return self._running.hello

    def _started(self) -> _Running:
        """Return a new process that has said hello; raises `StartError`."""
        self._generation += 1
        try:
            process = ChildProcess(
                self._implementation,
                memory=self._limits.memory,
                threads=self._threads,
                cache=self._cache,
                search_path=self._search_path,
            )
        except OSError as error:  # no room for its files, no process to be had
            raise StartError(f"no process could be started: {error}") from None
        try:
            return _Running(process=process, hello=self._greeted(process), resident_at_start=process.resident)
        except BaseException:
            process.end()
            raise

    def ask(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """
        Return what came of `steps`, each under its label.

        A process that ends, hangs, takes too much CPU time or grows too large is in the transcript's `crash`, and is
        replaced at the next question. One that ended after it had answered the question before counts as crashed in
        the first step of this one. `name` is not used here.

        Raises:
            StartError: there was no process, and none came up.
        """
        if not steps:
            return Transcript(replies={})
        frame, largest = encode_question(steps), room(steps)
        notes = self._make_room()
        self.start()
        assert self._running is not None, "start has set it"
        process = self._running.process
        replies: dict[str, Reply] = {}
        at = 0
        try:
            process.expect_silence()
            process.allow(self._limits.of_question(self._threads))
            process.send(frame)
            for at, step in enumerate(steps):  # noqa: B007 - where it got to
                reply = process.receive(largest)
                if (reply.label, reply.stage) != (step.label, step.stage):
                    raise Ended("spoke out of turn: an answer to something else")
                replies[reply.label] = reply
        except Ended as ended:
            self._hung += self._limits.hang if ended.hung else 0.0
            crash = Crash(label=steps[at].label, reason=ended.reason, stderr=process.last_words())
            self._discard()
            return Transcript(replies=replies, crash=crash, timed_out=ended.timed_out, notes=notes)
        except BaseException:  # Ctrl-C: what the process would still say belongs to no question
            self._discard()
            raise
        return Transcript(replies=replies, notes=notes)

    def close(self) -> None:
        """End the process and whatever it started; it may be called again, and the process started again."""
        self._discard(patience=FAREWELL)

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

    def _greeted(self, process: ChildProcess) -> Hello:
        """Return what a process that is coming up says of itself; raises `StartError`."""
        try:
            process.allow(self._limits.of_start(), starting=True)
            reply = process.receive()
        except Ended as ended:
            self._hung += self._limits.hang if ended.hung else 0.0
            raise StartError(ended.reason, stderr=process.last_words()) from None
        greeting = reply.answer
        if isinstance(greeting, Raised):
            raise StartError(greeting.in_a_line, stderr=process.stderr(), raised=greeting)
        if reply.label != GREETING or not isinstance(greeting, Hello):
            raise StartError("spoke out of turn: something other than a greeting", stderr=process.stderr())
        return greeting

    def _make_room(self) -> tuple[str, ...]:
        """End a process that grew from question to question before it takes a question down that did nothing wrong."""
        if self._running is None or time.monotonic() < self._next_inventory:
            return ()
        self._next_inventory = time.monotonic() + INVENTORY
        resident = self._running.process.resident
        if resident <= (self._limits.memory + self._running.resident_at_start) / 2:
            return ()
        self.close()
        return (f"the process had grown to {resident / GIB:.3g} GiB before this question and was replaced",)
