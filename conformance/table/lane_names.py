"""The names of the lanes. `make schema` writes this file from `conformance/reference/lanes/draws.py`."""

from __future__ import annotations

from typing import Final

LANES: Final = (
    "exact",
    "uniform",
    "wide",
    "cancelling",
    "special",
    "denormal",
    "literal",
    "shapes",
)
