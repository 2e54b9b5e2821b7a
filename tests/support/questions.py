"""Questions for `tests.support.misbehaving_adapter`, and the sandboxes in which tests run it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil

from conformance.adapters.protocol import Dense, Stack
from conformance.adapters.registry import Implementation
from conformance.sandbox.sandbox import Respondent
from conformance.sandbox.steps import Build, Forward, Inferred, InferShapes, Step, Transcript

MIB = 2**20
ADAPTER = "tests.support.misbehaving_adapter:Misbehaving"


def implementation(adapter: str = ADAPTER, *, mode: str | None = None, **variables: str) -> Implementation:
    return Implementation(name="misbehaving", adapter=adapter, packages=(), mode=mode, environment=variables)


def built(units: int | str = 4) -> Build:
    kernel = np.arange(1, 5, dtype=np.float32).reshape(1, 4)
    layer = Dense(units=units, use_bias=True, activation="linear", kernel=kernel, bias=np.ones(4, np.float32))
    return Build(
        label="build", stack=Stack(input_shape=(3, 1), leading_axes=1, dtype="float32", layers=(layer,)), device="cpu"
    )


X = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
HONEST: Sequence[Step] = (built(), Forward(label="output", x=X))


def misdeed(name: str) -> Sequence[Step]:
    """A question that does as it should until its third step, `misdeed`."""
    return (
        built(name),
        InferShapes(label="shapes", batch=None),
        Forward(label="misdeed", x=X),
        InferShapes(label="after", batch=None),
    )


def value(transcript: Transcript, label: str) -> Any:
    return transcript.replies[label].answer


def pids(sandbox: Respondent, batch: int | None = None) -> Sequence[int]:
    """Return the number of the sandbox's process, and of one that it starts if a batch is given."""
    inferred = value(sandbox.run_steps((built(), InferShapes(label="shapes", batch=batch))), "shapes")
    assert isinstance(inferred, Inferred)
    return [pid for pid in inferred.shapes[0] if pid is not None]


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not running(pid)
