"""What a stack says of its layers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from conformance.adapters.protocol import Dense, Stack
from conformance.adapters.registry import Implementation

EMPTY = Dense(units=2, use_bias=True, activation="linear", kernel=None, bias=None)


@pytest.mark.parametrize(
    ("input_shape", "widths"), [((3, 5), (5, 4)), ((), (1, 4)), ((3, None), (None, 4)), ((0,), (0, 4))]
)
def test_a_layer_takes_the_last_axis_of_the_input_or_the_units_before_it(
    input_shape: tuple[int | None, ...], widths: tuple[int | None, ...]
) -> None:
    layers = (dataclasses.replace(EMPTY, units=4), EMPTY)
    stack = Stack(input_shape=input_shape, leading_axes=1, dtype="float32", layers=layers)
    assert stack.widths == widths


def test_a_stack_has_weights_if_every_layer_has_a_kernel() -> None:
    full = dataclasses.replace(EMPTY, kernel=np.zeros((2, 2)))
    stack = Stack(input_shape=(2,), leading_axes=1, dtype="float32", layers=(full, full))
    assert stack.has_weights
    assert not dataclasses.replace(stack, layers=(full, EMPTY)).has_weights


def test_an_implementation_has_twelve_fields_at_most() -> None:
    assert len(dataclasses.fields(Implementation)) <= 12
