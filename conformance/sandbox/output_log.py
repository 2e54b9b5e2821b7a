"""What a child process prints: the end of it, in a file that does not grow without end."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from typing import IO, Final

from conformance.text import legible

#: What is kept of what a process printed, and how large the file may grow before it is emptied (bytes).
STDERR_KEPT: Final = 8 * 2**10
STDERR_LARGEST: Final = 16 * 2**20


class OutputLog:
    """
    The file that a child prints to, of which only the end is of interest.

    It is in memory where the kernel has such files: under a full disk a framework that logs would fail for it.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            self._file: IO[bytes] = os.fdopen(os.memfd_create("log"), "r+b", buffering=0)
        else:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.descriptor = self._file.fileno()
        # So that the child goes on at the new end when the file is emptied.
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, fcntl.fcntl(self.descriptor, fcntl.F_GETFL) | os.O_APPEND)
        self._emptied_at = 0
        self._last_emptied = b""

    def position(self) -> int:
        """Return how many bytes were printed, up to now."""
        return self._emptied_at + os.fstat(self.descriptor).st_size

    def trim(self) -> None:
        """Empty the file if it has grown too large, but for its end; what is printed meanwhile may be lost."""
        size = os.fstat(self.descriptor).st_size
        if size > STDERR_LARGEST:
            self._last_emptied = os.pread(self.descriptor, STDERR_KEPT, size - STDERR_KEPT)
            self._emptied_at += size
            os.ftruncate(self.descriptor, 0)

    def tail(self, since: int) -> str:
        """Return the last `STDERR_KEPT` bytes of what was printed after position `since`, legible."""
        size = os.fstat(self.descriptor).st_size
        end = self._last_emptied + os.pread(self.descriptor, STDERR_KEPT, max(0, size - STDERR_KEPT))
        wanted = min(STDERR_KEPT, self._emptied_at + size - since)
        return legible(end[-wanted:].decode(errors="replace")) if wanted > 0 else ""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
