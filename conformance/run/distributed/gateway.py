"""Types of the objects of execnet and pytest-xdist, which have none."""

from __future__ import annotations

from typing import Protocol

#: A part of a specification: its value, True without a value, None if it is absent.
Part = str | bool | None


class Spec(Protocol):
    """The place of a worker: `execnet.XSpec`."""

    popen: Part
    ssh: Part
    vagrant_ssh: Part
    socket: Part
    installvia: Part
    via: Part
    python: Part
    chdir: Part


class Channel(Protocol):
    """A connection to code that runs at the other end of a gateway."""

    def send(self, item: object) -> None:
        """Send plain data."""
        ...

    def receive(self, timeout: float) -> object:
        """Return the next plain data; waits at most `timeout` seconds."""
        ...

    def waitclose(self, timeout: float) -> None:
        """Wait until the code at the other end has ended, at most `timeout` seconds."""
        ...


class Gateway(Protocol):
    """A connection to an interpreter, on this machine or another."""

    id: str
    spec: Spec

    def remote_exec(self, source: str) -> Channel:
        """Run code at the other end."""
        ...


class Worker(Protocol):
    """A worker, in the leading process: `xdist.workermanage.WorkerController`."""

    gateway: Gateway
    #: The data that the worker receives when it starts.
    workerinput: dict[str, object]

    def shutdown(self) -> None:
        """End the worker without further tests."""
        ...
