"""
An adapter in the suite's own process, for a debugger.

A crash of the adapter ends the suite, and a hang does not end: `conformance.sandbox.sandbox` protects from both. The
environment variables of an implementation stay set, so that a process can have only one environment.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.adapters.protocol import Adapter
from conformance.adapters.registry import Implementation
from conformance.sandbox import environment
from conformance.sandbox.child import load
from conformance.sandbox.codec import decode_reply, encode_reply
from conformance.sandbox.execution import hello_of, perform, raised_reply, room
from conformance.sandbox.frame import Inbox
from conformance.sandbox.launch import import_path
from conformance.sandbox.process import StartError
from conformance.sandbox.steps import Hello, Reply, Step, Transcript

#: Prefixes of variables of this process that are only read at its start.
_OF_THIS_PROCESS: Final = ("PYTEST_", "PYTHON")
#: The environment of this process, once it is set.
_environments: list[Mapping[str, str]] = []


class InProcessSandbox:
    """Runs steps like `conformance.sandbox.sandbox.Sandbox`, without its protection."""

    def __init__(self, implementation: Implementation, *, threads: int = 1, cache: Path | None = None) -> None:
        self._implementation = implementation
        self._threads = threads
        self._cache = cache
        self._adapter: Adapter | None = None

    def start(self) -> Hello:
        """
        Return the greeting of the adapter, loaded if necessary.

        Raises:
            StartError: it cannot be loaded, or this process already has another environment.
        """
        adapter = self._load()
        try:
            return hello_of(adapter, self._threads)
        except Exception as error:
            raise _start_error(error) from error

    def run_steps(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """Return the transcript of `steps`; `name` is not used."""
        replies = (encode_reply(reply) for reply in perform(self._load(), steps))
        # Encoded and decoded, so that an answer is a copy with the same types as from another process.
        largest = room(steps)
        return Transcript(replies={reply.label: reply for reply in (_decoded(each, largest) for each in replies)})

    def close(self) -> None:
        """Do nothing: a framework cannot be unloaded."""

    def _load(self) -> Adapter:
        if self._adapter is None:
            self._set_environment()
            sys.path[:] = import_path()
            try:
                self._adapter = load(self._implementation.adapter, self._implementation.mode)
            except Exception as error:
                raise _start_error(error) from error
        return self._adapter

    def _set_environment(self) -> None:
        """Set the environment that a child would have, unless this process already has it."""
        own = dict(self._implementation.environment)
        if _environments:
            if _environments[0] != own:
                raise StartError(f"this process runs in the environment {_environments[0]}, {own} needs one of its own")
            return
        loaded = [each for each in self._implementation.packages if each in sys.modules]
        if own and loaded:
            raise StartError(f"{', '.join(loaded)} was imported before {own} could be set")
        home = tempfile.mkdtemp(prefix="conformance-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        for variable in environment.removed_names(os.environ):
            if not variable.startswith(_OF_THIS_PROCESS):
                del os.environ[variable]
        os.environ.update(
            environment.added_variables(own, os.environ, threads=self._threads, home=Path(home), cache=self._cache)
        )
        _environments.append(own)


def _start_error(error: Exception) -> StartError:
    raised = raised_reply(error)
    return StartError(raised.in_a_line, raised=raised)


def _decoded(encoded: bytes, largest: int) -> Reply:
    frame = Inbox.with_bytes(encoded).take()
    assert frame is not None, "the frame is complete"
    return decode_reply(frame, room=largest)
