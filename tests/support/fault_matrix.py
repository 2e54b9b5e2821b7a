"""The questions of a table, put to adapters in this process: which checks are red, which cell catches a fault."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.checks.expectations import Expected
from conformance.checks.finding import VIOLATES
from conformance.checks.judgement import findings_of
from conformance.checks.question import Question
from conformance.checks.references import question
from conformance.reference.lanes.draws import NoDraw
from conformance.sandbox.execution import perform
from conformance.sandbox.steps import Transcript
from conformance.table.case import Case
from tests.support.numpy_adapter import NumPyAdapter

#: Where an adapter lives, for the check that a refusal comes from the framework and not from beside it.
IMPLEMENTATION: Final = Implementation(name="planted", adapter="tests.power.faults:planted", packages=("tests",))
#: Cells of more fed elements, or products, are not part of the matrix, and neither are those of the nightly tier.
MOST_FED: Final = 2**20
MOST_PRODUCTS: Final = 2**22


@dataclass(frozen=True, kw_only=True)
class CaseQuestion:
    """A case with its question, made once for every fault."""

    case: Case
    question: Question

    @property
    def cost(self) -> tuple[int, str]:
        """What sorts the cheapest first."""
        elements = math.prod(axis or 1 for axis in self.case.call_shape)
        kernels = sum(layer.units for layer in self.case.layers if isinstance(layer.units, int))
        return elements * max(kernels, 1), self.case.id


def questions_of(cases: Iterable[Case]) -> Mapping[str, CaseQuestion]:
    """Return the questions of the cases for which values exist, by the id of the case, cheapest first."""
    found = []
    for case in cases:
        elements = math.prod(axis or 1 for axis in case.call_shape)
        units = max((layer.units for layer in case.layers if isinstance(layer.units, int)), default=1)
        if case.tier == "nightly" or elements > MOST_FED or elements * units > MOST_PRODUCTS:
            continue
        try:
            own = question(case, "cpu")
        except (NoDraw, NotImplementedError):
            continue
        found.append(CaseQuestion(case=case, question=own))
    return {each.case.id: each for each in sorted(found, key=lambda each: each.cost)}


def red_checks(adapter: NumPyAdapter, item: CaseQuestion) -> frozenset[str]:
    """Return the checks of a case that an adapter violates."""
    cell = Cell(case=item.case, implementation=IMPLEMENTATION, device="cpu")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        replies = {reply.label: copy.deepcopy(reply) for reply in perform(adapter, item.question.steps)}
        found = findings_of(cell, item.question, Transcript(replies=replies), Expected(item.case, item.question))
        return frozenset(each.check for each in found if each.outcome == VIOLATES)


def first_killer(
    make: Callable[[], NumPyAdapter], cells: Mapping[str, CaseQuestion], likely: Sequence[str]
) -> str | None:
    """Return the first cell that catches a fault, the likely ones tried first; None where none does."""
    ids = [each for each in likely if each in cells]
    for identity in (*ids, *(each for each in cells if each not in ids)):
        if red_checks(make(), cells[identity]):
            return identity
    return None
