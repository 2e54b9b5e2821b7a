"""
An adapter in the suite's own process, for a debugger.

A crash of the adapter ends the suite, and a hang is not ended: `conformance.sandbox.sandbox` protects from both. The
environment variables of an implementation are set for good, so that a process can hold one environment only.
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

#: Variables that say something of this process, and that nothing reads after its start.
_OF_THIS_PROCESS: Final = ("PYTEST_", "PYTHON")
#: The environment that this process was given, once it was given one.
_in_force: list[Mapping[str, str]] = []


class InProcess:
    """Answers as `conformance.sandbox.sandbox.Sandbox` does, without its protection."""

    def __init__(self, implementation: Implementation, *, threads: int = 1, cache: Path | None = None) -> None:
        self._implementation = implementation
        self._threads = threads
        self._cache = cache
        self._adapter: Adapter | None = None

    def start(self) -> Hello:
        """
        Return what the framework says of itself, loading it if it is not loaded.

        Raises:
            StartError: it cannot be loaded, or this process has another environment already.
        """
        adapter = self._load()
        try:
            return hello_of(adapter, self._threads)
        except Exception as error:
            raise _start_error(error) from error

    def ask(self, steps: Sequence[Step], *, name: str = "") -> Transcript:
        """Return what came of `steps`, each under its label; `name` is not used."""
        replies = (encode_reply(reply) for reply in perform(self._load(), steps))
        # Through a frame and back, so that an answer is a copy, of types that cross, as it is from another process.
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
        """Give this process the environment that a child would have, or find that it is the one it has."""
        own = dict(self._implementation.environment)
        if _in_force:
            if _in_force[0] != own:
                raise StartError(f"this process runs in the environment {_in_force[0]}, {own} needs one of its own")
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
        _in_force.append(own)


def _start_error(error: Exception) -> StartError:
    said = raised_reply(error)
    return StartError(said.in_a_line, raised=said)


def _decoded(encoded: bytes, largest: int) -> Reply:
    frame = Inbox.holding(encoded).take()
    assert frame is not None, "it is whole"
    return decode_reply(frame, room=largest)
