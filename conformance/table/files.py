"""
Where the files of the table and of the ledger lie, and what they are called in faults and results.

A path names one file, or a folder and with it the YAML files in it. This module looks at names, and at the left margin
of a file to tell a table from a ledger; it reads none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import conformance

#: The top-level key that tells a ledger of known divergences from a table.
LEDGER_KEY: Final = "divergences"
_LOOK_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Named:
    """A file, and how it is called: by the path it was asked for with."""

    path: Path
    shown: str


def default_cases() -> Path:
    """Return the folder of the table that comes with the package: in a wheel inside of it, in a checkout beside it."""
    package = Path(conformance.__file__).parent
    installed = package / "cases"
    return installed if installed.is_dir() else package.parent / "cases"


def shown(path: Path) -> str:
    """Return what a path is called: as it was given, but `cases` for the default table, wherever it lies."""
    full, table = resolved(path), resolved(default_cases())
    if full == table:
        return "cases"
    return f"cases/{path.name}" if full.parent == table and path.is_dir() else str(path)


def resolved(path: Path) -> Path:
    """Return the one path of a file that may be named in several ways; a path that cannot be one is left as it is."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        # A loop of links, or a character no path has: whoever opens it says so.
        return path


def named(path: Path) -> Sequence[Named]:
    """Return the files `path` stands for: a folder's YAML files, not those of folders in it, by name; else itself."""
    if not path.is_dir():
        return (Named(path, shown(path)),)
    prefix = shown(path).rstrip("/")
    try:
        files = sorted(each for each in path.iterdir() if each.suffix in (".yaml", ".yml") and each.is_file())
    except OSError:
        # Whoever asked for the folder says that there is nothing in it.
        return ()
    return tuple(Named(each, f"{prefix}/{each.name}") for each in files)


def is_ledger(path: Path) -> bool:
    """Return whether a file looks like a ledger; a look, not a reading, so that passing one over costs nothing."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return re.search(rf"^{LEDGER_KEY} *:".encode(), file.read(_LOOK_BYTES), re.MULTILINE) is not None
    except OSError:
        return False
