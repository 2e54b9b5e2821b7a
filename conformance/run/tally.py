"""
The counts of a run, for its summary and its exit code, in memory that does not grow with cells.

Of red cells the first few of each implementation are kept, of slow cells the slowest, of all others only counts. The
names of all cells are kept as well, as pytest does.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Final

from conformance.results import FAILING, UNJUDGED, CellRecord
from conformance.results.behaviours import BehaviourCounts
from conformance.results.record import CellName

SLOWEST: Final = 5
#: The most red cells of each implementation: as many as a summary lists altogether.
MOST_FAILING: Final = 13
#: The most different reasons for cells that were not judged. Cells with further reasons are counted together.
REASONS: Final = 500
OTHER_REASONS: Final = "other reasons; see the results file"


class Tally:
    """Counts of a run's cells, and a few of the cells."""

    def __init__(self, records: Iterable[CellRecord] = ()) -> None:
        #: (device, implementation) -> outcome -> cells.
        self.counted: dict[tuple[str, str], Counter[str]] = {}
        #: (outcome, implementation, reason) -> cells, of the outcomes `not_run` and `unsupported`.
        self.unjudged: Counter[tuple[str, str, str]] = Counter()
        #: The first `MOST_FAILING` red cells of each implementation, in the order in which they came.
        self.failing: list[CellRecord] = []
        #: What cells show of the ledger's behaviours.
        self.behaviours = BehaviourCounts()
        self._has_record: dict[CellName, bool] = {}
        self._slowest: list[tuple[float, int, CellName]] = []
        self._red: Counter[str] = Counter()
        self._number = 0
        for each in records:
            self.take(each)

    def expect(self, cells: Iterable[CellName]) -> None:
        """Record the names of the cells of the run."""
        self._has_record = dict.fromkeys(cells, False)

    @property
    def expected(self) -> int:
        """How many cells there are, with or without a record."""
        return len(self._has_record)

    @property
    def missing(self) -> list[CellName]:
        """The cells without a record, in the order of the run."""
        return [cell for cell, has_record in self._has_record.items() if not has_record]

    @property
    def total(self) -> Counter[str]:
        """How many cells have each outcome."""
        return sum(self.counted.values(), Counter())

    @property
    def slowest(self) -> list[tuple[CellName, float]]:
        """The slowest cells, slowest first, with their seconds."""
        return [(name, seconds) for seconds, _, name in sorted(self._slowest, reverse=True)]

    def outcomes_of(self, implementation: str) -> frozenset[str]:
        """Return the outcomes that cells of an implementation have, on any device."""
        counts = (each for (_, name), each in self.counted.items() if name == implementation)
        return frozenset(outcome for each in counts for outcome in each)

    def reason_of(self, implementation: str) -> str | None:
        """Return the most frequent reason for unjudged cells of an implementation, None if there are none."""
        reasons = Counter({key[2]: count for key, count in self.unjudged.items() if key[1] == implementation})
        return reasons.most_common(1)[0][0] if reasons else None

    @property
    def has_run(self) -> bool:
        """Whether any cell was judged."""
        return any(outcome not in UNJUDGED for outcome in self.total)

    def has(self, cell: CellName) -> bool:
        """Return whether the record of a cell was taken."""
        return self._has_record.get(cell, False)

    def take(self, record: CellRecord) -> None:
        """Take the record of a cell."""
        cell, outcome = record.cell, record.outcome
        implementation = cell.implementation
        self._has_record[cell] = True
        counts = self.counted.setdefault((cell.device, implementation), Counter())
        counts[outcome] += 1
        self.behaviours.add(record)
        if outcome in FAILING:
            self._red[implementation] += 1
            if self._red[implementation] <= MOST_FAILING:
                self.failing.append(record)
        if outcome in UNJUDGED:
            reason = (outcome, implementation, record.reason)
            is_separate = reason in self.unjudged or len(self.unjudged) < REASONS
            self.unjudged[reason if is_separate else (outcome, implementation, OTHER_REASONS)] += 1
        self._number -= 1  # of equally slow cells the first counts as slower
        found = (record.seconds, self._number, cell)
        (heapq.heappush if len(self._slowest) < SLOWEST else heapq.heappushpop)(self._slowest, found)
