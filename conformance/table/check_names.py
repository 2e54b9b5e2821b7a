"""The names of the checks. `make schema` writes this file from `conformance/checks/catalogue.py`."""

from __future__ import annotations

from typing import Final

#: Every check, in the order in which a cell reports them.
CHECKS: Final = (
    "output_shape",
    "parameters",
    "output_dtype",
    "placement",
    "output",
    "gradients",
    "repeatable",
    "weights_live",
    "positions_independent",
    "positions_permuted",
    "axes_merged",
    "weights_read_back",
    "linear_in_x",
    "memory_layouts",
    "state_independent",
    "operands_unchanged",
    "results_unchanged",
    "refusal",
)
#: The checks of the lane `shapes`, for which nothing is computed.
SHAPE_CHECKS: Final = (
    "output_shape",
    "parameters",
)
