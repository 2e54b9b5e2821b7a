"""
The cells of a run that a page counts and does not show one by one, in numbers.

Data alone, which every part of the page may read.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from conformance.results import Run

Process = tuple[str, str]
"""Implementation and device, as a page names them."""


@dataclass(kw_only=True)
class Beside:
    """
    What is known of cells that are not shown, by implementation and device.

    `kinds` are by the name of a kind, `seconds` those spent in cells, `margins` those of conforming cells by dtype, in
    float64. `cases` are those of all cells of the run, shown or not.
    """

    kinds: dict[Process, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    seconds: dict[Process, float] = field(default_factory=lambda: defaultdict(float))
    margins: dict[tuple[Process, str], array[float]] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    cases: dict[Process, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def total(self) -> Counter[str]:
        """How many cells there are of each kind."""
        return sum(self.kinds.values(), Counter())

    def worst(self, process: Process) -> list[float]:
        """Return the margins of the conforming cells of an implementation on a device."""
        return [margin for (each, _), found in self.margins.items() if each == process for margin in found]


@dataclass(frozen=True, kw_only=True)
class CondensedRun(Run):
    """A run some of whose cells are not among `cells`: `beside` has their numbers."""

    beside: Beside


NONE: Final = Beside()


def beside(run: Run) -> Beside:
    """Return the numbers of the cells of a run that are not among its `cells`."""
    return run.beside if isinstance(run, CondensedRun) else NONE


def present(run: Run) -> int:
    """Return how many cells of a run have a line, shown or not."""
    return len(run.cells) + beside(run).total.total()
