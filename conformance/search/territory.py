"""
Where an implementation has done nothing so far but what the ledger says of it, so that most rows there tell no news.

A framework that has no float64 is red on a quarter of all rows, and each of them takes its time. This module counts; it
asks nothing and knows no entry.
"""

from __future__ import annotations

import zlib
from collections import Counter
from typing import Final

from conformance.case import Case

#: So many rows of a territory are known trouble, and none is anything else, before most of it is passed over.
ENOUGH: Final = 8
#: Of a territory that is passed over one row in so many is asked all the same: there may be other trouble beneath.
ONE_IN: Final = 8


class Territory:
    """What is known of each implementation on each dtype, of the layer and of its input."""

    def __init__(self) -> None:
        self._known: Counter[tuple[str, str, str | None]] = Counter()
        self._open: set[tuple[str, str, str | None]] = set()

    def note(self, case: Case, implementation: str, *, known: bool) -> None:
        """Take note of an answer: trouble that the ledger knows, or anything else."""
        key = _key(case, implementation)
        if known:
            self._known[key] += 1
        else:
            self._open.add(key)

    def is_worth_asking(self, case: Case, implementation: str) -> bool:
        """Return whether a case may tell something new; the same for one case however often it is asked about."""
        key = _key(case, implementation)
        if key in self._open or self._known[key] < ENOUGH:
            return True
        return zlib.crc32(case.id.encode()) % ONE_IN == 0


def _key(case: Case, implementation: str) -> tuple[str, str, str | None]:
    return implementation, case.dtype, case.input_dtype
