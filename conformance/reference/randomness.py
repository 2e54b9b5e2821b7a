"""
Which sums of a stack have terms with independent random signs, on the lane `uniform`.

There the kernels, the biases and dy are independent of one another and of x, and each number has either sign with the
same probability. `docs/numerics.md` has the reasons in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conformance.reference.draw import Draw

#: The activations of which each output depends on all units of a position.
_OF_ALL_UNITS: Final = ("softmax", "log_softmax")


@dataclass(frozen=True, kw_only=True, slots=True)
class Randomness:
    """What is random about the terms of the sums of a product, given its left operand."""

    #: The terms of each sum have independent random signs.
    signs: bool = False
    #: The numbers of the right operand are drawn uniformly from (-half_width, half_width), independently.
    half_width: float | None = None


#: The terms may depend on one another in any way.
NOT_RANDOM: Final = Randomness()


def of_features(draw: Draw, layer: int) -> Randomness:
    """Return what is random in the sums over features, a·W: a does not depend on W."""
    if draw.half_widths is None:
        return NOT_RANDOM
    return Randomness(signs=True, half_width=draw.half_widths.kernels[layer])


def of_positions(draw: Draw, activations: Sequence[str]) -> Randomness:
    """
    Return what is random in the sums over positions of any layer, aᵀ·dz and the sum of dz.

    dz at a position is a linear function of dy at that position, so that the sign of dy there is that of the term.
    """
    if draw.half_widths is None:
        return NOT_RANDOM
    is_dy = list(activations) == ["linear"]
    return Randomness(signs=True, half_width=draw.half_widths.dy if is_dy else None)


def of_units(draw: Draw, activations: Sequence[str], layer: int) -> Randomness:
    """
    Return what is random in the sums over units, dz·Wᵀ.

    - If this layer and those after it are linear, dz does not depend on W.
    - In the last layer, with an elementwise activation, the sign of each dz is that of its dy, or the opposite one.
    - Elsewhere the slopes of later layers depend on W: nothing is proven.
    """
    if draw.half_widths is None:
        return NOT_RANDOM
    if set(activations[layer:]) == {"linear"}:
        return Randomness(signs=True, half_width=draw.half_widths.kernels[layer])
    is_last = layer == len(activations) - 1
    return Randomness(signs=is_last and activations[layer] not in _OF_ALL_UNITS)
