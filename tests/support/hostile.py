"""
One adapter with hundreds of answers that none should give: the shape of a row's kernel says which.

Everything but the one method a misdeed replaces is honest. `MISDEEDS` end as a violation of their own cell, `ENDINGS`
take the process with them, and `HARMLESS` answers are odd and right.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import ml_dtypes
import numpy as np

from conformance.adapters.protocol import Gradients, Parameter, Stack, Unsupported
from conformance.sandbox.frame import HEADER, MAGIC, TRAILER
from tests.support.faulty import Honest, NumPyAdapter, NumPyModel

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


class _NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text of me")


class _OtherTextError(Exception):
    def __str__(self) -> str:
        return 4  # type: ignore[return-value]


class _LyingMeta(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name of me")


class _NamelessError(Exception, metaclass=_LyingMeta):
    pass


class _Text(str):
    """Text that is not what it says."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no text of me")

    def __len__(self) -> int:
        return 10**12

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


def caused(count: int) -> Exception:
    """Return an error with a long chain of causes."""
    last = ValueError("the last")
    for _ in range(count):
        error = ValueError("one more")
        error.__cause__, last = last, error
    return last


def in_a_circle() -> Exception:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


def grouped() -> Exception:
    """Return groups of errors in one another, deeper than a stack."""
    error: Exception = ValueError("inside")
    for _ in range(2000):
        error = ExceptionGroup("group", [error])
    return error


def spelled() -> Exception:
    error = SyntaxError("wrong")
    error.text, error.lineno, error.filename, error.offset = "\ud800" * 10**5, 10**9, "\x1b", -(10**9)
    return error


def descend(right: object) -> object:
    return descend(right)


def raising(make: Callable[[], BaseException]) -> Misdeed:
    """Return what raises in place of an answer."""

    def raises(right: object) -> NoReturn:
        raise make()

    return raises


RAISED: Final[dict[str, Misdeed]] = {
    "half a surrogate pair": raising(lambda: ValueError("\ud800\x00\x1b[31m")),
    "a long message": raising(lambda: ValueError("long " * 10**6)),
    "no text": raising(_NoTextError),
    "another thing than text": raising(_OtherTextError),
    "text of a class of its own": raising(lambda: ValueError(_Text("\ud800 own"))),
    "no name": raising(_NamelessError),
    "many causes": raising(lambda: caused(5000)),
    "causes in a circle": raising(in_a_circle),
    "groups": raising(grouped),
    "syntax": raising(spelled),
    "recursion": descend,
    "memory": raising(lambda: MemoryError("\ud800")),
    "stop": raising(StopIteration),
    "declined without leave": raising(lambda: Unsupported("\ud800 not " + "so " * 10**6)),
    "notes": raising(lambda: _with_note(ValueError("noted"))),
}


def _with_note(error: Exception) -> Exception:
    error.__notes__ = cast(Any, [Raising(), "\ud800"])
    return error


MISDEEDS: Final[dict[str, tuple[str, Misdeed]]] = {
    **{f"{name} of {each}": (each, misdeed) for each in METHODS for name, misdeed in ANYTHING.items()},
    **{f"{each}: {name}": (each, misdeed) for each, some in SPECIFIC.items() for name, misdeed in some.items()},
    **{f"raised: {name}": ("forward", misdeed) for name, misdeed in RAISED.items()},
    "built: none": ("build", lambda right: None),
    "built: text": ("build", lambda right: "model"),
    "built: raising": ("build", lambda right: Raising()),
    "set weights: raised": ("set_weights", raising(lambda: ValueError("\ud800"))),
}
for name in HAVE_NONE:
    del MISDEEDS[name]


def into_every_pipe(noise: bytes) -> Misdeed:
    def write(right: object) -> None:
        for descriptor in range(3, 4096):
            try:
                os.write(descriptor, noise)
            except OSError:
                continue
        time.sleep(1000)

    return write


def close_all(right: Any) -> Any:
    os.closerange(0, 4096)
    return right


def a_pickle() -> bytes:
    import pickle

    body = pickle.dumps(Executed())
    total = HEADER.size + len(body) + len(TRAILER)
    return HEADER.pack(MAGIC, total, 0, len(body)) + body + TRAILER


def hold(right: object) -> None:
    """Take memory without end."""
    kept = []
    while True:
        kept.append(np.ones(2**20))


#: Misdeed -> how its cell ends.
ENDINGS: Final[dict[str, tuple[str, Misdeed]]] = {
    "exit": ("crashed", raising(lambda: SystemExit(0))),
    "interrupt": ("crashed", raising(KeyboardInterrupt)),
    "no exception": ("crashed", raising(lambda: BaseException("\ud800"))),
    "vanish": ("crashed", lambda right: os._exit(0)),
    "kill": ("crashed", lambda right: os.kill(os.getpid(), signal.SIGKILL)),
    "fault": ("crashed", lambda right: ctypes.string_at(0)),
    "close all": ("crashed", close_all),
    "noise": ("crashed", into_every_pipe(b"\x1b[31m noise")),
    "a pickle": ("crashed", into_every_pipe(a_pickle())),
    "memory": ("crashed", hold),
    "spin": ("timed_out", lambda right: all(each == 0 for each in iter(int, 1))),
}

#: Method -> answers that are unusual and right.
HARMLESS: Final[dict[str, tuple[str, Misdeed]]] = {
    "NumPy's integers": ("infer", each_dimension(np.int64)),
    "integers by name": ("infer", each_dimension(Dimension)),
    "lists": ("infer", lambda right: [list(shape) for shape in right]),
    "a generator": ("infer", lambda right: (iter(shape) for shape in right)),
    "parameters from a generator": ("parameters", lambda right: iter(right)),
    "NumPy's integers in parameters": ("parameters", lambda right: [_in_numpy(each) for each in right]),
    "a name with half a surrogate pair": ("parameters", each_field(reported="\ud800\x1b")),
    "text of a class of its own": ("placement", _Text),
    "a count of NumPy's": ("count", lambda right: None),
    "lists of layers": ("gradients", lambda right: replace(right, layers=[list(each) for each in right.layers])),
    "a transposed output": ("forward", lambda y: np.asfortranarray(y)),
    "prints": ("forward", lambda y: (os.write(1, b"\x1b[31m\xff" * 99), os.write(2, b"\x00" * 99), y)[-1]),
}


def _in_numpy(parameter: Parameter) -> Parameter:
    changed: Any = {"shape": tuple(map(np.int32, parameter.shape)), "layer": np.int8(parameter.layer)}
    return replace(parameter, **changed | {"trainable": np.True_})


#: All there are, in the order of their rows, those that end the process last.
ALL: Final = {**HARMLESS, **MISDEEDS, **{name: ("forward", misdeed) for name, (_, misdeed) in ENDINGS.items()}}
_ACROSS: Final = 32


def rows() -> Iterator[tuple[str, int, int]]:
    """Yield each misdeed with the number of features and of units that name it."""
    for index, name in enumerate(ALL):
        yield name, 2 + index // _ACROSS, 2 + index % _ACROSS


_BY_SHAPE: Final = {(features, units): ALL[name] for name, features, units in rows()}


class _Model(NumPyModel):
    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, Honest())
        units: Any = stack.layers[0].units
        self._method, self._misdeed = _BY_SHAPE.get((stack.input_shape[-1], units), ("", None))  # type: ignore[arg-type]

    def done(self, method: str, right: Any) -> Any:
        return self._misdeed(right) if method == self._method and self._misdeed is not None else right

    def infer_output_shapes(self, batch: int | None) -> Any:
        return self.done("infer", super().infer_output_shapes(batch))

    def parameters(self) -> Any:
        return self.done("parameters", super().parameters())

    def parameter_count(self) -> Any:
        return self.done("count", None)

    def forward(self, x: Any) -> Any:
        return self.done("forward", super().forward(x))

    def gradients(self, x: Any, dy: Any) -> Any:
        return self.done("gradients", super().gradients(x, dy))

    def set_weights(self, stack: Stack) -> None:
        super().set_weights(stack)
        self.done("set_weights", None)

    def placement(self) -> Any:
        return self.done("placement", "cpu")

    def handed_strides(self) -> Any:
        return self.done("strides", None)


class Hostile(NumPyAdapter):
    """The adapter; what it says of itself steers a terminal, and is no JSON."""

    def __init__(self) -> None:
        super().__init__(Honest())

    def versions(self) -> Any:
        return {"numpy": _Text("2\ud800"), "\x1b": "\x00"}

    def settings(self) -> Any:
        return {"\ud800": "\x1b[2J", "threads": np.int64(1), "nan": float("nan"), "list": (1, {"a": None})}

    def build(self, stack: Stack, *, device: str) -> Any:
        model = _Model(stack)
        return model.done("build", model)
