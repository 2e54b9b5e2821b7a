"""
The start of a child process: its pipes, its environment, its guard, and the resources to release at its end.

No part of a child outlives its parent. The child leads its own session, and a guard kills the process group when the
parent has ended (`conformance.sandbox.process_group`). Until the guard runs, the kernel does that
(`conformance.sandbox.child.end_with_parent`); if the main thread of the parent starts the child, the kernel stays as a
second protection. Processes that left the group are found by a mark in their environment when the child ends.
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
from conformance.sandbox.child import ChildOptions
from conformance.sandbox.output_log import OutputLog
from conformance.sandbox.process_group import MARK, dismiss, guard, kill

# `conformance` is imported from the files of the parent. Nothing else is imported before `sys.path` is set.
_BOOT: Final = """\
import gc, sys
gc.disable()  # until the framework is loaded: `conformance.sandbox.child` turns it on again
options = {options!r}
sys.path.insert(0, options["root"])
import conformance
sys.path[:] = options["path"]
from conformance.sandbox.child import main
main(options)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A started child process."""

    popen: subprocess.Popen[bytes]
    #: The parent's ends of the pipes, both non-blocking.
    requests: FileIO
    replies: FileIO
    #: The output of the child.
    log: OutputLog
    #: Readable when the child has ended; None if the system has no such descriptor.
    exit_descriptor: int | None
    #: Closing this ends the child and its descendants, and removes its files.
    resources: contextlib.ExitStack


def launch(
    implementation: Implementation, *, threads: int, cache: Path | None, search_path: Sequence[str] = ()
) -> Launch:
    """
    Start a child process for an implementation.

    Args:
        implementation: the implementation that the child loads.
        threads: the threads of the framework's CPU kernels.
        cache: folder for compiled programs, None for none.
        search_path: folders in which the adapter is searched, after those of this process.

    Raises:
        OSError: its files or its process cannot be created.
    """
    with contextlib.ExitStack() as resources:
        home = _temporary_folder(resources)
        log = resources.enter_context(contextlib.closing(OutputLog()))
        replies, child_replies = _pipe(resources)
        child_requests, requests = _pipe(resources)
        options = _options(implementation, threads, search_path, child_requests, child_replies)
        variables = environment.process_environment(
            implementation.environment, os.environ, threads=threads, home=Path(home), cache=cache
        )
        mark = uuid.uuid4().hex
        popen = _new_process(options, log, variables | {MARK: mark})
        resources.callback(kill, popen, mark)
        child_requests.close()
        child_replies.close()
        resources.callback(dismiss, guard(popen.pid, home))
        for pipe in (replies, requests):
            os.set_blocking(pipe.fileno(), False)
        return Launch(
            popen=popen,
            requests=requests,
            replies=replies,
            log=log,
            exit_descriptor=_exit_descriptor(popen, resources),
            resources=resources.pop_all(),
        )


def _temporary_folder(resources: contextlib.ExitStack) -> str:
    folder = tempfile.mkdtemp(prefix="conformance-")
    resources.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def import_path(search_path: Sequence[str] = ()) -> list[str]:
    """
    Return `sys.path` for a child: this process's, then `search_path`, then the current folder.

    The current folder comes last, even if this process has it first (as with `python -m`). An adapter in it is found,
    but a file `torch.py` in it does not replace the framework.
    """
    here = str(Path.cwd())
    inherited = [each for each in map(os.path.abspath, sys.path) if os.path.realpath(each) != here]
    return [*inherited, *map(os.path.abspath, search_path), here]


def _options(
    implementation: Implementation, threads: int, search_path: Sequence[str], requests: FileIO, replies: FileIO
) -> ChildOptions:
    """Return the options of the child; `requests` and `replies` are its ends of the pipes."""
    return ChildOptions(
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


def _new_process(options: ChildOptions, log: OutputLog, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Return the child, started in a fresh interpreter with its own session."""
    return subprocess.Popen(
        [sys.executable, "-P", "-u", "-c", _BOOT.format(options=options)],
        stdin=subprocess.DEVNULL,
        stdout=log.descriptor,
        stderr=log.descriptor,
        env=variables,
        pass_fds=(options["requests"], options["replies"]),
        start_new_session=True,
    )


def _exit_descriptor(popen: subprocess.Popen[bytes], resources: contextlib.ExitStack) -> int | None:
    """Return a descriptor that is readable when a process has ended; None if the system has none."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel before 5.3, or a container that forbids it
            descriptor = os.pidfd_open(popen.pid)
            resources.callback(os.close, descriptor)
            return descriptor
    return None


def _pipe(resources: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    """Return the two ends of a pipe, reading end first."""
    reading, writing = os.pipe()
    return resources.enter_context(FileIO(reading, "r")), resources.enter_context(FileIO(writing, "w"))
