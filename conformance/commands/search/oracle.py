"""
Runs a row on several implementations, in one process for each that stays up from row to row.

The answers are the suite's record of each cell, and the largest difference between two implementations.
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
from conformance.checks.cell import cell_of, has_cell
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
#: The limit of CPU time for one question (seconds). The questions of a search are small.
DEADLINE: Final = 30.0
#: The number of last rows of a process that are recorded.
MOST_PRECEDING: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The records of a case by implementation, and the largest difference of two outputs over the allowed error."""

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
        Return the largest margin of each kind of one implementation; none if it does not conform.

        The lane `denormal` has no margins: every value from 0 to the bound is right, and the bound itself is common.
        The lane `cancelling` has none of gradients if an activation's derivative jumps at 0: both sides are right.
        """
        record = self.records[implementation]
        if record.outcome != "conforms" or self.case.lane == "denormal":
            return {}
        margins_by_check = (check.facts.margins or {} for check in record.checks if check.facts is not None)
        jumps = self.case.lane == "cancelling" and any(each.activation in _JUMPING for each in self.case.layers)
        largest: dict[str, float] = {}
        for kind, margin in (pair for margins in margins_by_check for pair in margins.items()):
            if jumps and kind != "output":
                continue
            largest[kind] = max(largest.get(kind, 0.0), float(margin))
        return largest


class Oracle:
    """Runners of implementations on one device; a context manager that ends their processes."""

    def __init__(
        self, implementations: Sequence[Implementation], *, device: str = "cpu", behaviours: Sequence[Behaviour] = ()
    ) -> None:
        self._device = device
        resources.limit_blas_threads(1)
        processes = ProcessOptions(limits=Limits(question=DEADLINE), cache=DEFAULT_CACHE.expanduser())
        self._new_runner = functools.partial(Runner, behaviours=behaviours, processes=processes)
        self._runners = [(each, self._new_runner()) for each in implementations]
        #: Implementation -> the number of its process, and the rows that ran in it, by case.
        self._rows_of: dict[str, tuple[int, dict[str, Row]]] = {}

    def answers(self, row: Row) -> Answers:
        """
        Run a row and return the answers.

        Raises:
            TableError: the row has a fault.
        """
        case = read_rows([{"why": "Found by a search.", **row}], "search").cases[0]
        records: dict[str, CellRecord] = {}
        outputs: list[Array] = []
        for implementation, runner in self._runners:
            if not has_cell(case, implementation):
                continue
            record = runner.run(cell_of(case, implementation, self._device))
            records[implementation.name] = record
            number, process_rows = self._rows_of.get(implementation.name, (0, {}))
            process_rows = process_rows if number == runner.generation else {}
            self._rows_of[implementation.name] = (runner.generation, process_rows)
            process_rows.setdefault(case.id, row)
            if len(process_rows) > MOST_PRECEDING:
                del process_rows[next(iter(process_rows))]
            if record.outcome == "conforms" and runner.last_transcript is not None:
                output = runner.last_transcript.replies["output"].answer
                if isinstance(output, Output):
                    outputs.append(output.y)
        return Answers(case=case, records=records, disagreement=self._disagreement(case, outputs))

    def run_isolated(self, case: Case, name: str) -> CellRecord:
        """Return the record of a case on an implementation in a new process."""
        implementation = next(each for each, _ in self._runners if each.name == name)
        runner = self._new_runner()
        try:
            return runner.run(cell_of(case, implementation, self._device))
        finally:
            runner.close()

    def preceding_rows(self, name: str) -> tuple[Row, ...]:
        """Return the rows that ran in the current process of an implementation, at most the last `MOST_PRECEDING`."""
        _, process_rows = self._rows_of.get(name, (0, {}))
        return tuple(process_rows.values())

    def _disagreement(self, case: Case, outputs: Sequence[Array]) -> float:
        """Return the largest difference of two outputs that conform, over the allowed error."""
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
