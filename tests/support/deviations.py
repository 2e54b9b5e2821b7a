"""Deviations from the rule by the names of the fields of the ledger, and draws on which they show."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import numpy as np

from conformance.reference import Deviation, Reference, answer
from conformance.reference.deviation import ActivationDeviation
from conformance.reference.draw import Draw
from conformance.reference.enclosure import Enclosure
from conformance.reference.formats import FORMATS

_OF_ACTIVATION: Final = {each.name for each in fields(ActivationDeviation)}
#: The fields of the ledger that make a deviation.
FIELDS: Final = {each.name for each in fields(Deviation)} - {"activation"} | _OF_ACTIVATION


def deviation(**values: Any) -> Deviation:
    """Return the deviation with these values of the fields of the ledger."""
    activation = {name: values.pop(name) for name in [*values] if name in _OF_ACTIVATION}
    return Deviation(activation=ActivationDeviation(**activation), **values)


Array = np.ndarray
#: The unit roundoff of float32.
U32 = 2.0**-24


def drawn(*, dtype: str = "float32", layers: int = 1, exact: bool = False, scale: float = 1.0) -> Draw:
    """Return a draw of square layers whose numbers are rounded in every shorter format, unless it is exact."""
    form = FORMATS[dtype].dtype
    numbers = np.random.default_rng(7)

    def some(*shape: int) -> Array:
        drawn = numbers.integers(1, 5, shape) if exact else numbers.uniform(0.5, 1.5, shape) * scale
        return drawn.astype(form)

    return Draw(
        name="",
        x=some(6, 3),
        kernels=tuple(some(3, 3) for _ in range(layers)),
        biases=tuple(some(3) for _ in range(layers)),
        dy=some(6, 3),
        exact=exact,
    )


def wide(array: Array | None) -> Array:
    assert array is not None
    return array.astype(np.float64)


def cast(array: Array | None, dtype: str) -> Array:
    assert array is not None
    return wide(array.astype(FORMATS[dtype].dtype))


def results(reference: Reference) -> dict[str, Enclosure]:
    ((kernel, bias),) = reference.layers
    assert bias is not None
    return {"output": reference.y, "dx": reference.dx, "dW": kernel, "db": bias}


def linear(draw: Draw, dtype: str = "float32", **fields: Any) -> dict[str, Enclosure]:
    return results(answer(draw, ["linear"], dtype, [deviation(**fields)]))
