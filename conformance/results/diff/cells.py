"""The cells of a run by device, implementation and case, for a comparison of two runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from conformance.results.behaviours import BehaviourCounts
from conformance.results.record import OUTCOMES, CellRecord

#: The longest first reason of a cell (characters); a longer one is cut.
_LONGEST_REASON: Final = 200


class Cells:
    """
    The cells of a run by (device, implementation) and case. Of several lines for one cell, the worst.

    `behaviours` has the counts of the ledger's behaviours.
    """

    def __init__(self, records: Iterable[CellRecord]) -> None:
        self.by_process: dict[tuple[str, str], dict[str, CellRecord]] = {}
        self.behaviours = BehaviourCounts()
        for each in records:
            self.behaviours.add(each)
            process = self.by_process.setdefault((each.device, each.implementation), {})
            earlier = process.get(each.case)
            if earlier is None or rank(each.outcome) < rank(earlier.outcome):
                process[each.case] = each

    def get(self, device: str, implementation: str) -> dict[str, CellRecord]:
        """Return the cells of an implementation on a device, by case; an empty mapping if the run has none."""
        return self.by_process.get((device, implementation), {})

    def cases(self) -> set[str]:
        """Return all cases."""
        return set().union(*self.by_process.values())


def row_of(cell: CellRecord) -> str:
    """Return the row of the table as `file:line`; the id of the case if the record has no row."""
    return cell.row or cell.case


def first_reason(cell: CellRecord) -> str:
    """Return the first line of the first reason for the outcome."""
    messages = (each.message for each in cell.checks if each.outcome == cell.outcome and each.message)
    return (cell.reason or next(messages, "")).split("\n", 1)[0][:_LONGEST_REASON]


def largest_margin(cell: CellRecord) -> float | None:
    """Return the largest margin of any check, None where there is none."""
    all_margins = (float(each.margin) for each in cell.checks if each.margin is not None)
    return max((each for each in all_margins if not math.isnan(each)), default=None)


def margins(cell: CellRecord) -> Iterator[tuple[str, float]]:
    """Yield the finite margins of a cell that conforms, by check."""
    if cell.outcome == "conforms":
        for each in cell.checks:
            if each.margin is not None and math.isfinite(float(each.margin)):
                yield each.check, float(each.margin)


def checks_with(cell: CellRecord, outcomes: Sequence[str]) -> set[str]:
    """Return the checks with one of some outcomes."""
    return {each.check for each in cell.checks if each.outcome in outcomes}


def rank(outcome: str) -> int:
    """Return the place of an outcome, worst first."""
    return OUTCOMES.index(outcome)
