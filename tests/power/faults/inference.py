"""Faults of the inferred output shapes."""

from __future__ import annotations

from conformance.adapters.protocol import Shape, Stack
from tests.power.faults.base import Planted, planted


@planted("inference")
class InfersFlattened(Planted):
    """The inner axes are inferred to be flattened away."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], shape[-1]) for shape in shapes]


@planted("inference")
class InfersInput(Planted):
    """The input's last axis is inferred for the output."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(*shape[:-1], stack.input_shape[-1]) for shape in shapes]


@planted("inference")
class InfersNoBatch(Planted):
    """The batch axis is missing from what is inferred."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [shape[1:] for shape in shapes]


@planted("inference")
class InfersBatchOfTwo(Planted):
    """The unknown batch is inferred to be 2."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(2, *shape[1:]) for shape in shapes]


@planted("inference")
class InfersFirstLayer(Planted):
    """Every layer is inferred to have the units of the first."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [shapes[0]] * len(shapes)


@planted("inference")
class InfersLastLayerOnly(Planted):
    """One shape is inferred for the whole stack."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return shapes[-1:]


@planted("inference")
class InfersUnknownPositions(Planted):
    """Inner axes are inferred to be unknown although they are known."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], *(None for _ in shape[1:-1]), shape[-1]) for shape in shapes]


@planted("inference")
class InfersAxesReversed(Planted):
    """The inner axes are inferred in reverse order."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [(shape[0], *shape[-2:0:-1], shape[-1]) for shape in shapes]


@planted("inference")
class InfersZeroAsUnknown(Planted):
    """An axis of zero is taken for an unknown one."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        return [tuple(axis or None for axis in shape) for shape in shapes]


@planted("inference")
class InferenceRaises(Planted):
    """Inference raises."""

    def shapes(self, shapes: list[Shape], stack: Stack) -> list[Shape]:
        raise RuntimeError("shapes are known after the call")
