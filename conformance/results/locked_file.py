"""
The results file of a run, held by that run alone, and what the disk refuses said in a line.

A run begins its file beside the one that is there, as `.NAME.part`, and puts it in its place once it has a header: what
ends before that leaves the earlier file as it was. A lock of the operating system, which vanishes with the process
however it ends, keeps two runs from writing one file. What a line looks like is `conformance.results`'s.
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
    """A results file that cannot be written, or that another run writes; says file and reason in a line."""


class ResultsFile(Writer):
    """A `Writer` to a file that no other run writes meanwhile; what could not be written is an `OutputError`."""

    def __init__(self, path: Path, stream: IO[str], part: Path | None) -> None:
        super().__init__(stream)
        self._path = path
        #: The file as long as it has no header; None where it is in its place, or is no regular file.
        self._part = part
        #: Whether the file has a header, and so is in its place.
        self.has_header = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Return a new file that is locked until `close`; its folder is made where it is not there.

        Raises:
            OutputError: it cannot be written, or another run writes it; what it holds is then as it was.
        """
        part = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.is_file():  # a pipe or a device may serve many
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
        """Write the first line, and put the file in its place."""
        super().header(record)
        if self._part is not None:
            try:
                self._part.replace(os.path.realpath(self._path))
            except OSError as error:
                raise OutputError(f"{self._path}: {error.strerror}") from None
        self._part, self.has_header = None, True

    def close(self) -> None:
        """Close the file and let others have it; what could not be written has been said before."""
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
    """Raise `OutputError` where a run writes the file that is there, or where nobody may; there may be none."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _lock(path, descriptor)
        finally:
            os.close(descriptor)


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
