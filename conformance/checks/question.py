"""
A question: the steps of a case, each with what its answer is compared with.

`conformance.checks.composition` makes the question of a case, `conformance.checks.references` adds the references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Self, TypeVar

import numpy as np

from conformance.adapters.protocol import Array, Dense, Stack
from conformance.checks.rounding_variants import Variants
from conformance.reference import Reference
from conformance.reference.enclosure import Enclosure
from conformance.reference.lanes.draws import Draw
from conformance.sandbox.steps import Step
from conformance.table.case import Case

#: The step whose output is the main one: the outputs of derived probes follow from it.
MAIN: Final = "output"
#: The step with another number of samples.
OTHER_BATCH: Final = "output, other batch"
#: Calls on the same buffer that `repeatable` compares.
REPEATED: Final = (MAIN, "output again", "output once more")

#: An index of an element of an array.
Index = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """
    One step of a question, with what its answer is compared with.

    This class is for steps that compute nothing. The steps that a check adds are `ReferencedProbe`s or `DerivedProbe`s.
    """

    step: Step
    #: The input of the step and the weights of its model at that step. None if it computes nothing.
    draw: Draw | None = None
    #: The exact answer. None before `conformance.checks.references` added it, and if there is none.
    reference: Reference | None = None
    #: The dtype of the layers of the step's model, None for that of the case.
    dtype: str | None = None
    #: Whether the step comes after the weights of the main model were replaced.
    after_new_weights: bool = False

    @property
    def label(self) -> str:
        """The name of the step in results."""
        return self.step.label

    def derived_output(self, main: Enclosure) -> Enclosure:
        """
        Return the enclosure of an output that follows from the main output.

        Raises:
            LookupError: the output does not follow from the main one.
        """
        raise LookupError(f"{self.label} has no output to compare")

    def counterpart(self, index: Index, main_shape: tuple[int, ...]) -> tuple[Index, Index] | None:
        """
        Return the index of an element in this output and in the main one, None if they are not compared.

        Args:
            index: the index of the element that the check reported.
            main_shape: the shape of the main output.
        """
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferencedProbe(Probe):
    """A step whose answer is compared with the exact answer to its own draw."""

    def with_reference(self, answer_to: Callable[[Draw], Reference], main: Reference) -> Self:
        """Return the probe with its reference; `main` is that of the main output."""
        assert self.draw is not None, "a step with a reference computes"
        return replace(self, reference=answer_to(self.draw))


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputProbe(ReferencedProbe):
    """A step whose output the check `output` compares."""

    #: The outputs by which right implementations differ (`conformance.checks.rounding_variants`).
    variants: Mapping[str, Variants] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class GradientProbe(ReferencedProbe):
    """A step whose gradients the check `gradients` compares."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DerivedProbe(Probe):
    """A step whose output follows from the main one, or from its own draw without an error."""


AnyProbe = TypeVar("AnyProbe", bound=Probe)


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """The steps of a case, in the order in which they are sent."""

    probes: tuple[Probe, ...] = ()
    #: The output that the row itself has, in the shape of the main output.
    row_output: Array | None = None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps, which are sent to the process of an implementation."""
        return tuple(each.step for each in self.probes)

    @cached_property
    def by_label(self) -> Mapping[str, Probe]:
        """The probes by the names of their steps."""
        return {each.label: each for each in self.probes}

    @property
    def main(self) -> Reference | None:
        """The reference of the main output, None if nothing is computed."""
        found = self.by_label.get(MAIN)
        return None if found is None else found.reference

    def of(self, kind: type[AnyProbe]) -> tuple[AnyProbe, ...]:
        """Return the probes of a kind."""
        return tuple(each for each in self.probes if isinstance(each, kind))


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """The data from which a check makes its steps."""

    case: Case
    device: str
    #: The stack with the weights of the first draw: that of the main model.
    stack: Stack
    first: Draw
    #: The draws whose weights replace those of the main model, one after the other.
    others: tuple[Draw, ...]


def stack_of(case: Case, draw: Draw | None) -> Stack:
    """Return the layers of a case with the weights of a draw, or without weights."""
    layers = tuple(
        Dense(
            units=layer.units,
            use_bias=layer.use_bias,
            activation=layer.activation,
            kernel=None if draw is None else draw.kernels[index],
            bias=None if draw is None else draw.biases[index],
        )
        for index, layer in enumerate(case.layers)
    )
    return Stack(input_shape=case.input_shape, leading_axes=case.leading_axes, dtype=case.dtype, layers=layers)


def with_input(draw: Draw, x: Array) -> Draw:
    """Return the draw with another input, for a step of which no gradients are computed."""
    units = draw.kernels[-1].shape[1]
    nothing = np.broadcast_to(np.zeros((), draw.dy.dtype), (*x.shape[:-1], units))
    return replace(draw, x=x, dy=nothing)
