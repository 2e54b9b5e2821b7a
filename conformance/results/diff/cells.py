"""The cells of a run as a comparison of two runs asks for them. Nothing is judged here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conformance.results import OUTCOMES, Record
from conformance.results.behaviours import BehaviourCounts

#: The most that is shown of the first reason a cell gives, in characters.
_MOST_SAID: Final = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its record in a results file."""

    record: Record

    @property
    def outcome(self) -> str:
        """The outcome."""
        return str(self.record["outcome"])

    @property
    def row(self) -> str:
        """The row of the table, its file and line; the case where the record has none."""
        return str(self.record.get("row") or self.record["case"])

    @property
    def dtype(self) -> str:
        """The dtype of the question, empty where the record has none."""
        return str((self.record.get("question") or {}).get("dtype", ""))

    @property
    def said(self) -> str:
        """The first line of the first reason for the outcome."""
        messages = (each.get("message") for each in self._checks if each.get("outcome") == self.outcome)
        said = str(self.record.get("reason") or next((each for each in messages if each), ""))
        return said.split("\n", 1)[0][:_MOST_SAID]

    @property
    def margin(self) -> float | None:
        """The largest margin of any check."""
        found = (_number(each.get("margin")) for each in self._checks)
        return max((each for each in found if not math.isnan(each)), default=None)

    def margins(self) -> Iterator[tuple[str, float]]:
        """Yield the finite margins of a cell that conforms, by check."""
        if self.outcome == "conforms":
            for each in self._checks:
                margin = _number(each.get("margin"))
                if math.isfinite(margin):
                    yield str(each.get("check")), margin

    def with_outcome(self, outcomes: Sequence[str]) -> set[str]:
        """Return the checks with one of some outcomes."""
        return {str(each.get("check")) for each in self._checks if each.get("outcome") in outcomes}

    @property
    def _checks(self) -> Sequence[dict[str, Any]]:
        checks: Sequence[dict[str, Any]] = self.record["checks"]
        return checks


class Cells:
    """
    The cells of a run by (device, implementation) and case; of several lines for one, merged from elsewhere, the worst.

    `behaviours` counts what the cells say of the ledger's behaviours.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.found: dict[tuple[str, str], dict[str, Cell]] = {}
        self.behaviours = BehaviourCounts()
        for each in records:
            self.behaviours.add(each)
            process = self.found.setdefault((str(each["device"]), str(each["implementation"])), {})
            case = str(each["case"])
            earlier = process.get(case)
            if earlier is None or rank(str(each["outcome"])) < rank(earlier.outcome):
                process[case] = Cell(each)

    def get(self, device: str, implementation: str) -> dict[str, Cell]:
        """Return the cells of an implementation on a device, by case; none where there is none."""
        return self.found.get((device, implementation), {})

    def cases(self) -> set[str]:
        """Return all cases."""
        return set().union(*self.found.values())


def rank(outcome: str) -> int:
    """Return the place of an outcome, worst first."""
    return OUTCOMES.index(outcome)


def _number(content: object) -> float:
    """Return a margin of a results file, a number or the text of one that is not finite; NaN for all else."""
    try:
        return float(content) if isinstance(content, int | float | str) else math.nan
    except ValueError:
        return math.nan
