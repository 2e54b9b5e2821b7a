"""The output of a child process: its end, in a file of limited size."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from typing import IO, Final

from conformance.text import legible

#: The size of the end that is reported, and the size at which the file is emptied (bytes).
STDERR_TAIL: Final = 8 * 2**10
STDERR_LARGEST: Final = 16 * 2**20


class OutputLog:
    """
    The file for the output of a child.

    On Linux it is in memory, so that a full disk does not make a framework fail that logs.
    """

    def __init__(self) -> None:
        if sys.platform == "linux":
            self._file: IO[bytes] = os.fdopen(os.memfd_create("log"), "r+b", buffering=0)
        else:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self.descriptor = self._file.fileno()
        # So that the child continues at the new end when the file is emptied.
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, fcntl.fcntl(self.descriptor, fcntl.F_GETFL) | os.O_APPEND)
        self._emptied_at = 0
        self._last_emptied = b""

    def position(self) -> int:
        """Return how many bytes were printed until now."""
        return self._emptied_at + os.fstat(self.descriptor).st_size

    def trim(self) -> None:
        """Empty the file if it is too large, and keep its end. Output at the same time may be lost."""
        size = os.fstat(self.descriptor).st_size
        if size > STDERR_LARGEST:
            self._last_emptied = os.pread(self.descriptor, STDERR_TAIL, size - STDERR_TAIL)
            self._emptied_at += size
            os.ftruncate(self.descriptor, 0)

    def tail(self, since: int) -> str:
        """Return the last `STDERR_TAIL` bytes of the output after position `since`, legible."""
        size = os.fstat(self.descriptor).st_size
        end = self._last_emptied + os.pread(self.descriptor, STDERR_TAIL, max(0, size - STDERR_TAIL))
        length = min(STDERR_TAIL, self._emptied_at + size - since)
        return legible(end[-length:].decode(errors="replace")) if length > 0 else ""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
