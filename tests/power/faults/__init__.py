"""
Planted faults: exact NumPy adapters with one thing wrong each, by which the power of the table is measured.

`tests.support.faulty_adapters` has the exact adapter and the faults that one check each must catch.
This package has the other faults. `EVERY` names them all, with their families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.power.faults import (
    arithmetic,
    backward,
    biases,
    extremes,
    inference,
    inputs,
    layouts,
    places,
    process_state,
    reporting,
    side_effects,
    small_errors,
    state,
    wiring,
)
from tests.power.faults.base import PLANTED, Planted, Sized
from tests.support.faulty_adapters import FAULTS
from tests.support.numpy_adapter import Honest, NumPyAdapter

__all__ = ["EVERY", "PLANTED", "Fault", "Planted", "Sized"]
#: Importing a module puts its faults on the list.
_MODULES: Final = (
    arithmetic,
    backward,
    biases,
    extremes,
    inference,
    inputs,
    layouts,
    places,
    process_state,
    reporting,
    side_effects,
    small_errors,
    state,
    wiring,
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault as the kill matrix needs it: how to make its adapter, its family, what is wrong, and why it is open."""

    name: str
    family: str
    words: str
    make: Callable[[], NumPyAdapter]
    open: str | None = None
    sized: type[Sized] | None = None


#: The faults of `tests.support.faulty_adapters`, with their families and in words, except those that end the process.
_FIRST: Final[Mapping[str, tuple[str, str]]] = {
    "TransposedKernel": ("wiring", "A square kernel is used transposed."),
    "DropsBias": ("bias", "No bias is added."),
    "AddsBiasTwice": ("bias", "The bias is added twice."),
    "BiasOnWrongAxis": ("bias", "The bias is added along the first inner axis where that has its length."),
    "FlattensInput": ("axis", "The input is flattened before the product."),
    "ContractsWrongAxis": ("axis", "The axis before the last is contracted where it has the right length."),
    "DropsLastFeature": ("wiring", "The last feature has no part in the sum."),
    "Float16Inside": ("operand precision", "Operands are read as float16."),
    "Tf32Inside": ("operand precision", "Operands are read as TF32."),
    "Bfloat16Inside": ("operand precision", "Operands are read as bfloat16."),
    "StaleWeights": ("state", "Replaced weights are not used."),
    "GradientOfSum": ("gradient", "The gradient that comes in is taken to be 1."),
    "WrongCount": ("counting", "Biases are not reported."),
    "NotTrainable": ("counting", "No parameter is trainable."),
    "WrongInferredShape": ("inference", "The unknown batch is inferred to be 1."),
    "NaNOutput": ("places", "The last element of the output is NaN."),
    "Unrepeatable": ("state", "Every third call is off by 1."),
    "MixesPositions": ("axis", "Each position adds the output of its neighbour."),
    "Float64Output": ("dtype", "The output is given out as float64."),
    "Raises": ("refusal", "Every call raises."),
}


def _first(name: str) -> Fault:
    family, words = _FIRST[name]
    kind: type[Honest] = FAULTS[name]
    return Fault(name=name, family=family, words=words, make=lambda: NumPyAdapter(kind()))


def _planted(kind: type[Planted]) -> Fault:
    return Fault(
        name=kind.__name__,
        family=kind.family,
        words=(kind.__doc__ or "").strip(),
        make=kind,
        open=kind.open,
        sized=kind if issubclass(kind, Sized) else None,
    )


#: Every fault by name: those of `tests.support.faulty_adapters` first, then those of this package.
EVERY: Final[Mapping[str, Fault]] = {
    **{name: _first(name) for name in _FIRST},
    **{name: _planted(kind) for name, kind in PLANTED.items()},
}
