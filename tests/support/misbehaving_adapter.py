"""
An adapter that misbehaves on request, for the tests of the sandbox: each misdeed is asked for by name.

`Misbehaving` is an honest adapter of one linear layer, computed by NumPy, as long as a layer's units are a number;
where they are a word it names a function below, which runs when the output is asked for.
"""

from __future__ import annotations

import ctypes
import fractions
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from conformance.adapters.protocol import Array, Gradients, Parameter, Shape, Stack, Unsupported
from conformance.sandbox.frame import HEADER, MAGIC

MIB: Final = 2**20
leaked: list[object] = []
corrupted: set[str] = set()


def abort() -> None:
    print("about to abort")
    os.abort()


def segfault() -> None:
    ctypes.string_at(0)


def vanish() -> None:
    os._exit(0)


def leave() -> None:
    sys.exit(3)


def shoot_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def spin() -> None:
    while True:
        pass


def work() -> None:
    """Take 0.6 s of CPU time, then answer."""
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass


def wait_for_a_busy_child() -> None:
    """Take no CPU time, while a process that this one started takes it without end."""
    subprocess.run([sys.executable, "-c", "while True: pass"], check=False)


def wait_as_for_a_disk() -> None:
    """Be in uninterruptible sleep for 4 s, as a process that waits for a disk, then answer."""
    clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    vfork = 0x4000  # the caller sleeps until its copy is gone
    if ctypes.PyDLL(None).syscall(clone, vfork | signal.SIGCHLD, None, None, None, None) == 0:
        time.sleep(4)
        os._exit(0)
    os.wait()


def spin_in_regex() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def spin_in_pow() -> None:
    leaked.append(3 ** (3 * 10**8))


def sleep() -> None:
    time.sleep(1000)


def hog() -> None:
    while True:
        leaked.append(np.ones(8 * MIB // 8))
        time.sleep(0.001)


def allocate_200_mib() -> None:
    leaked.append(np.ones(200 * MIB // 8))


def flood() -> None:
    line = b"x" * 99 + b"\n"
    for _ in range(200):
        os.write(2, line * 10_000)


def flood_and_abort() -> None:
    flood()
    time.sleep(0.2)  # what is printed while the file is being emptied may be lost
    os.write(2, b"the end of the flood\n")
    os.abort()


def speak_garbage() -> None:
    _into_every_pipe(b"Hello, I am a library that logs to whatever is open.\n")


def speak_half_a_header() -> None:
    _into_every_pipe(MAGIC + b"\0\0\0\0")


def speak_large_numbers() -> None:
    _into_every_pipe(HEADER.pack(MAGIC, 2**63, 1, 2**62))


def break_pipe() -> None:
    os.closerange(3, 4096)
    time.sleep(1000)


def leave_a_fork() -> None:
    """End while a fork, which holds the pipes open, lives on."""
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)


def end_soon() -> None:
    """Answer first."""
    threading.Timer(0.05, os._exit, [7]).start()


def speak_soon() -> None:
    """Answer first."""
    threading.Timer(0.05, _into_every_pipe, [b"By the way\n"]).start()


def corrupt() -> None:
    corrupted.add("a")


def corrupt_more() -> None:
    corrupted.add("b")


def suffer() -> None:
    if "a" in corrupted:
        os.abort()


def suffer_twice() -> None:
    if corrupted == {"a", "b"}:
        os.abort()


def hang_if_corrupted() -> None:
    if "a" in corrupted:
        time.sleep(1000)


def abort_the_first_time() -> None:
    marker = Path(os.environ["MARKER"])
    if not marker.exists():
        marker.touch()
        os.abort()


def raise_an_error() -> None:
    raise ValueError("units of that kind are not welcome")


def decline() -> None:
    raise Unsupported("no such thing here")


def _into_every_pipe(noise: bytes) -> None:
    for descriptor in range(3, 4096):
        try:
            os.write(descriptor, noise)
        except OSError:
            continue
    time.sleep(1000)


class Misbehaving:
    """One linear layer, or a misdeed."""

    def __init__(self, mode: str | None = None) -> None:
        if mode == "fails":
            raise RuntimeError("the constructor does not like its mode")
        self._mode = mode

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def settings(self) -> Mapping[str, object]:
        if self._mode == "foreign":
            return {"precision": fractions.Fraction(1, 3)}
        home = [each.name for each in Path(os.environ["KERAS_HOME"]).iterdir()]
        return {"mode": self._mode, "path": list(sys.path), "home": home, **os.environ}

    def devices(self) -> Sequence[str]:
        return ("cpu",)

    def build(self, stack: Stack, *, device: str) -> Layer:
        return Layer(stack)


class Layer:
    """The only layer of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.set_weights(stack)
        self._spawned: list[subprocess.Popen[bytes]] = []

    def set_weights(self, stack: Stack) -> None:
        (self._dense,) = stack.layers

    def infer_output_shapes(self, batch: int | None) -> Sequence[Shape]:
        """Say who it is: the numbers of this process and of one it starts, in a session of its own for a batch of 1."""
        if batch is None:
            return ((os.getpid(),),)
        child = subprocess.Popen(["sleep", "1000"], start_new_session=batch == 1)
        leaked.append(child)
        return ((os.getpid(), child.pid),)

    def parameters(self) -> Sequence[Parameter]:
        shape = cast(Any, [fractions.Fraction(1)]) if self._dense.units == "foreign" else (1, 4)
        return (Parameter(layer=0, name="kernel", shape=shape, dtype="float32", trainable=True, reported="kernel"),)

    def parameter_count(self) -> int | None:
        return None

    def forward(self, x: Array) -> Array:
        if isinstance(self._dense.units, str):
            misdeed: Callable[[], None] = globals()[self._dense.units]
            misdeed()
            return x
        assert self._dense.kernel is not None
        product: Array = cast(Any, x) @ self._dense.kernel
        return product if self._dense.bias is None else cast(Any, product) + self._dense.bias

    def gradients(self, x: Array, dy: Array) -> Gradients:
        assert self._dense.kernel is not None
        positions = cast(Any, x.reshape(-1, x.shape[-1]))
        flat = cast(Any, dy.reshape(-1, dy.shape[-1]))
        return Gradients(dx=cast(Any, dy) @ self._dense.kernel.T, layers=((positions.T @ flat, flat.sum(0)),))

    def placement(self) -> str:
        return "cpu"

    def handed_strides(self) -> tuple[int, ...] | None:
        return None
