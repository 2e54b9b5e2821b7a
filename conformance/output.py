"""
The results file of a run, held by that run alone, and what the disk refuses said in a line.

A lock of the operating system, which vanishes with the process however it ends, keeps two runs from writing one file;
nothing is left beside the file for somebody to clean up. What a line looks like is `conformance.results`'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from conformance.results import Writer


class OutputError(Exception):
    """A results file that cannot be written, or that another run writes; says file and reason in a line."""


class ResultsFile(Writer):
    """A `Writer` to a file that no other run writes meanwhile; what could not be written is an `OutputError`."""

    def __init__(self, path: Path, stream: IO[str]) -> None:
        super().__init__(stream)
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Return the file emptied, and locked until `close`; its folder is made where it is not there.

        Raises:
            OutputError: it cannot be written, or another run writes it; what it holds is then as it was.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not emptied on opening: it may be somebody else's.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}") from None
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe or a device may serve many
                _lock(path, descriptor)
                stream.truncate(0)
        except OSError as error:
            stream.close()
            raise OutputError(f"{path}: {error.strerror}") from None
        except OutputError:
            stream.close()
            raise
        return cls(path, stream)

    def close(self) -> None:
        """Close the file and let others have it; what could not be written has been said before."""
        with contextlib.suppress(OSError):
            self.stream.close()

    def _line(self, content: Mapping[str, object]) -> None:
        try:
            super()._line(content)
        except OSError as error:
            raise OutputError(f"{self._path}: {error.strerror}") from None


def _lock(path: Path, descriptor: int) -> None:
    """Lock a file, or raise `OutputError`; a file system without locks is taken as it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        who = "another run" if holder is None else f"another run, process {holder},"
        raise OutputError(f"{path}: {who} is writing it; name another folder or file, or wait for its end") from None
    except OSError:
        return


def _holder(descriptor: int) -> int | None:
    """Return the process that holds the lock of a file, where the kernel tells."""
    inode = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
            _, kind, _, _, process, place, *_ = line.split()
            if kind == "FLOCK" and int(place.rpartition(":")[2]) == inode and int(process) > 0:
                return int(process)
    return None
