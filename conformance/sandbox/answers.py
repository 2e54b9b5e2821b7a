"""
Validation of answers: plain data and arrays of numbers, of known types and within limits.

An adapter may return any object. `fit` returns an answer, or raises `Misfit` with a description of the fault. The child
validates the values of its adapter. The suite does not trust the child, and validates what it received again.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable, Mapping, Set
from typing import Final, TypeVar

import ml_dtypes
import msgspec
import numpy as np

from conformance.adapters.protocol import Array
from conformance.text import legible, shortened

#: The characters of a text that remain at its beginning and at its end.
END_OF_TEXT: Final = 16_000
#: The most levels of an answer, and the most values.
DEEPEST: Final = 8
MOST_VALUES: Final = 100_000

_Kind = TypeVar("_Kind")
_NUMBERS: Final = ("bool", "int", "uint", "float", "bfloat")
#: The dtypes of arrays of numbers by name: NumPy's in this machine's byte order up to 64 bits, and those of ml_dtypes.
DTYPES: Final[Mapping[str, np.dtype[np.generic]]] = {
    "bool": np.dtype(np.bool_),
    **{f"{kind}{bits}": np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    **{
        name: np.dtype(each)
        for name, each in vars(ml_dtypes).items()
        if isinstance(each, type) and issubclass(each, np.generic) and name.startswith(_NUMBERS)
    },
}
#: The names by dtype. NumPy's own `name` costs more than everything else for a small array.
DTYPE_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


PlainMapping = dict[str, object]


class Misfit(Exception):
    """A value is not a valid answer; the message has the value, what is expected, and the place."""


def fit(kind: type[_Kind], fields: Mapping[str, object], *, room: int = 0) -> _Kind:
    """
    Return the answer of a kind, a dataclass, with these fields.

    - Text is made legible and shortened.
    - An integer is an object that `operator.index` accepts, of at most 64 bits, such as `numpy.int64`. Neither a bool
      nor 4.0 is an integer.
    - A sequence may be any iterable.
    - `room` is the largest size of all arrays together (bytes).

    Raises:
        Misfit: a part has another type or is beyond a limit.
        Exception: an object of the answer raises.
    """
    plain = _Plain(room).mapping(fields, "$", 0)
    try:
        return msgspec.convert(plain, kind, dec_hook=_array)
    except msgspec.ValidationError as error:
        raise Misfit(f"{error}; given {short_text(plain)}") from None


def short_text(value: object) -> str:
    """Return a short text for plain data and arrays; for any other object its type."""
    return _REPR.repr(value)


def digits(value: object, path: str) -> str:
    """
    Return an integer of any size in decimal digits.

    Raises:
        Misfit: it is no integer of up to 128 bits; `path` is its place.
    """
    number = None if isinstance(value, bool | np.bool_) else _number(value)
    if not isinstance(number, int) or number.bit_length() > 128:
        raise Misfit(f"Expected `int | null`, got `{type_name(value)}` - at `{path}`; given {short_text(value)}")
    return str(number)


def type_name(value: object) -> str:
    """Return the full name of the type of any object, legible."""
    kind = type(value)
    # Read from `type`, because a metaclass may replace them.
    module, name = type.__getattribute__(kind, "__module__"), type.__dict__["__qualname__"].__get__(kind)
    return text(name if module == "builtins" else f"{module}.{name}")


def text(value: object) -> str:
    """Return the text of an object, legible and shortened, or a note if its `__str__` raises."""
    try:
        content = str.__str__(value if isinstance(value, str) else str(value))
    except Exception as error:
        content = f"<no text: its __str__ raised {type(error).__name__}>"
    return legible(shortened(content, END_OF_TEXT))


class _Plain:
    """Converts one answer to plain data and counts its values."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._remaining_values = MOST_VALUES

    def mapping(self, value: Mapping[str, object] | Mapping[object, object], path: str, depth: int) -> PlainMapping:
        """Return a mapping of texts to plain data; `path` and `depth` are its place."""
        plain = {}
        for key, each in value.items():
            if not isinstance(key, str):
                raise Misfit(f"Expected `str`, got `{type_name(key)}` - at a key of `{path}`")
            name = text(key)
            plain[name] = self.value(each, f"{path}.{shortened(name, 100)}", depth + 1)
        return plain

    def value(self, value: object, path: str, depth: int) -> object:
        """Return a value as plain data, or an array as it is."""
        self._remaining_values -= 1
        if self._remaining_values < 0:
            raise Misfit(f"given more than {MOST_VALUES} values, expected fewer - at `{path}`")
        if depth > DEEPEST:
            raise Misfit(f"given a value of more than {DEEPEST} levels, expected fewer - at `{path}`")
        if type(value) is np.ndarray:
            return self._array(value, path)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text(value)
        number = _number(value)
        if number is None:
            return self._collection(value, path, depth)
        if isinstance(number, int) and number.bit_length() > 63:
            raise Misfit(f"given an integer of {number.bit_length()} bits, expected at most 63 - at `{path}`")
        return number

    def _collection(self, value: object, path: str, depth: int) -> list[object] | dict[str, object]:
        if isinstance(value, Mapping):
            return self.mapping(value, path, depth)
        # A subclass of an array is no sequence of numbers. Neither are bytes and sets.
        if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview | Set | np.ndarray):
            return [self.value(each, f"{path}[{index}]", depth + 1) for index, each in enumerate(value)]
        raise Misfit(f"given `{type_name(value)}`, expected plain data or a numpy.ndarray of numbers - at `{path}`")

    def _array(self, array: Array, path: str) -> Array:
        if array.dtype not in DTYPE_NAMES:
            name = text(array.dtype.str if array.dtype.names is None else "of a structure")
            raise Misfit(f"given an array of dtype {name}, expected one of numbers: {', '.join(DTYPES)} - at `{path}`")
        self._room -= array.nbytes
        if self._room < 0:
            raise Misfit(
                f"given {short_text(array)}, {array.nbytes} bytes, which is {-self._room} too many - at `{path}`"
            )
        return array


def _number(value: object) -> float | int | None:
    """Return an object as a float or an int, without its subclass; None if it is no number."""
    if isinstance(value, float):
        return float.__pos__(value)
    try:
        return int.__pos__(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        return None


def _array(kind: type, value: object) -> object:
    """Return the value: msgspec checks its kind. Arrays are the only kind that msgspec does not know."""
    return value


class _Repr(reprlib.Repr):
    """Short texts of plain data, without calls of methods of other objects."""

    def repr_ndarray(self, array: Array, level: int) -> str:
        return f"an array of shape {array.shape} and dtype {array.dtype.name}"

    def repr_instance(self, value: object, level: int) -> str:
        return value.__repr__() if type(value) in (bool, float, type(None)) else type_name(value)


_REPR: Final = _Repr()
_REPR.maxstring = 80
_REPR.maxlevel = 3
