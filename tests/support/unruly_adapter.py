"""
An adapter for whole runs that misbehaves in some rows: the number of units selects the misdeed.

The misdeeds are those of `tests.support.misbehaving_adapter`. Rows before and after are answered right.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from conformance.adapters.protocol import Stack
from tests.support.misbehaving_adapter import (
    MIB,
    abort,
    segfault,
    shoot_itself,
    speak_garbage,
    spin,
    spin_in_regex,
    vanish,
)
from tests.support.numpy_adapter import Honest, NumPyAdapter

leaked: list[object] = []


def wait_in_native_code() -> None:
    """Wait without end in a call that gives the interpreter's lock away."""
    ctypes.CDLL(None).pause()


def grow() -> None:
    """Grow by 4 MiB at a time, far past any limit of a test and no further."""
    for _ in range(500):
        leaked.append(np.ones(4 * MIB // 8))
        time.sleep(0.004)
    time.sleep(1000)


def flood() -> None:
    """Print more than is kept of what a process prints."""
    for _ in range(20):
        os.write(2, (b"x" * 99 + b"\n") * 10_000)


def flood_and_abort() -> None:
    flood()
    os.abort()


def kill_the_worker_once() -> None:
    """Kill the process that asks: a worker of pytest, or with `-n 0` the whole run."""
    marker = Path("killed")
    if not marker.exists():
        marker.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)


def wait_to_be_ended() -> None:
    """Say that it is here, and stay."""
    Path("reached").touch()
    time.sleep(1000)


#: Units -> the misdeed; it is done each time the layer computes.
MISDEEDS: Final[dict[int, Callable[[], None]]] = dict(
    enumerate(
        (
            abort,
            segfault,
            shoot_itself,
            vanish,
            spin,
            spin_in_regex,
            wait_in_native_code,
            grow,
            flood,
            flood_and_abort,
            speak_garbage,
            kill_the_worker_once,
            wait_to_be_ended,
        ),
        start=101,
    )
)


def units(name: str) -> int:
    """Return the number of units that names a misdeed."""
    return next(number for number, misdeed in MISDEEDS.items() if misdeed.__name__ == name)


class _Unruly(Honest):
    def used(self, stack: Stack) -> Stack:
        number = stack.layers[0].units
        misdeed = MISDEEDS.get(number) if isinstance(number, int) else None
        if misdeed is not None:
            misdeed()
        return stack


def Unruly() -> NumPyAdapter:  # noqa: N802 - named as a class, since it stands where one does
    """Return the adapter."""
    return NumPyAdapter(_Unruly())
