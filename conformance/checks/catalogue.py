"""Every check, listed once. `make schema` writes the names to the table and to `cases/README.md`."""

from __future__ import annotations

from typing import Final

from conformance.checks.check import Check
from conformance.checks.gradients import GradientValues
from conformance.checks.linearity import LinearInX
from conformance.checks.memory_layouts import MemoryLayouts
from conformance.checks.outputs import OutputValues, Repeatable
from conformance.checks.positions import PositionsIndependent
from conformance.checks.rearrangement import AxesMerged, PositionsPermuted
from conformance.checks.refusal import Refused
from conformance.checks.shapes import OutputDtype, OutputShape, ParameterCounts, Placement
from conformance.checks.side_effects import OperandsUnchanged, ResultsUnchanged
from conformance.checks.state import StateIndependent
from conformance.checks.weights import WeightsLive, WeightsReadBack
from conformance.table.case import Case

#: The checks, in the order in which their steps are sent and in which a cell reports them.
CHECKS: Final[tuple[Check, ...]] = (
    OutputShape(),
    ParameterCounts(),
    OutputDtype(),
    Placement(),
    OutputValues(),
    GradientValues(),
    Repeatable(),
    WeightsLive(),
    PositionsIndependent(),
    PositionsPermuted(),
    AxesMerged(),
    WeightsReadBack(),
    LinearInX(),
    MemoryLayouts(),
    StateIndependent(),
    OperandsUnchanged(),
    ResultsUnchanged(),
    Refused(),
)


def checks_of(case: Case) -> tuple[Check, ...]:
    """Return the checks that apply to a case and that its row does not leave out."""
    return tuple(each for each in CHECKS if case.has_check(each.name) and each.applies(case))
