"""
What a mutation is: a small wrong edit of something that judges, which a test must notice.

It names a module, the text it takes out, which occurs there once, what it puts in, and the test that must fail with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.paths import ROOT

#: `deviation` -> the file of its tests, from the root of the project.
_FILES: Final = {
    each.stem.removeprefix("test_"): each.relative_to(ROOT).as_posix() for each in (ROOT / "tests").rglob("test_*.py")
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutation:
    """One wrong edit of one module of the package, and the test (a node id) that must fail with it."""

    name: str
    module: str
    old: str
    new: str
    test: str

    @property
    def path(self) -> Path:
        """The file of the module."""
        return ROOT / (self.module.replace(".", "/") + ".py")

    def source(self) -> str:
        """Return the source of the module with the edit made."""
        return self.path.read_text(encoding="utf-8").replace(self.old, self.new)


def of(module: str, *edits: tuple[str, str, str, str]) -> Iterator[Mutation]:
    """Yield the mutations of a module; a test is given as `file::name`, each without its `test_`."""
    for name, old, new, test in edits:
        file, _, function = test.partition("::")
        yield Mutation(
            name=f"{module}: {name}",
            module=f"conformance.{module}",
            old=old,
            new=new,
            test=f"{_FILES[file]}::test_{function}",
        )
