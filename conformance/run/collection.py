"""The files of tests that pytest is called with, and whether some of them generate tests from the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

#: A module that defines the test of a cell, or imports it.
_CELL_TEST: Final = re.compile(r"^(def |from conformance\.run\.runner import .*\b)test_dense\b", re.MULTILINE)


def count_other_files(words: Iterable[str]) -> int:
    """Return how many files of tests pytest is called with that generate none from the table."""
    return sum(not defines_cell_test(each) for each in _files(words))


def needs_table(words: Iterable[str]) -> bool:
    """Return whether pytest is called with something that generates tests from the table."""
    return any(not each.is_file() or defines_cell_test(each) for each in _files(words))


def defines_cell_test(path: Path) -> bool:
    """Return whether a file of tests generates tests from the table."""
    return path.suffix == ".py" and path.is_file() and bool(_CELL_TEST.search(path.read_text("utf-8", "replace")))


def _files(words: Iterable[str]) -> Iterator[Path]:
    """Yield each file once; a word that is no path, as the name of a module, as it stands."""
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word.partition("::")[0])
        found.update(dict.fromkeys(sorted(path.rglob("test_*.py")) if path.is_dir() else [path]))
    yield from found
