"""
The start of a child process: its pipes, its environment, its guard, and what is released at its end.

Nothing of a child outlives its parent. The child leads a session of its own, whose process group a guard kills when the
parent is gone (`conformance.sandbox.process_group`). Until the guard is there the kernel stands in,
`conformance.sandbox.child.end_with_parent`; where parent and starting thread are one, it stays as a second line.
Processes that left the group are found by a mark in their environment when the child ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

import conformance
from conformance.adapters.registry import Implementation
from conformance.sandbox import environment
from conformance.sandbox.child import Orders
from conformance.sandbox.output_log import OutputLog
from conformance.sandbox.process_group import MARK, dismiss, guard, kill

# `conformance` is imported from the files that the parent runs. Nothing else is imported until `sys.path` is set.
_BOOT: Final = """\
import sys
orders = {orders!r}
sys.path.insert(0, orders["root"])
import conformance
sys.path[:] = orders["path"]
from conformance.sandbox.child import main
main(orders)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A child process that was started."""

    popen: subprocess.Popen[bytes]
    #: The parent's ends of the pipes; neither of them blocks.
    requests: FileIO
    replies: FileIO
    #: What the child prints.
    log: OutputLog
    #: Readable once the child is gone; None where the system has no such descriptor.
    end: int | None
    #: Closing this ends the child and all it started, and removes its files.
    resources: contextlib.ExitStack


def launch(
    implementation: Implementation, *, threads: int, cache: Path | None, search_path: Sequence[str] = ()
) -> Launch:
    """
    Start a child process for an implementation.

    Args:
        implementation: what the child loads.
        threads: how many threads the framework's CPU kernels may use.
        cache: folder for compiled programs, None for none.
        search_path: folders to find the adapter in, beside this process's own.

    Raises:
        OSError: there is no room for its files, or no process to be had.
    """
    with contextlib.ExitStack() as resources:
        home = tempfile.mkdtemp(prefix="conformance-")
        resources.callback(shutil.rmtree, home, ignore_errors=True)
        log = OutputLog()
        resources.callback(log.close)
        replies, child_replies = _pipe(resources)
        child_requests, requests = _pipe(resources)
        orders = _orders(implementation, threads, search_path, child_requests, child_replies)
        variables = environment.process_environment(
            implementation.environment, os.environ, threads=threads, home=Path(home), cache=cache
        )
        mark = uuid.uuid4().hex
        popen = _started(orders, log, variables | {MARK: mark})
        resources.callback(kill, popen, mark)
        child_requests.close()
        child_replies.close()
        resources.callback(dismiss, guard(popen.pid, home))
        for pipe in (replies, requests):
            os.set_blocking(pipe.fileno(), False)
        end = _end_of(popen, resources)
        return Launch(popen=popen, requests=requests, replies=replies, log=log, end=end, resources=resources.pop_all())


def import_path(search_path: Sequence[str] = ()) -> list[str]:
    """
    Return `sys.path` for a child: this process's, then `search_path`, then the current folder.

    The current folder comes last even where this process has it first, as `python -m` does: an adapter in it must be
    found, but a file in it called `torch.py` must not be taken for the framework.
    """
    here = str(Path.cwd())
    inherited = [each for each in map(os.path.abspath, sys.path) if os.path.realpath(each) != here]
    return [*inherited, *map(os.path.abspath, search_path), here]


def _orders(
    implementation: Implementation, threads: int, search_path: Sequence[str], requests: FileIO, replies: FileIO
) -> Orders:
    """Return what the child is given on its command line; `requests` and `replies` are its own ends of the pipes."""
    return Orders(
        root=str(Path(conformance.__file__).parent.parent),
        path=import_path(search_path),
        adapter=implementation.adapter,
        mode=implementation.mode,
        threads=threads,
        requests=requests.fileno(),
        replies=replies.fileno(),
        parent=os.getpid(),
        tied=threading.current_thread() is threading.main_thread(),
    )


def _started(orders: Orders, log: OutputLog, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Return the child, started in a fresh interpreter that leads a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", _BOOT.format(orders=orders)],
        stdin=subprocess.DEVNULL,
        stdout=log.descriptor,
        stderr=log.descriptor,
        env=variables,
        pass_fds=(orders["requests"], orders["replies"]),
        start_new_session=True,
    )


def _end_of(popen: subprocess.Popen[bytes], resources: contextlib.ExitStack) -> int | None:
    """Return a descriptor that is readable once a process is gone; None where the system has none."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel before 5.3, or a sandbox around this one
            descriptor = os.pidfd_open(popen.pid)
            resources.callback(os.close, descriptor)
            return descriptor
    return None


def _pipe(resources: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """Return the two ends of a pipe, reading end first."""
    reading, writing = os.pipe()
    return resources.enter_context(FileIO(reading, "r")), resources.enter_context(FileIO(writing, "w"))
