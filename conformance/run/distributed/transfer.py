"""
The data between the leading process of a run and its workers, on this machine or another.

Cells and declared behaviours are sent whole. A worker reads no table and no ledger, so that no shared disk is needed
and the place of a row is the same on every machine. Before a worker starts on another machine, that machine sends its
facts. Both sides must run the same source, which is checked first. The leading process sends pickled objects; workers
send only plain data.
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

#: Distributions whose versions a machine reports, in addition to those of implementations.
DISTRIBUTIONS: Final = ("dense-conformance", "numpy", "pytest", "pytest-xdist", "ml_dtypes", "pyyaml", "pydantic")

#: Code for another machine, which may lack the package. The current folder is importable, as for workers.
GREETING: Final = """\
import os, sys
given = channel.receive()
if os.getcwd() not in sys.path:
    sys.path.append(os.getcwd())
try:
    from conformance import __version__
    from conformance.run.distributed import transfer
except ImportError as error:
    channel.send({"fault": f"dense-conformance cannot be imported: {error}"})
else:
    channel.send(transfer.answer(given))
"""


class WorkerInput(TypedDict):
    """The data that a worker of pytest-xdist receives when it starts: plain data that execnet carries."""

    #: The result of `pack`.
    cells: bytes
    #: The name of the worker's machine in results; None for the machine that leads the run.
    host: str | None
    #: Threads of each framework's process.
    threads: int
    #: Whether pytest writes a JUnit file.
    junit: bool


class Greeting(TypedDict):
    """The message to another machine before a worker starts there."""

    #: Version and checksum of the source of the leading process.
    version: str
    source: str
    #: The implementations of the run, pickled.
    chosen: bytes
    #: Whether the machine looks for the devices of their frameworks.
    devices: bool


class MachineAnswer(TypedDict, total=False):
    """The answer of another machine: either `fault`, the reason why it cannot take part, or all other fields."""

    fault: str
    host: str
    #: The folder of the package.
    package: str
    cpus: int
    #: Facts for the results file.
    machine: dict[str, object]
    #: Implementation -> packages that are not installed.
    missing: dict[str, list[str]]
    #: Implementation -> devices.
    devices: dict[str, list[str]]


def pack(cells: Sequence[Cell], behaviours: Sequence[Behaviour]) -> bytes:
    """Return cells and known divergences as bytes for a worker."""
    return pickle.dumps((tuple(cells), tuple(behaviours)), protocol=pickle.HIGHEST_PROTOCOL)


def unpack(sent: bytes) -> tuple[tuple[Cell, ...], tuple[Behaviour, ...]]:
    """
    Return the arguments of `pack`. Only data of the leading process may be passed, because it is unpickled.

    Whether `module:name` is a class or a function depends on its source, which may exist only on this machine.
    """
    cells, behaviours = pickle.loads(sent)
    here: dict[str, Implementation] = {}
    for each in (cell.implementation for cell in cells):
        if each.adapter == each.name and each.name not in here and not each.missing_packages():
            here[each.name] = select([each.name])[0]
    if here:
        cells = tuple(replace(cell, implementation=_with_local_adapter(cell.implementation, here)) for cell in cells)
    return cells, behaviours


def _with_local_adapter(sent: Implementation, here: Mapping[str, Implementation]) -> Implementation:
    found = here.get(sent.name)
    return sent if found is None else replace(found, environment={**found.environment, **sent.environment})


def greeting(chosen: Sequence[Implementation], *, devices: bool) -> Greeting:
    """Return the message to another machine; with `devices` it looks for the devices of frameworks."""
    return {"version": __version__, "source": source(), "chosen": pickle.dumps(tuple(chosen)), "devices": devices}


def answer(given: Greeting) -> MachineAnswer:
    """Return the answer of this machine to `greeting`."""
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
    """Return a short checksum of the package's Python files."""
    found = hashlib.sha256()
    root = Path(conformance.__file__).parent
    for path in sorted(root.rglob("*.py"), key=lambda each: each.relative_to(root).as_posix()):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:12]


def platform_facts() -> dict[str, str | int | None]:
    """Return the facts of this machine for a results file."""
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }


def distributions() -> Iterator[tuple[str, str]]:
    """Yield each of `DISTRIBUTIONS` that is installed, with its version."""
    for name in DISTRIBUTIONS:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    """Return the name of the processor, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
