"""
What a run has come to so far, in the little that its summary and its exit code need: memory that no cell adds to.

Records are taken one by one and forgotten: of red cells the first few of each implementation are kept, of slow ones the
slowest, of all others a number. Only the names of the cells to come are held, one of each, as collecting them does.
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
#: Red cells kept of each implementation: as many as a summary names of all together.
KEPT: Final = 13
#: Different reasons for which cells were not run; what has another beyond these is counted with it.
REASONS: Final = 500
OTHER_REASONS: Final = "other reasons, which the results file has"


class Tally:
    """
    Counts of a run's cells, with a few of them.

    `counted` holds for (device, implementation) how many cells have each outcome, `unjudged` how many cells of an
    implementation are `not_run` or `unsupported` for a reason, `failing` the first `KEPT` red cells of each
    implementation in the order in which they came. `behaviours` counts what cells say of the ledger's behaviours.
    """

    def __init__(self, records: Iterable[CellRecord] = ()) -> None:
        self.counted: dict[tuple[str, str], Counter[str]] = {}
        #: (outcome, implementation, reason) -> cells.
        self.unjudged: Counter[tuple[str, str, str]] = Counter()
        self.failing: list[CellRecord] = []
        self.behaviours = BehaviourCounts()
        self._is_taken: dict[CellName, bool] = {}
        self._slowest: list[tuple[float, int, CellName]] = []
        self._red: Counter[str] = Counter()
        self._number = 0
        for each in records:
            self.take(each)

    def expect(self, cells: Iterable[CellName]) -> None:
        """Take note of the cells to come."""
        self._is_taken = dict.fromkeys(cells, False)

    @property
    def expected(self) -> int:
        """How many cells there are, with or without a record."""
        return len(self._is_taken)

    @property
    def missing(self) -> list[CellName]:
        """The cells without a record, in the order in which they were announced."""
        return [cell for cell, taken in self._is_taken.items() if not taken]

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
        """Return why most of the cells of an implementation that were not judged were not; None where it has none."""
        reasons = Counter({key[2]: count for key, count in self.unjudged.items() if key[1] == implementation})
        return reasons.most_common(1)[0][0] if reasons else None

    @property
    def has_run(self) -> bool:
        """Whether any cell was judged."""
        return any(outcome not in UNJUDGED for outcome in self.total)

    def has(self, cell: CellName) -> bool:
        """Return whether the record of a cell was taken."""
        return self._is_taken.get(cell, False)

    def take(self, record: CellRecord) -> None:
        """Take the record of a cell."""
        cell, outcome = record.cell, record.outcome
        implementation = cell.implementation
        self._is_taken[cell] = True
        counts = self.counted.setdefault((cell.device, implementation), Counter())
        counts[outcome] += 1
        self.behaviours.add(record)
        if outcome in FAILING:
            self._red[implementation] += 1
            if self._red[implementation] <= KEPT:
                self.failing.append(record)
        if outcome in UNJUDGED:
            reason = (outcome, implementation, record.reason)
            known = reason in self.unjudged or len(self.unjudged) < REASONS
            self.unjudged[reason if known else (outcome, implementation, OTHER_REASONS)] += 1
        self._number -= 1  # of equally slow ones the first counts as slower
        found = (record.seconds, self._number, cell)
        (heapq.heappush if len(self._slowest) < SLOWEST else heapq.heappushpop)(self._slowest, found)
