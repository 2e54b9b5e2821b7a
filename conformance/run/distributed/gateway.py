"""What execnet and pytest-xdist, which have no types, hand to the hooks of a run over several workers."""

from __future__ import annotations

from typing import Any, Protocol

#: A part of a specification: its value, True where it has none, None where it is not there.
Part = str | bool | None


class Spec(Protocol):
    """Where a worker is started: `execnet.XSpec`."""

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

    def receive(self, timeout: float) -> Any:
        """Return the next plain data that came, within so many seconds."""
        ...

    def waitclose(self, timeout: float) -> None:
        """Wait until the code at the other end is over, at most so many seconds."""
        ...


class Gateway(Protocol):
    """A connection to an interpreter, on this machine or another."""

    id: str
    spec: Spec

    def remote_exec(self, source: str) -> Channel:
        """Run code at the other end."""
        ...


class Worker(Protocol):
    """A worker as the process that leads the run sees it: `xdist.workermanage.WorkerController`."""

    gateway: Gateway
    #: What the worker is sent as it starts.
    workerinput: dict[str, object]

    def shutdown(self) -> None:
        """Let the worker end, without any more tests."""
        ...
