"""What the tests of lanes have in common: cases of a lane, and what is drawn and expected of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.reference import Reference, answer
from conformance.reference.enclosure import Enclosure
from conformance.reference.lanes.draws import Draw
from conformance.table.case import Case, Data, Expect, Layer

Array = Any


def case_of(lane: str, input_shape: tuple[int, ...] = (16,), units: tuple[int, ...] = (8,), **fields: Any) -> Case:
    """Return a case of a lane; `activation` and `use_bias` are those of all its layers."""
    activation, use_bias = fields.pop("activation", "linear"), fields.pop("use_bias", True)
    layers = tuple(Layer(units=each, activation=activation, use_bias=use_bias) for each in units)
    expect = Expect(nonfinite=True) if lane == "special" else Expect()
    content: dict[str, Any] = {"input_shape": input_shape, "batch": 8, "expect": expect, **fields}
    return Case(layers=layers, lane=lane, **content)


def literal_of(data: Data, input_shape: tuple[int, ...] = (2,), **fields: Any) -> Case:
    return case_of("literal", input_shape, fields.pop("units", (3,)), batch=2, data=data, **fields)


def operands(draw: Draw) -> list[Array]:
    return [draw.x, draw.dy, *draw.kernels, *(each for each in draw.biases if each is not None)]


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def answer_of(draw: Draw, case: Case) -> Reference:
    return answer(draw, [layer.activation for layer in case.layers], case.dtype)


def enclosures(reference: Reference) -> dict[str, Enclosure]:
    """Return the results of a single layer by name, without db where there is no bias."""
    kernel, bias = reference.layers[0]
    found = {"y": reference.y, "dx": reference.dx, "dW": kernel}
    return found if bias is None else {**found, "db": bias}
