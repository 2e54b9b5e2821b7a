"""
The process group of a child, and the guard that ends the group with the parent.

The guard is a shell that waits on a pipe of the parent, and kills the group when the pipe breaks, however the parent
ended. A thread in the child could not do that, because it does not run while native code holds the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Final

import psutil

#: The environment variable that marks a child and its descendants.
MARK: Final = "CONFORMANCE_PROCESS"
# A line dismisses the guard. The end of the pipe means that the parent has ended.
_GUARD = 'read -r _ || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }'


def guard(group: int, home: str) -> subprocess.Popen[bytes]:
    """Start the process that kills a process group and removes a folder when this process ends."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "conformance-guard", str(group), home],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.defpath},
        start_new_session=True,
    )


def dismiss(guard_process: subprocess.Popen[bytes]) -> None:
    """End a guard without any effect on its group."""
    guard_process.communicate(b"dismissed\n")


def kill(popen: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a child, its process group, and all other processes with its mark; leave no zombie."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a driver, and cannot be killed
        popen.wait(timeout=10.0)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                process.kill()
