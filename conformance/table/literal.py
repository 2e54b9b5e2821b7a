"""
The arrays that a row itself gives, lane `literal`: put in order by layer, and held to the shapes of the row.

A number stands for an array filled with it. Nothing here computes with the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from conformance.table.case import Case, Data, Numbers
from conformance.table.schema import Data as DataFields
from conformance.table.validation import shown
from conformance.table.yaml_document import Place

Problem = tuple[Place, str]
Shape = tuple[int, ...]

#: The least and the largest number of an input of integers; of the wider ones what float32 holds as well.
_HELD: Final = {
    "bool": (0, 1),
    "uint8": (0, 255),
    "int8": (-128, 127),
    "int32": (-(2**24), 2**24),
    "int64": (-(2**24), 2**24),
}


def data_of(given: DataFields, layers: int) -> Data:
    """Return the arrays of a row, kernels and biases as one entry per layer where they can be told apart."""
    return Data(x=given.x, kernels=_each(given.kernel, layers), biases=_each(given.bias, layers), dy=given.dy)


def _each(arrays: Any, layers: int) -> tuple[Any, ...]:
    if arrays is None:
        return (None,) * layers
    if layers == 1:
        return (arrays,)
    return arrays if isinstance(arrays, tuple) else (arrays,)


def data_problems(case: Case, place: Place) -> Iterator[Problem]:
    """Yield where an array of the row has another shape than the case asks for; `place` is that of the row."""
    data, given, layers = case.data, place.at("data"), len(case.layers)
    if data is None:
        return
    for name, arrays in (("kernel", data.kernels), ("bias", data.biases)):
        if len(arrays) != layers:
            yield given.at(name), f"{name} has {len(arrays)} arrays, units has {layers} entries: give a list of them"
            return
    yield from _shaped(given.at("x"), "x", data.x, case.fed_shape)
    if case.input_dtype in _HELD and (wrong := _not_held(data.x, *_HELD[case.input_dtype])) is not None:
        yield given.at("x"), f"x holds {shown(wrong)}, and an input of {case.input_dtype} cannot"
    features = case.input_shape[-1]
    for index, (layer, kernel, bias) in enumerate(zip(case.layers, data.kernels, data.biases, strict=True)):
        at = (index,) if layers > 1 else ()
        yield from _shaped(given.at("kernel", *at), "kernel", kernel, (features, layer.units))
        if (bias is not None) != layer.use_bias:
            where = given.at("bias", *at) if bias is not None else given
            yield where, "a bias is given, and use_bias is false" if bias is not None else "the bias is missing"
        elif bias is not None:
            yield from _shaped(given.at("bias", *at), "bias", bias, (layer.units,))
        features = layer.units  # type: ignore[assignment]
    output = (*case.fed_shape[:-1], features)
    if data.dy is not None:
        yield from _shaped(given.at("dy"), "dy", data.dy, output)
    if case.expect.output is not None:
        yield from _shaped(place.at("expect", "output"), "output", case.expect.output, output)


def _shaped(place: Place, name: str, array: Numbers | None, shape: tuple[Any, ...]) -> Iterator[Problem]:
    if array is None:
        yield place, f"{name} is missing"
    elif isinstance(array, tuple) and shape_of(array) != shape:
        yield place, f"{name} has the shape {shown(list(shape_of(array)))}, the row needs {shown(list(shape))}"
    elif isinstance(array, tuple) and not _is_filled(array, shape):
        # What could be a list with an array for each layer is read as one, where the layer is single.
        yield place, f"{name} is not {shown(list(shape))} throughout"


def _is_filled(array: Numbers | None, shape: tuple[Any, ...]) -> bool:
    """Return whether every list in an array is as long as its shape says, and holds numbers at the end."""
    if not isinstance(array, tuple) or not shape:
        return not shape and isinstance(array, float)
    return len(array) == shape[0] and all(_is_filled(each, shape[1:]) for each in array)


def _not_held(array: Numbers, least: int, most: int) -> float | None:
    """Return a number of an array that is no integer from `least` to `most`, None where all are."""
    if isinstance(array, tuple):
        return next((found for each in array if (found := _not_held(each, least, most)) is not None), None)
    return None if least <= array <= most and array == int(array) else array


def shape_of(array: Numbers) -> Shape:
    """Return the shape of nested tuples, () for a number."""
    if not isinstance(array, tuple):
        return ()
    return (len(array), *(shape_of(array[0]) if array else ()))
