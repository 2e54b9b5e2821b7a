"""
One adapter with hundreds of wrong answers: the shape of a row's kernel selects one.

Only the one method that a misdeed replaces is wrong. `MISDEEDS` end as a violation of their own cell, `ENDINGS` end the
process, and `HARMLESS` answers are unusual and right.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np

from conformance.adapters.protocol import Parameter, Stack
from conformance.sandbox.frame import HEADER, MAGIC, TRAILER
from tests.support.hostile_answers import (
    ANYTHING,
    HAVE_NONE,
    METHODS,
    SPECIFIC,
    Dimension,
    Executed,
    Misdeed,
    Raising,
    Text,
    each_dimension,
    each_field,
)
from tests.support.hostile_exceptions import RAISED, raising
from tests.support.numpy_adapter import Honest, NumPyAdapter, NumPyModel

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


def exhaust_memory(right: object) -> None:
    """Take memory without end."""
    chunks = []
    while True:
        chunks.append(np.ones(2**20))


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
    "memory": ("crashed", exhaust_memory),
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
    "text of a class of its own": ("placement", Text),
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
        return {"numpy": Text("2\ud800"), "\x1b": "\x00"}

    def settings(self) -> Any:
        return {"\ud800": "\x1b[2J", "threads": np.int64(1), "nan": float("nan"), "list": (1, {"a": None})}

    def build(self, stack: Stack, *, device: str) -> Any:
        model = _Model(stack)
        return model.done("build", model)
