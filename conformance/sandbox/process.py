"""
A child process as the suite sees it: frames go out, replies come in within limits of CPU time and memory, or it ended.

`conformance.sandbox.launch` starts it, `conformance.sandbox.sandbox` knows what it is asked and what its end means,
`conformance.sandbox.child` is the other side, `conformance.sandbox.deadline` says how long it may take.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from conformance.adapters.registry import Implementation
from conformance.sandbox.codec import LARGEST_BODY, decode_reply
from conformance.sandbox.deadline import Allowance, TimeLimit, cpu_seconds
from conformance.sandbox.frame import Garbage, Inbox
from conformance.sandbox.launch import launch
from conformance.sandbox.steps import Raised, Reply

GIB: Final = 2**30
#: How often a process that takes its time is looked at (seconds).
GLANCE: Final = 0.05
#: How long a process whose pipe is closed may take to be gone (seconds).
DEATH_PATIENCE: Final = 1.5
#: How long a process may take to say where it is (seconds).
STACK_PATIENCE: Final = 1.0


class Ended(Exception):
    """
    The process ended or must be ended: `reason` says how or why.

    `timed_out` says that it passed a limit of time, `hung` that this was the limit for a hang.
    """

    def __init__(self, reason: str, *, timed_out: bool = False, hung: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out
        self.hung = hung


class StartError(Exception):
    """
    A process did not come up.

    `reason` says why in one line, `stderr` is the end of what was printed; `raised` is set where the adapter's import
    or constructor raised, with its traceback.
    """

    def __init__(self, reason: str, *, stderr: str = "", raised: Raised | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stderr = stderr
        self.raised = raised


class ChildProcess:
    """
    One running child, to be talked to by one thread at a time.

    After `Ended`, and whenever it is no longer wanted, call `end`; at the interpreter's exit that happens by itself.
    """

    def __init__(
        self,
        implementation: Implementation,
        *,
        memory: int,
        threads: int,
        cache: Path | None,
        search_path: Sequence[str],
    ) -> None:
        self._memory = memory
        self._allowance: Allowance | None = None
        self._next_glance = 0.0
        self._child = launch(implementation, threads=threads, cache=cache, search_path=search_path)
        self._finalizer = weakref.finalize(self, _release, self._child.resources, os.getpid())
        #: The place in the log where what was printed in this exchange begins.
        self._since = 0
        self._inbox = Inbox(self._child.replies.fileno())
        self._poll = select.poll()
        self._poll.register(self._child.replies, select.POLLIN)
        if self._child.end is not None:
            self._poll.register(self._child.end, select.POLLIN)
        self._watched = psutil.Process(self._child.popen.pid)

    @property
    def resident(self) -> int:
        """The size of the resident set of the process itself, without its children, in bytes."""
        try:
            return int(self._watched.memory_info().rss)
        except psutil.Error:
            return 0

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that the process and its descendants have taken, in seconds."""
        return cpu_seconds(self._watched)

    def stderr(self) -> str:
        """Return the end of what was printed in this exchange, or since the process was started."""
        return self._child.log.tail(self._since)

    def last_words(self) -> str:
        """
        Return the end of what was printed, and, if the process still runs, where in its code it is.

        Python's fault handler prints the stack of every thread when it is told to abort, whatever holds its lock.
        """
        if self._child.popen.poll() is None:
            self._child.popen.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.popen.wait(STACK_PATIENCE)
        return self.stderr()

    def expect_silence(self) -> None:
        """Raise `Ended` if the process has ended, or spoken, since it last answered."""
        try:
            if self._inbox.pending or self._has_come():
                raise Ended("spoke out of turn")
            if self._is_gone(self._poll.poll(0)):
                raise Ended(self._how_it_ended())
        except Ended as ended:
            raise Ended(f"{ended.reason}, before the question was asked") from None

    def allow(self, limit: TimeLimit, *, starting: bool = False) -> None:
        """Begin an exchange that must be over within a limit; the first one is `starting`."""
        self._child.log.trim()
        if not starting:  # what is printed while it starts may come before anybody waits for it
            self._since = self._child.log.position()
        self._allowance = Allowance(self._watched, limit, fresh=starting)
        self._next_glance = time.monotonic() + GLANCE

    def send(self, frame: bytes) -> None:
        """Send a frame, or raise `Ended`."""
        rest = memoryview(frame)
        while rest:
            try:
                rest = rest[os.write(self._child.requests.fileno(), rest) :]
            except BlockingIOError:
                self._poll.register(self._child.requests, select.POLLOUT)
                self._wait()
                self._poll.unregister(self._child.requests)
            except BrokenPipeError:
                raise Ended(self._how_it_ended()) from None

    def receive(self, room: int = 0) -> Reply:
        """Return the next reply, whose arrays take at most `room` bytes, or raise `Ended`."""
        try:
            while (frame := self._inbox.take(longest=room + LARGEST_BODY)) is None:
                self._wait()
            return decode_reply(frame, room=room)
        except Garbage as garbage:
            raise Ended(f"spoke out of turn: {garbage}") from None

    def end(self, *, patience: float = 0.0) -> None:
        """End the process and all it started; with `patience` it is first asked to, and given that many seconds."""
        if patience:
            self._child.requests.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.popen.wait(patience)
        self._finalizer()

    def _wait(self) -> None:
        """
        Take what has come, or wait for more to come, for room to write, or for a glance.

        Raises:
            Ended: nothing more will come, or not within the limits.
        """
        if self._has_come():
            return
        now = time.monotonic()
        if now >= self._next_glance:
            self._next_glance = now + GLANCE
            self._look()
        ready = self._poll.poll(1000 * GLANCE)
        if self._is_gone(ready) and not self._has_come():
            # Where its pipe is still open, what it started holds it: all that it said has been read.
            raise Ended(self._how_it_ended())

    def _has_come(self) -> bool:
        """Take what is in the pipe and return whether there was anything; at its end, raise `Ended`."""
        try:
            if self._inbox.fill():
                return True
        except BlockingIOError:
            return False
        raise Ended(self._how_it_ended())

    def _is_gone(self, ready: Sequence[tuple[int, int]]) -> bool:
        """Return whether anything but its pipes says that the process is gone."""
        pipes = {self._child.replies.fileno(), self._child.requests.fileno()}
        return any(descriptor not in pipes for descriptor, _ in ready) or self._child.popen.poll() is not None

    def _look(self) -> None:
        """See that a process which takes long stays within memory and time, and what it prints within its file."""
        self._child.log.trim()
        if self.resident > self._memory:
            raise Ended(f"killed: more than {self._memory / GIB:.3g} GiB resident")
        overrun = None if self._allowance is None else self._allowance.overrun()
        if overrun is not None:
            raise Ended(overrun.reason, timed_out=True, hung=overrun.hung)

    def _how_it_ended(self) -> str:
        """Say how a process ended whose pipe is closed; it may take a moment to be gone."""
        try:
            status = self._child.popen.wait(DEATH_PATIENCE)
        except subprocess.TimeoutExpired:
            return "closed its pipe without an answer"
        if status >= 0:
            return f"exit status {status} without an answer"
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"


def _release(resources: contextlib.ExitStack, owner: int) -> None:
    if os.getpid() == owner:  # not in a fork of the process that owns the child
        resources.close()
