"""Enclosures of outputs that are parts of another output, or have its elements in another order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from conformance.adapters.protocol import Array
from conformance.reference.enclosure import Enclosure

#: Permutes or reshapes the axes before the last. It is the same for an input and its output.
Rearrangement = Callable[[Array], Array]


def moved_enclosure(enclosure: Enclosure, move: Rearrangement) -> Enclosure:
    """Return the enclosure of an output whose axes are rearranged, each element with its own bounds alone."""
    tail = None if enclosure.tail is None else move(enclosure.tail)
    return Enclosure(exact=move(enclosure.exact), allowed=move(enclosure.allowed), tail=tail)


def position_enclosure(enclosure: Enclosure, positions: Sequence[int]) -> Enclosure:
    """Return the enclosure of some positions as a matrix. Positions count over the flattened leading axes."""
    flat = flattened(enclosure)
    chosen = list(positions)
    return Enclosure(exact=flat.exact[chosen], allowed=flat.allowed[chosen])


def flattened(enclosure: Enclosure) -> Enclosure:
    """Return an enclosure in the shape (positions, units), also if it is empty."""
    shape = enclosure.exact.shape
    return enclosure.reshape((math.prod(shape[:-1]), shape[-1]))
