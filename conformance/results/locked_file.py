"""
The results file of a run, locked so that no other run writes it, with errors of the disk in one line.

A run begins its file as `.NAME.part`, and moves it to its place once it has a header. A run that ends before that
leaves an earlier file as it was. A lock of the operating system keeps two runs from writing one file; it vanishes with
the process, however the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO, Self

from conformance.results import Writer
from conformance.results.record import HeaderRecord, Record


class OutputError(Exception):
    """A results file that cannot be written, or that another run writes. The message names file and reason."""


class ResultsFile(Writer):
    """A `Writer` to a locked file. Its methods raise `OutputError` where the disk refuses."""

    def __init__(self, path: Path, stream: IO[str], part: Path | None) -> None:
        super().__init__(stream)
        self._path = path
        #: The path `.NAME.part` until the header is written. None after that, and for a pipe or a device.
        self._part = part
        #: Whether the file has a header and is in its place.
        self.has_header = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Return a new file that is locked until `close`. Its folder is created if it is missing.

        Raises:
            OutputError: the file cannot be written, or another run writes it. Its content is then unchanged.
        """
        part = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.is_file():  # several runs may write to one pipe or device
                place = Path(os.path.realpath(path))
                part = place.with_name(f".{place.name}.part")
            descriptor = os.open(part or path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}") from None
        try:
            if part is not None:
                _lock(path, descriptor)
                _check_free(path)
                if not os.path.samestat(os.fstat(descriptor), part.stat()):
                    raise OutputError(f"{path}: another run has just begun it; name another folder or file")
                stream.truncate(0)
        except OSError as error:
            stream.close()
            raise OutputError(f"{path}: {error.strerror}") from None
        except OutputError:
            stream.close()
            raise
        return cls(path, stream, part)

    def header(self, record: HeaderRecord) -> None:
        """Write the first line, and move the file to its place."""
        super().header(record)
        if self._part is not None:
            try:
                self._part.replace(os.path.realpath(self._path))
            except OSError as error:
                raise OutputError(f"{self._path}: {error.strerror}") from None
        self._part, self.has_header = None, True

    def close(self) -> None:
        """Close and unlock the file. Errors are suppressed: a write that failed has raised `OutputError` before."""
        with contextlib.suppress(OSError):
            self.stream.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None

    def _line(self, record: Record) -> None:
        try:
            super()._line(record)
        except OSError as error:
            raise OutputError(f"{self._path}: {error.strerror}") from None


def _check_free(path: Path) -> None:
    """Raise `OutputError` if another run writes the existing file, or if it may not be written. It may be missing."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _lock(path, descriptor)
        finally:
            os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    """Lock a file; raises `OutputError` where another process has the lock. A file system without locks is accepted."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        who = "another run" if holder is None else f"another run, process {holder},"
        raise OutputError(f"{path}: {who} is writing it; name another folder or file, or wait for its end") from None
    except OSError:
        return


def _holder(descriptor: int) -> int | None:
    """Return the id of the process that has the lock of a file, None where the kernel does not report it."""
    inode = os.fstat(descriptor).st_ino
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            # 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
            _, kind, _, _, process, place, *_ = line.split()
            if kind == "FLOCK" and int(place.rpartition(":")[2]) == inode and int(process) > 0:
                return int(process)
    return None
