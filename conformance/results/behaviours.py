"""
What the records of a run say of the ledger's behaviours: seen, gone, near.

Works on records of a results file alone. A behaviour is known here by its id and by the place of its entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from conformance.results.record import CellRecord, CheckRecord, EntryRecord


@dataclass(kw_only=True)
class Counts:
    """What the cells of a run say of one behaviour."""

    #: Where its entry stands, as `file:line`; empty where no record says it.
    where: str = ""
    #: Cells that it covers.
    cells: int = 0
    #: Cells that would fail without it.
    seen: int = 0
    #: Cells whose answers it does not allow, while the rule does.
    gone: int = 0
    #: What the entry says, from the first cell that says that the behaviour is gone.
    entry: EntryRecord | None = None
    #: Implementations of the cells that say that it is gone.
    gone_from: set[str] = field(default_factory=set)


class BehaviourCounts:
    """Counts by behaviour over the cells of a run, and the cells whose divergence has no power."""

    def __init__(self) -> None:
        self.found: dict[str, Counts] = {}
        #: Diverging cells, each of whose declared bounds is as wide as the answer.
        self.powerless = 0

    def add(self, record: CellRecord) -> None:
        """Take what one cell says."""
        for name in record.covered:
            self._of(name).cells += 1
        for name in record.behaviours:
            self._of(name).seen += 1
        for entry in gone_in(record):
            counts = self._of(entry.id)
            counts.gone += 1
            counts.gone_from.add(record.implementation)
            counts.entry = counts.entry or entry
            counts.where = counts.where or entry.where
        if record.powerless and record.outcome == "diverges":
            self.powerless += 1

    @property
    def gone(self) -> dict[str, Counts]:
        """The behaviours that at least one cell shows to be gone, by id."""
        return {name: counts for name, counts in sorted(self.found.items()) if counts.gone}

    def facts(self) -> dict[str, dict[str, int]]:
        """Return the counts as a footer holds them: behaviour -> cells that it covers, that need it, that lack it."""
        return {
            name: {"cells": counts.cells, "seen": counts.seen, "gone": counts.gone}
            for name, counts in sorted(self.found.items())
        }

    def _of(self, name: str) -> Counts:
        return self.found.setdefault(name, Counts())


def gone_in(record: CellRecord) -> Iterator[EntryRecord]:
    """Yield the entries of the behaviours that a cell shows to be gone."""
    yield from (entry for entry in record.gone if entry.id)


def near(check: CheckRecord) -> str:
    """Return which behaviours cover the cell of a check that violates, in a sentence; empty where none does."""
    if not check.near:
        return ""
    entries = ", ".join(f"{each.id} ({each.where})" for each in check.near)
    under = f"; with {'them' if len(check.near) > 1 else 'it'} applied: {check.under}" if check.under else ""
    return f"declared for this cell, but not what was seen: {entries}{under}"
