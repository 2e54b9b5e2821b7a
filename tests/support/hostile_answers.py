"""Answers that no method of an adapter may give, by the method and by name."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Gradients, Parameter

#: What a misdeed makes of the right answer.
Misdeed = Callable[[Any], Any]
#: A file that nothing may write: code in an answer that is executed would.
EXECUTED: Final = Path("executed")


class Executed:
    """Pickled, it would write a file where it is read."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {EXECUTED}",)


class Raising:
    """Whatever is asked of it, it raises."""

    def _refuse(self, *given: object) -> NoReturn:
        raise RuntimeError("not of me")

    __iter__ = __index__ = __array__ = __len__ = __float__ = __eq__ = __repr__ = __str__ = __getattr__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class Lying:
    """It is of another class than it says."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return dict


class Own(np.ndarray[Any, Any]):
    """An array of which nothing is as it looks."""

    def __array_finalize__(self, other: object) -> None: ...

    @property  # type: ignore[misc]
    def shape(self) -> Any:
        return (2**60,)

    def tobytes(self, order: Any = None) -> bytes:
        raise RuntimeError("not of me")


class Dimension(int):
    """An integer of a class of its own, which says that it is another."""

    def __repr__(self) -> str:
        return "12"

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def nest() -> object:
    """Return 2**28 leaves in 28 tuples."""
    nested: object = ("x",)
    for _ in range(28):
        nested = (nested, nested)
    return nested


def loop() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


#: What is wrong whatever was asked, but for None, which may stand for "has none".
ANYTHING: Final[dict[str, Misdeed]] = {
    "none": lambda right: None,
    "object": lambda right: Executed(),
    "class": lambda right: Executed,
    "module": lambda right: sys,
    "ellipsis": lambda right: ...,
    "bytes": lambda right: b"\x00\xff",
    "text": lambda right: "\x1b[31m\ud800 text \u202e\x07",
    "complex": lambda right: 1j,
    "nan": lambda right: float("nan"),
    "true": lambda right: True,
    "set": lambda right: {4},
    "mapping": lambda right: {"a": {1: nest()}},
    "endless": lambda right: itertools.count(),
    "nest": lambda right: nest(),
    "loop": lambda right: loop(),
    "array of objects": lambda right: np.array([Executed(), None]),
    "array with fields": lambda right: np.zeros(2, [("a", "f4")]),
    "array of text": lambda right: np.array(["a", "\ud800"]),
    "huge integer": lambda right: 10**5000,
    "raising": lambda right: Raising(),
    "lying": lambda right: Lying(),
}
METHODS: Final = ("infer", "parameters", "count", "forward", "gradients", "placement", "strides")
HAVE_NONE: Final = {"none of count", "none of strides"}


def each_dimension(change: Callable[[int], Any]) -> Misdeed:
    """Return what changes every dimension that is known in a list of shapes."""
    return lambda right: [tuple(None if each is None else change(each) for each in shape) for shape in right]


def each_field(**values: object) -> Misdeed:
    """Return what changes fields of every parameter."""
    return lambda right: [replace(each, **values) for each in right]


class OwnParameter(Parameter):
    """A parameter that counts for two."""


def without_fields(right: Any) -> list[Parameter]:
    return [object.__new__(Parameter)]


def first_layer(**values: object) -> Misdeed:
    return lambda right: replace(right, **values)


SPECIFIC: Final[dict[str, dict[str, Misdeed]]] = {
    "infer": {
        "floats": each_dimension(float),
        "bools": each_dimension(lambda each: True),
        "NumPy's bools": each_dimension(lambda each: np.True_),
        "NumPy's floats": each_dimension(np.float64),
        "negative": each_dimension(lambda each: -each),
        "text of digits": each_dimension(str),
        "fields of 100 bits": each_dimension(lambda each: each + 2**100),
        "arrays of one": each_dimension(lambda each: np.array([each])),
        "nested": lambda right: [[each] for each in right],
        "no layer": lambda right: [],
        "a layer more": lambda right: [*right, *right],
        "a thousand layers": lambda right: list(right) * 100_000,
        "a thousand axes": lambda right: [tuple(right[0]) * 1000],
        "one shape": lambda right: right[0],
        "unknown": each_dimension(lambda each: None),
    },
    "parameters": {
        "their fields in mappings": lambda right: [{n: getattr(p, n) for n in p.__slots__} for p in right],
        "of a subclass": lambda right: [OwnParameter(**{n: getattr(p, n) for n in p.__slots__}) for p in right],
        "without fields": without_fields,
        "no shape": each_field(shape=None),
        "a number for a shape": each_field(shape=4),
        "unknown axes": each_field(shape=(None, None)),
        "floats": each_field(shape=(2.0, 2.0)),
        "a long shape": each_field(shape=(1,) * 1000),
        "large axes": each_field(shape=(2**62,) * 64),
        "negative axes": each_field(shape=(-2, -2)),
        "a layer that is none": each_field(layer=None),
        "a layer before the first": each_field(layer=-1),
        "trainable by 1": each_field(trainable=1),
        "a name of 1 MB": each_field(reported="k" * 10**6),
        "no name": each_field(name=None),
        "a dtype": each_field(dtype=np.dtype(np.float32)),
        "100,000 of them": lambda right: list(right) * 50_000,
        "endless": lambda right: itertools.cycle(right),
    },
    "count": {
        "a float": lambda right: 9.0,
        "a wrong one": lambda right: 10**18,
        "text": lambda right: "9",
        "NumPy's bool": lambda right: np.False_,
    },
    "forward": {
        "a list": lambda y: y.tolist(),
        "a scalar": lambda y: np.float32(1),
        "complex": lambda y: y + 1j,
        "a matrix": lambda y: np.matrix(y.reshape(-1, y.shape[-1])),
        "masked": lambda y: np.ma.array(y),
        "of its own class": lambda y: y.view(Own),
        "a record array": lambda y: y.view(np.recarray),
        "longdouble": lambda y: y.astype(np.longdouble),
        "dates": lambda y: y.astype("M8[s]"),
        "bytes": lambda y: np.full(y.shape, b"a"),
        "the other byte order": lambda y: y.astype(y.dtype.newbyteorder()),
        "bool": lambda y: y.astype(bool),
        "another short float": lambda y: y.astype(ml_dtypes.float8_e4m3fn),
        "unsigned": lambda y: np.abs(y).astype(np.uint64),
        "rank 0": lambda y: np.array(1.0, np.float32),
        "rank 64": lambda y: y.reshape((1,) * (64 - y.ndim) + y.shape),
        "a column less": lambda y: y[..., :-1],
        "empty": lambda y: y[:0],
        "a terabyte": lambda y: np.broadcast_to(np.float32(1), (2**38,)),
        "no element of many axes": lambda y: np.empty((0, 2**40), np.float32),
        "a memoryview": lambda y: np.ascontiguousarray(y).data,
        "in a tuple": lambda y: (y,),
        "not finite": lambda y: y * np.float32("nan"),
    },
    "gradients": {
        "a tuple": lambda right: (right.dx, right.layers),
        "a mapping": lambda right: {"dx": right.dx, "layers": right.layers},
        "dx in a list": first_layer(dx=[1.0]),
        "dx complex": lambda right: replace(right, dx=right.dx + 1j),
        "dx of bytes": first_layer(dx=np.array([b"a"])),
        "no dx": first_layer(dx=None),
        "no layers": first_layer(layers=None),
        "empty layers": first_layer(layers=()),
        "a layer that is none": first_layer(layers=(None,)),
        "three of a layer": lambda right: replace(right, layers=(right.layers[0] * 2,)),
        "one of a layer": lambda right: replace(right, layers=(right.layers[0][:1],)),
        "layers of text": first_layer(layers=("ab",)),
        "a nest": lambda right: replace(right, layers=nest()),
        "endless layers": lambda right: replace(right, layers=itertools.repeat(right.layers[0])),
        "a terabyte": first_layer(dx=np.broadcast_to(np.float32(1), (2**38,))),
        "no kernel": lambda right: replace(right, layers=((None, right.layers[0][1]),)),
        "of another shape": lambda right: replace(right, layers=((right.dx, right.dx),)),
        "a subclass": lambda right: type("Own", (Gradients,), {})(dx=right.dx, layers=right.layers),
    },
    "placement": {
        "1 MB": lambda right: "cpu" * 10**6,
        "another": lambda right: "\x00\x1b]0;title\x07",
        "a list": lambda right: ["cpu"],
        "bytes": lambda right: b"cpu",
    },
    "strides": {
        "a number": lambda right: 4,
        "floats": lambda right: (4.0,),
        "a thousand": lambda right: (4,) * 1000,
        "text": lambda right: "44",
    },
}


class Text(str):
    """Text that is not what it says."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no text of me")

    def __len__(self) -> int:
        return 10**12

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__
