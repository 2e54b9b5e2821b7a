"""
Asks a row of several implementations, a process for each that stays up from row to row.

What comes back is the suite's own record of each cell, and how far the implementations lie apart. This module searches
nothing and judges nothing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np

from conformance.adapters.protocol import Array
from conformance.adapters.registry import Implementation
from conformance.checks.cell import cell_of, concerns
from conformance.checks.references import question
from conformance.commands.search.strategies import Row
from conformance.ledger import Behaviour
from conformance.reference.lanes.draws import NoDraw
from conformance.results import CellRecord
from conformance.run import resources
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import DEFAULT_CACHE, ProcessOptions
from conformance.sandbox.sandbox import Limits
from conformance.sandbox.steps import Output
from conformance.table.case import Case
from conformance.table.loader import read_rows

#: Activations whose derivative jumps at 0.
_JUMPING: Final = frozenset({"relu", "leaky_relu", "selu"})
#: CPU time for a question of a search, which is small (seconds).
DEADLINE: Final = 30.0
#: Rows that are remembered of a process, the last of those it was asked.
MOST_BEFORE: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The records of a case by implementation, and the largest difference between two outputs over the allowed."""

    case: Case
    records: Mapping[str, CellRecord]
    disagreement: float

    @property
    def margins(self) -> Mapping[str, float]:
        """The largest margin of each kind (`output`, `dx`, `dW`, `db`) over the implementations that conform."""
        largest: dict[str, float] = {}
        for name in self.records:
            for kind, margin in self.margins_of(name).items():
                largest[kind] = max(largest.get(kind, 0.0), margin)
        return largest

    def margins_of(self, implementation: str) -> Mapping[str, float]:
        """
        Return the largest margin of each kind of one implementation; none where it does not conform.

        None either on the lane `denormal`, where all from 0 to the bound is right and the bound itself is common; nor
        of gradients where `cancelling` puts a layer on the jump of a derivative, and either side of it is right.
        """
        record = self.records[implementation]
        if record.outcome != "conforms" or self.case.lane == "denormal":
            return {}
        given = (check.facts.margins or {} for check in record.checks if check.facts is not None)
        jumps = self.case.lane == "cancelling" and any(each.activation in _JUMPING for each in self.case.layers)
        largest: dict[str, float] = {}
        for kind, margin in (pair for margins in given for pair in margins.items()):
            if jumps and kind != "output":
                continue
            largest[kind] = max(largest.get(kind, 0.0), float(margin))
        return largest


class Asking:
    """Runners of implementations on one device, under some ledger; a context manager that ends their processes."""

    def __init__(
        self, implementations: Sequence[Implementation], *, device: str = "cpu", behaviours: Sequence[Behaviour] = ()
    ) -> None:
        self._device = device
        resources.limit_blas_threads(1)
        processes = ProcessOptions(limits=Limits(question=DEADLINE), cache=DEFAULT_CACHE.expanduser())
        self._make = functools.partial(Runner, behaviours=behaviours, processes=processes)
        self._runners = [(each, self._make()) for each in implementations]
        #: Implementation -> the number of its process, and the rows that one was asked, by case.
        self._before: dict[str, tuple[int, dict[str, Row]]] = {}

    def ask(self, row: Row) -> Answers:
        """
        Return what came of a row.

        Raises:
            TableError: the row says what no row may say.
        """
        case = read_rows([{"why": "Found by a search.", **row}], "search").cases[0]
        records: dict[str, CellRecord] = {}
        outputs: list[Array] = []
        for implementation, runner in self._runners:
            if not concerns(case, implementation):
                continue
            record = runner.run(cell_of(case, implementation, self._device))
            records[implementation.name] = record
            number, asked = self._before.get(implementation.name, (0, {}))
            asked = asked if number == runner.generation else {}
            self._before[implementation.name] = (runner.generation, asked)
            asked.setdefault(case.id, row)
            if len(asked) > MOST_BEFORE:
                del asked[next(iter(asked))]
            if record.outcome == "conforms" and runner.last_transcript is not None:
                answered = runner.last_transcript.replies["output"].answer
                if isinstance(answered, Output):
                    outputs.append(answered.y)
        return Answers(case=case, records=records, disagreement=self._apart(case, outputs))

    def alone(self, case: Case, name: str) -> CellRecord:
        """Return the record of a case by itself, of an implementation in a process that was asked nothing else."""
        implementation = next(each for each, _ in self._runners if each.name == name)
        runner = self._make()
        try:
            return runner.run(cell_of(case, implementation, self._device))
        finally:
            runner.close()

    def before(self, name: str) -> tuple[Row, ...]:
        """Return the rows that the process which an implementation has now was asked, the oldest of many left out."""
        _, asked = self._before.get(name, (0, {}))
        return tuple(asked.values())

    def _apart(self, case: Case, outputs: Sequence[Array]) -> float:
        """Return the largest difference between two outputs that conform, over what each of them is allowed."""
        if len(outputs) < 2:
            return 0.0
        try:
            main = question(case, self._device).main
        except (NoDraw, NotImplementedError):
            return 0.0
        if main is None:
            return 0.0
        wide = [each.astype(np.float64) for each in outputs]
        largest = 0.0
        with np.errstate(all="ignore"):
            for one, other in itertools.combinations(wide, 2):
                ratio = np.abs(one - other) / main.y.allowed
                largest = max(largest, float(np.nanmax(np.where(main.y.allowed > 0.0, ratio, 0.0), initial=0.0)))
        return min(largest, 1e6)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, runner in self._runners:
            runner.close()
