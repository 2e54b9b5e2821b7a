"""
What a planted fault is: the exact NumPy adapter with one thing wrong, and the list of all of them by family.

A fault is a class without arguments, so that `conformance run -i tests.power.faults.wiring:SwapsTwoUnits` runs one. Its
docstring says in a few words what is wrong, and is what `docs/power.md` prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from tests.support.numpy_adapter import Honest, NumPyAdapter


class Planted(Honest, NumPyAdapter):
    """An adapter that is its own fault."""

    family: ClassVar[str] = ""
    open: ClassVar[str | None] = None
    """Why no cell of the table can catch it yet; None for a fault that has to be caught."""

    def __init__(self) -> None:
        super().__init__(self)


class Sized(Planted):
    """A fault of a size: `sizes` runs from the grossest to the finest that is measured, the first is the default."""

    sizes: ClassVar[tuple[float, ...]] = ()
    meaning: ClassVar[str] = ""

    def __init__(self, size: float | None = None) -> None:
        super().__init__()
        self.size = self.sizes[0] if size is None else size


#: Every planted fault, by the name of its class.
PLANTED: dict[str, type[Planted]] = {}
Kind = TypeVar("Kind", bound=type[Planted])


def planted(family: str, *, open_because: str | None = None) -> Callable[[Kind], Kind]:
    """Put a class on the list of faults."""

    def register(kind: Kind) -> Kind:
        if kind.__name__ in PLANTED:
            raise ValueError(f"two faults are named {kind.__name__}")
        kind.family, kind.open = family, open_because
        PLANTED[kind.__name__] = kind
        return kind

    return register


def powers(base: float, first: int, last: int) -> tuple[float, ...]:
    """Return base**first, ..., base**last, up or down."""
    step = 1 if last >= first else -1
    return tuple(base**exponent for exponent in range(first, last + step, step))
