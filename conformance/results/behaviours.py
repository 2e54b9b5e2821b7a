"""
How the ledger's behaviours show in the records of a run: which cells need them, and from which cells they are gone.

The input is records of a results file. A behaviour is identified by its id; `where` is the place of its entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from conformance.results.record import CellRecord, CheckRecord, EntryRecord


@dataclass(kw_only=True)
class Counts:
    """Counts of cells for one behaviour."""

    #: The place of its entry, as `file:line`; empty where no record names it.
    where: str = ""
    #: Cells that it covers.
    cells: int = 0
    #: Cells that would fail without it.
    needed: int = 0
    #: Cells that show it to be gone.
    gone: int = 0
    #: The entry, from the first cell that shows the behaviour to be gone.
    entry: EntryRecord | None = None
    #: Implementations of the cells that show it to be gone.
    gone_from: set[str] = field(default_factory=set)


class BehaviourCounts:
    """Counts by behaviour over the cells of a run, and the cells whose divergence has no power."""

    def __init__(self) -> None:
        self.by_id: dict[str, Counts] = {}
        #: Diverging cells in which every declared bound is as wide as the answer.
        self.powerless = 0

    def add(self, record: CellRecord) -> None:
        """Count one cell."""
        for name in record.covered:
            self._of(name).cells += 1
        for name in record.behaviours:
            self._of(name).needed += 1
        for entry in gone_entries(record):
            counts = self._of(entry.id)
            counts.gone += 1
            counts.gone_from.add(record.implementation)
            counts.entry = counts.entry or entry
            counts.where = counts.where or entry.where
        if record.powerless and record.outcome == "diverges":
            self.powerless += 1

    @property
    def gone_behaviours(self) -> dict[str, Counts]:
        """The behaviours that at least one cell shows to be gone, by id."""
        return {name: counts for name, counts in sorted(self.by_id.items()) if counts.gone}

    def facts(self) -> dict[str, dict[str, int]]:
        """Return the counts in the form of a footer: behaviour -> cells that it covers, that need it, that lack it."""
        return {
            name: {"cells": counts.cells, "seen": counts.needed, "gone": counts.gone}
            for name, counts in sorted(self.by_id.items())
        }

    def _of(self, name: str) -> Counts:
        return self.by_id.setdefault(name, Counts())


def gone_entries(record: CellRecord) -> Iterator[EntryRecord]:
    """Yield the entries of the behaviours that a cell shows to be gone."""
    yield from (entry for entry in record.gone if entry.id)


def near_text(check: CheckRecord) -> str:
    """Return a phrase that names the behaviours which cover the cell of a violating check; empty where none does."""
    if not check.near:
        return ""
    entries = ", ".join(f"{each.id} ({each.where})" for each in check.near)
    under = f"; with {'them' if len(check.near) > 1 else 'it'} applied: {check.under}" if check.under else ""
    return f"declared for this cell, but not what was seen: {entries}{under}"
