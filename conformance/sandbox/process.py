"""
A child process, in the suite: it sends frames and receives replies within limits of CPU time and memory.

`conformance.sandbox.launch` starts it, `conformance.sandbox.sandbox` sends questions and interprets its end,
`conformance.sandbox.child` is the other side, and `conformance.sandbox.deadline` has its time limits.
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
#: The interval between checks of a process that takes long (seconds).
CHECK_INTERVAL: Final = 0.05
#: The most time between the end of a pipe and the end of its process (seconds).
EXIT_PATIENCE: Final = 1.5
#: The most time for a process to print its stack (seconds).
STACK_PATIENCE: Final = 1.0


class Ended(Exception):
    """
    The process ended or must be ended, for `reason`.

    `timed_out` is set if it passed a time limit, and `hung` if that was the limit for a hang.
    """

    def __init__(self, reason: str, *, timed_out: bool = False, hung: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out
        self.hung = hung


class StartError(Exception):
    """
    A process did not start.

    `reason` is one line, and `stderr` the end of the output. `raised` is set if the adapter's import or constructor
    raised, with its traceback.
    """

    def __init__(self, reason: str, *, stderr: str = "", raised: Raised | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.stderr = stderr
        self.raised = raised


class ChildProcess:
    """
    One running child, for use by one thread at a time.

    Call `end` after `Ended`, and when the process is no longer needed. The interpreter's exit ends it as well.
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
        self._next_check = 0.0
        self._child = launch(implementation, threads=threads, cache=cache, search_path=search_path)
        self._finalizer = weakref.finalize(self, _release, self._child.resources, os.getpid())
        #: The position in the log where the output of this exchange begins.
        self._log_start = 0
        self._inbox = Inbox(self._child.replies.fileno())
        self._poll = select.poll()
        self._poll.register(self._child.replies, select.POLLIN)
        if self._child.exit_descriptor is not None:
            self._poll.register(self._child.exit_descriptor, select.POLLIN)
        self._process = psutil.Process(self._child.popen.pid)

    @property
    def resident(self) -> int:
        """The size of the resident set of the process itself, without its children, in bytes."""
        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return 0

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of the process and its descendants, in seconds."""
        return cpu_seconds(self._process)

    def stderr(self) -> str:
        """Return the end of the output of this exchange, or since the start of the process."""
        return self._child.log.tail(self._log_start)

    def final_output(self) -> str:
        """
        Return the end of the output, with the stack of every thread if the process still runs.

        Python's fault handler prints the stacks on SIGABRT, even if native code holds the interpreter's lock.
        """
        if self._child.popen.poll() is None:
            self._child.popen.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.popen.wait(STACK_PATIENCE)
        return self.stderr()

    def check_silent(self) -> None:
        """Raise `Ended` if the process has ended, or has written to its pipe, since its last reply."""
        try:
            if self._inbox.pending or self._received():
                raise Ended("unexpected message")
            if self._has_exited(self._poll.poll(0)):
                raise Ended(self._exit_reason())
        except Ended as ended:
            raise Ended(f"{ended.reason}, before the question was sent") from None

    def allow(self, limit: TimeLimit, *, starting: bool = False) -> None:
        """Begin an exchange with a limit; the first one is `starting`."""
        self._child.log.trim()
        if not starting:  # the output of a start may come before this call
            self._log_start = self._child.log.position()
        self._allowance = Allowance(self._process, limit, fresh=starting)
        self._next_check = time.monotonic() + CHECK_INTERVAL

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
                raise Ended(self._exit_reason()) from None

    def receive(self, room: int = 0) -> Reply:
        """Return the next reply, with arrays of at most `room` bytes, or raise `Ended`."""
        try:
            while (frame := self._inbox.take(longest=room + LARGEST_BODY)) is None:
                self._wait()
            return decode_reply(frame, room=room)
        except Garbage as garbage:
            raise Ended(f"unexpected message: {garbage}") from None

    def end(self, *, patience: float = 0.0) -> None:
        """End the process and its descendants; with `patience` it may end by itself within that time (seconds)."""
        if patience:
            self._child.requests.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.popen.wait(patience)
        self._finalizer()

    def _wait(self) -> None:
        """
        Read from the pipe, or wait until it can be read or written, or until the next check.

        Raises:
            Ended: the process has ended, or has passed a limit.
        """
        if self._received():
            return
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_INTERVAL
            self._check_limits()
        ready = self._poll.poll(1000 * CHECK_INTERVAL)
        if self._has_exited(ready) and not self._received():
            # All replies have been read. If the pipe is still open, a descendant has it.
            raise Ended(self._exit_reason())

    def _received(self) -> bool:
        """Read from the pipe and return whether there were bytes; raise `Ended` at its end."""
        try:
            if self._inbox.fill():
                return True
        except BlockingIOError:
            return False
        raise Ended(self._exit_reason())

    def _has_exited(self, ready: Sequence[tuple[int, int]]) -> bool:
        """Return whether the process has ended, by its descriptor or its status."""
        pipes = {self._child.replies.fileno(), self._child.requests.fileno()}
        return any(descriptor not in pipes for descriptor, _ in ready) or self._child.popen.poll() is not None

    def _check_limits(self) -> None:
        """Check memory and time, and the size of the log; raise `Ended` if a limit is passed."""
        self._child.log.trim()
        if self.resident > self._memory:
            raise Ended(f"killed: more than {self._memory / GIB:.3g} GiB resident")
        overrun = None if self._allowance is None else self._allowance.overrun()
        if overrun is not None:
            raise Ended(overrun.reason, timed_out=True, hung=overrun.hung)

    def _exit_reason(self) -> str:
        """Return how a process ended whose pipe is closed. The process may end a moment later."""
        try:
            status = self._child.popen.wait(EXIT_PATIENCE)
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
