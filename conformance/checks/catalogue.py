"""Every check, listed once."""

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
from conformance.checks.weights import WeightsLive, WeightsReadBack
from conformance.table.case import CHECKS as NAMES
from conformance.table.case import Case

#: The checks, in the order in which their steps are sent.
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
    WeightsReadBack(),
    LinearInX(),
    PositionsPermuted(),
    AxesMerged(),
    MemoryLayouts(),
    Refused(),
)
#: The checks in the order in which a cell reports them.
_REPORTED: Final = sorted(CHECKS, key=lambda each: NAMES.index(each.name))


def checks_of(case: Case) -> tuple[Check, ...]:
    """Return the checks that apply to a case and that its row asks for, in the order in which their steps are sent."""
    return tuple(each for each in CHECKS if case.asks(each.name) and each.applies(case))


def reported_checks(case: Case) -> tuple[Check, ...]:
    """Return the checks of a case in the order in which a cell reports them."""
    return tuple(each for each in _REPORTED if case.asks(each.name) and each.applies(case))
