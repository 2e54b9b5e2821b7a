"""
What a comparison of two runs needs of a cell, in a few hundred bytes: files of a million cells are compared in memory.

Texts that many cells share are held once, and margins as plain numbers. Nothing is judged here.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from conformance.results import OUTCOMES, Record
from conformance.results.behaviours import BehaviourCounts

#: The most that is kept of the first reason a cell gives, in characters.
_MOST_SAID: Final = 200

Marks = tuple[tuple[str, str], ...]
"""Check and outcome, in the order of a record."""
_Shared = TypeVar("_Shared", str, Marks)


@dataclass(frozen=True, slots=True)
class Brief:
    """
    One cell.

    `row` stands for the row of the table, its file and line, or the case where the record has none. `said` is the first
    reason for the outcome. `largest` holds the margins of `marks` one by one as float64, NaN where there is none.
    """

    outcome: str
    row: str
    dtype: str
    said: str
    marks: Marks
    largest: bytes

    @property
    def margin(self) -> float | None:
        """The largest margin of any check."""
        return max((each for each in array("d", self.largest) if not math.isnan(each)), default=None)

    def margins(self) -> Iterator[tuple[str, float]]:
        """Yield the finite margins of a cell that conforms, by check."""
        if self.outcome == "conforms":
            for (check, _), margin in zip(self.marks, array("d", self.largest), strict=True):
                if math.isfinite(margin):
                    yield check, margin

    def with_outcome(self, outcomes: Sequence[str]) -> set[str]:
        """Return the checks with one of some outcomes."""
        return {check for check, outcome in self.marks if outcome in outcomes}


class Briefs:
    """
    The cells of a run by (device, implementation) and case; of several lines for one, merged from elsewhere, the worst.

    `shared` holds the texts of cells, so that those of another run can share them. `behaviours` counts what the cells
    say of the ledger's behaviours.
    """

    def __init__(self, cells: Iterable[Record], shared: dict[str | Marks, str | Marks] | None = None) -> None:
        self.shared = {} if shared is None else shared
        self.found: dict[tuple[str, str], dict[str, Brief]] = {}
        self.behaviours = BehaviourCounts()
        for each in cells:
            self.behaviours.add(each)
            process = self.found.setdefault((str(each["device"]), str(each["implementation"])), {})
            case = self._one(str(each["case"]))
            earlier = process.get(case)
            if earlier is None or rank(str(each["outcome"])) < rank(earlier.outcome):
                process[case] = self._brief(each, case)

    def get(self, device: str, implementation: str) -> dict[str, Brief]:
        """Return the cells of an implementation on a device, by case; none where there is none."""
        return self.found.get((device, implementation), {})

    def cases(self) -> set[str]:
        """Return all cases."""
        return set().union(*self.found.values())

    def _brief(self, record: Record, case: str) -> Brief:
        checks = record["checks"]
        outcome = self._one(str(record["outcome"]))
        messages = (each.get("message") for each in checks if each.get("outcome") == outcome)
        said = str(record.get("reason") or next((each for each in messages if each), ""))
        return Brief(
            outcome=outcome,
            row=self._one(str(record.get("row") or case)),
            dtype=self._one(str((record.get("question") or {}).get("dtype", ""))),
            said=self._one(said.split("\n", 1)[0][:_MOST_SAID]),
            marks=self._one(tuple([(str(each.get("check")), str(each.get("outcome"))) for each in checks])),
            largest=array("d", [_number(each.get("margin")) for each in checks]).tobytes(),
        )

    def _one(self, content: _Shared) -> _Shared:
        """Return a text, or what is made of texts, that is equal and may be another cell's."""
        return cast(_Shared, self.shared.setdefault(content, content))


def rank(outcome: str) -> int:
    """Return the place of an outcome, worst first."""
    return OUTCOMES.index(outcome)


def _number(content: object) -> float:
    """Return a margin of a results file, a number or the text of one that is not finite; NaN for all else."""
    try:
        return float(content) if isinstance(content, int | float | str) else math.nan
    except ValueError:
        return math.nan
