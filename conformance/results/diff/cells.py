"""The cells of a run as a comparison of two runs asks for them. Nothing is judged here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from conformance.results.behaviours import BehaviourCounts
from conformance.results.record import OUTCOMES, CellRecord

#: The most that is shown of the first reason a cell gives, in characters.
_MOST_SAID: Final = 200


class Cells:
    """
    The cells of a run by (device, implementation) and case; of several lines for one, merged from elsewhere, the worst.

    `behaviours` counts what the cells say of the ledger's behaviours.
    """

    def __init__(self, records: Iterable[CellRecord]) -> None:
        self.found: dict[tuple[str, str], dict[str, CellRecord]] = {}
        self.behaviours = BehaviourCounts()
        for each in records:
            self.behaviours.add(each)
            process = self.found.setdefault((each.device, each.implementation), {})
            earlier = process.get(each.case)
            if earlier is None or rank(each.outcome) < rank(earlier.outcome):
                process[each.case] = each

    def get(self, device: str, implementation: str) -> dict[str, CellRecord]:
        """Return the cells of an implementation on a device, by case; none where there is none."""
        return self.found.get((device, implementation), {})

    def cases(self) -> set[str]:
        """Return all cases."""
        return set().union(*self.found.values())


def row_of(cell: CellRecord) -> str:
    """Return the row of the table, its file and line; the case where the record has none."""
    return cell.row or cell.case


def first_reason(cell: CellRecord) -> str:
    """Return the first line of the first reason for the outcome."""
    messages = (each.message for each in cell.checks if each.outcome == cell.outcome and each.message)
    return (cell.reason or next(messages, "")).split("\n", 1)[0][:_MOST_SAID]


def largest_margin(cell: CellRecord) -> float | None:
    """Return the largest margin of any check, None where there is none."""
    found = (float(each.margin) for each in cell.checks if each.margin is not None)
    return max((each for each in found if not math.isnan(each)), default=None)


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
