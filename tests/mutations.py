"""
Mutations of what judges: small wrong edits of the comparator, its bounds and the ledger, each of which a test notices.

A mutation names a module, the text it takes out, which occurs there once, what it puts in, and the tests that must
fail with it. `tests.mutating` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Mutation:
    """One wrong edit of one module of the package, and the tests (node ids) one of which must fail with it."""

    name: str
    module: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file of the module."""
        return ROOT / (self.module.replace(".", "/") + ".py")

    def source(self) -> str:
        """Return the source of the module with the edit made."""
        return self.path.read_text(encoding="utf-8").replace(self.old, self.new)

