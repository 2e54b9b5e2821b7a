"""
What crosses between the process that leads a run and its workers, on this machine or another.

Cells and declared behaviours are sent whole: a worker reads no table and no ledger, so that no shared disk is needed,
and the place of a row reads the same wherever it ran. Before a worker of another machine is started, that machine says
what it is. Both sides must run the same source, which is checked first. The leading process sends pickled objects;
workers send plain data only.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import pickle
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypedDict

import conformance
from conformance import __version__
from conformance.adapters.registry import Implementation, select
from conformance.checks.cell import Cell
from conformance.ledger import Behaviour
from conformance.run import resources
from conformance.run.selection import visible_devices

#: Distributions whose versions are stated of a machine, beside those each implementation reports of itself.
DISTRIBUTIONS: Final = ("dense-conformance", "numpy", "pytest", "pytest-xdist", "ml_dtypes", "pyyaml", "pydantic")

#: Runs on another machine, where nothing of the package may be there; the current folder is importable, as for workers.
GREETING: Final = """\
import os, sys
given = channel.receive()
if os.getcwd() not in sys.path:
    sys.path.append(os.getcwd())
try:
    from conformance import __version__
    from conformance.run.distributed import transfer
except ImportError as error:
    channel.send({"fault": f"dense-conformance cannot be imported there: {error}"})
else:
    channel.send(transfer.answer(given))
"""


class WorkerInput(TypedDict):
    """What a worker of pytest-xdist is sent as it starts: plain data that execnet carries."""

    #: What `pack` returns.
    cells: bytes
    #: The machine that the worker is on, as results name it; None for the one that leads the run.
    host: str | None
    #: Threads of each process that the worker starts.
    threads: int
    #: Whether pytest writes a JUnit file.
    junit: bool


class Greeting(TypedDict):
    """What another machine is asked before a worker is started there."""

    #: Version and sum of the source of what leads the run.
    version: str
    source: str
    #: The implementations of the run, pickled.
    chosen: bytes
    #: Whether the devices that their frameworks see matter.
    devices: bool


def pack(cells: Sequence[Cell], behaviours: Sequence[Behaviour]) -> bytes:
    """Return cells and known divergences as they are sent to a worker."""
    return pickle.dumps((tuple(cells), tuple(behaviours)), protocol=pickle.HIGHEST_PROTOCOL)


def unpack(sent: bytes) -> tuple[tuple[Cell, ...], tuple[Behaviour, ...]]:
    """
    Return what `pack` was given. It is unpickled: only data from the process that leads the run may be given.

    Whether `module:name` is a class or a function is read from its source, which may be here and not where it was sent.
    """
    cells, behaviours = pickle.loads(sent)
    here: dict[str, Implementation] = {}
    for each in (cell.implementation for cell in cells):
        if each.adapter == each.name and each.name not in here and not each.missing_packages():
            here[each.name] = select([each.name])[0]
    if here:
        cells = tuple(replace(cell, implementation=_as_here(cell.implementation, here)) for cell in cells)
    return cells, behaviours


def _as_here(sent: Implementation, here: Mapping[str, Implementation]) -> Implementation:
    found = here.get(sent.name)
    return sent if found is None else replace(found, environment={**found.environment, **sent.environment})


def greeting(chosen: Sequence[Implementation], *, devices: bool) -> Greeting:
    """Return what another machine is asked: who runs which source, what it has, and which devices if they matter."""
    return {"version": __version__, "source": source(), "chosen": pickle.dumps(tuple(chosen)), "devices": devices}


def answer(given: Greeting) -> dict[str, object]:
    """Return what this machine says to `greeting`: `fault`, a reason why it takes no part, or all it is."""
    if (given["version"], given["source"]) != (__version__, source()):
        ours, theirs = (f"{each[0]} (source {each[1]})" for each in ((__version__, source()), _version_of(given)))
        return {"fault": f"dense-conformance {ours} is there, and this is {theirs}: install the same on both"}
    chosen: tuple[Implementation, ...] = pickle.loads(given["chosen"])
    return {
        "host": socket.gethostname(),
        "package": str(Path(conformance.__file__).parent),
        "cpus": resources.cpus(),
        "machine": {**platform_facts(), "distributions": dict(distributions())},
        "missing": {each.name: list(each.missing_packages()) for each in chosen},
        "devices": {each.name: list(visible_devices(each)) if given["devices"] else ["cpu"] for each in chosen},
    }


def _version_of(given: Greeting) -> tuple[str, str]:
    return str(given["version"]), str(given["source"])


@functools.cache
def source() -> str:
    """Return a short sum over the package's Python files: two copies that differ anywhere would not agree on a cell."""
    found = hashlib.sha256()
    root = Path(conformance.__file__).parent
    for path in sorted(root.rglob("*.py"), key=lambda each: each.relative_to(root).as_posix()):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:12]


def platform_facts() -> dict[str, str | int | None]:
    """Return what this machine is, as a results file says it."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }


def distributions() -> Iterator[tuple[str, str]]:
    """Yield each distribution that is stated, with its version."""
    for name in DISTRIBUTIONS:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
