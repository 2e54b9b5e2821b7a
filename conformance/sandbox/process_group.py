"""
The process group of a child: the guard that ends it with its parent, and its end.

The guard is a shell that waits on a pipe only the parent holds, and kills the group when the pipe breaks, however the
parent died. (A thread inside the child could not: it never runs while native code keeps the interpreter's lock.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Final

import psutil

#: The variable of the environment that marks a child and all that it starts.
MARK: Final = "CONFORMANCE_PROCESS"
# A line means that the guard is dismissed, the end of the pipe that the parent is gone.
_GUARD = 'read -r _ || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }'


def guard(group: int, home: str) -> subprocess.Popen[bytes]:
    """Start the process that kills a process group, and removes a folder, when this process is gone."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "conformance-guard", str(group), home],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.defpath},
        start_new_session=True,
    )


def dismiss(of_group: subprocess.Popen[bytes]) -> None:
    """End the guard of a process group, which then does nothing."""
    of_group.communicate(b"dismissed\n")


def kill(popen: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a child, its process group, and whatever else carries its mark; leave no zombie."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(popen.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # in the hands of a driver: nothing more can be done
        popen.wait(timeout=10.0)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                process.kill()
