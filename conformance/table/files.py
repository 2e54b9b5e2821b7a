"""
The files of the table and of the ledger: where they are, and their names in faults and results.

A path names one file, or a folder and the YAML files in it. A file of the ledger has the top-level key `divergences`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import conformance

#: The top-level key of a file of the ledger.
LEDGER_KEY: Final = "divergences"
#: Bytes of a file in which the key is searched.
_SEARCHED_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the table or the ledger."""

    path: Path
    #: The file's name in faults and results, which begins with the path that a user gave.
    name: str


def default_cases() -> Path:
    """Return the folder of the default table: in a wheel within the package, in a checkout beside it."""
    package = Path(conformance.__file__).parent
    installed = package / "cases"
    return installed if installed.is_dir() else package.parent / "cases"


def display_name(path: Path) -> str:
    """Return the name of a path in faults and results: the path itself, but `cases` for the default table."""
    full, table = real_path(path), real_path(default_cases())
    if full == table:
        return "cases"
    return f"cases/{path.name}" if full.parent == table and path.is_dir() else str(path)


def real_path(path: Path) -> Path:
    """Return the one path of a file that has several, without links; a path that is none is returned as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        # A loop of links, or a character that no path has. Opening the file reports it.
        return path


def source_files(path: Path) -> Sequence[SourceFile]:
    """Return the YAML files of a folder, sorted by name and without those of folders in it; of a file the file."""
    if not path.is_dir():
        return (SourceFile(path, display_name(path)),)
    prefix = display_name(path).rstrip("/")
    try:
        files = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
    except OSError:
        # The caller reports that the folder has no files.
        return ()
    return tuple(SourceFile(each, f"{prefix}/{each.name}") for each in files)


def is_ledger(path: Path) -> bool:
    """Return whether a file is of the ledger. It is searched for the key and not parsed, which would take longer."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return re.search(rf"^{LEDGER_KEY} *:".encode(), file.read(_SEARCHED_BYTES), re.MULTILINE) is not None
    except OSError:
        return False
