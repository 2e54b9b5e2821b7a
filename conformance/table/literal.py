"""
The arrays of a row on the lane `literal`, one for each layer, and their shapes, which must be those of the row.

A number stands for an array filled with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, cast

from conformance.table.case import Case, Data, Numbers, shape_of
from conformance.table.schema import Data as DataFields
from conformance.table.validation import excerpt
from conformance.table.yaml_document import Place

if TYPE_CHECKING:
    from conformance.adapters.protocol import Units

Problem = tuple[Place, str]

#: Smallest and largest number of an input of integers. float32 must represent each number of int32 and int64 as well.
_INTEGER_RANGES: Final = {
    "bool": (0, 1),
    "uint8": (0, 255),
    "int8": (-128, 127),
    "int32": (-(2**24), 2**24),
    "int64": (-(2**24), 2**24),
}


def data_of(fields: DataFields, layers: int) -> Data:
    """Return the arrays of a row, kernels and biases as one entry per layer. `data_problems` finds a missing kernel."""
    kernels = cast("tuple[Numbers, ...]", _by_layer(fields.kernel, layers))
    return Data(x=fields.x, kernels=kernels, biases=_by_layer(fields.bias, layers), dy=fields.dy)


def _by_layer(arrays: Numbers | tuple[Numbers | None, ...] | None, layers: int) -> tuple[Numbers | None, ...]:
    """Return one array per layer, or all arrays if their number is not that of the layers."""
    if arrays is None:
        return (None,) * layers
    if layers == 1:
        return (cast("Numbers", arrays),)
    return arrays if isinstance(arrays, tuple) else (arrays,)


def data_problems(case: Case, place: Place) -> Iterator[Problem]:
    """Yield where the shape of an array is not the one that the case needs; `place` is that of the row."""
    data, data_place, layers = case.data, place.at("data"), len(case.layers)
    if data is None:
        return
    for name, arrays in (("kernel", data.kernels), ("bias", data.biases)):
        if len(arrays) != layers:
            message = f"{name} has {len(arrays)} arrays, units has {layers} entries: give a list of them"
            yield data_place.at(name), message
            return
    yield from _shape_problems(data_place.at("x"), "x", data.x, case.call_shape)
    if case.input_dtype in _INTEGER_RANGES:
        number = _out_of_range(data.x, *_INTEGER_RANGES[case.input_dtype])
        if number is not None:
            yield data_place.at("x"), f"x holds {excerpt(number)}, and an input of {case.input_dtype} cannot"
    yield from _weight_problems(case, data, data_place)
    output = (*case.call_shape[:-1], case.layers[-1].units)
    if data.dy is not None:
        yield from _shape_problems(data_place.at("dy"), "dy", data.dy, output)
    if case.expect.output is not None:
        yield from _shape_problems(place.at("expect", "output"), "output", case.expect.output, output)


def _weight_problems(case: Case, data: Data, place: Place) -> Iterator[Problem]:
    """Yield where the shape of a kernel or bias is not the one that the case needs; `place` is that of the data."""
    features: Units = case.input_shape[-1]
    for index, (layer, kernel, bias) in enumerate(zip(case.layers, data.kernels, data.biases, strict=True)):
        at = (index,) if len(case.layers) > 1 else ()
        yield from _shape_problems(place.at("kernel", *at), "kernel", kernel, (features, layer.units))
        if bias is None and layer.use_bias:
            yield place, "the bias is missing"
        elif bias is not None and not layer.use_bias:
            yield place.at("bias", *at), "a bias is given, and use_bias is false"
        elif bias is not None:
            yield from _shape_problems(place.at("bias", *at), "bias", bias, (layer.units,))
        features = layer.units


def _shape_problems(place: Place, name: str, array: Numbers | None, shape: tuple[Units, ...]) -> Iterator[Problem]:
    if array is None:
        yield place, f"{name} is missing"
    elif isinstance(array, tuple) and shape_of(array) != shape:
        yield place, f"{name} has the shape {excerpt(list(shape_of(array)))}, the row needs {excerpt(list(shape))}"
    elif isinstance(array, tuple) and not _is_filled(array, shape):
        # An array of a single layer may be a list that looks like one array per layer.
        yield place, f"{name} is not {excerpt(list(shape))} throughout"


def _is_filled(array: Numbers | None, shape: tuple[Units, ...]) -> bool:
    """Return whether every list in an array is as long as its shape says, and holds numbers at the end."""
    if not isinstance(array, tuple) or not shape:
        return not shape and isinstance(array, float)
    return len(array) == shape[0] and all(_is_filled(each, shape[1:]) for each in array)


def _out_of_range(array: Numbers, least: int, most: int) -> float | None:
    """Return a number of an array that is no integer from `least` to `most`, or None if there is none."""
    if isinstance(array, tuple):
        numbers = (_out_of_range(each, least, most) for each in array)
        return next((each for each in numbers if each is not None), None)
    return None if least <= array <= most and array == int(array) else array
