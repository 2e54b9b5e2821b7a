"""
Messages over a pipe between the suite and the process that holds a framework.

Everything that crosses is plain Python, a NumPy array or scalar, or one of the dataclasses of `conformance.steps` and
`conformance.adapters.protocol`, and both ends hold each other to that: the sender refuses anything else by name, and
the receiver builds nothing else. A framework that writes into the pipe itself is found out before a byte of what it
wrote is unpickled. This module knows no process, no deadline and no adapter.

A message is one frame:

    header    magic, length of the frame, number of buffers, length of the pickle, CRC-32 of all before the buffers
    lengths   one unsigned 64-bit integer per buffer
    pickle    protocol 5, the contents of arrays left out
    buffers   the contents of arrays, each on a multiple of 16 bytes from the start of the frame
    trailer   magic

Bytes can be slipped into a pipe but never changed in it, and whatever is slipped in moves the trailer from its place:
it vouches for the buffers at no cost, where a CRC would take most of the time of a large array.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from dataclasses import fields, is_dataclass
from types import FunctionType, ModuleType
from typing import Any, Final, Self

import ml_dtypes
import numpy as np

from conformance import steps
from conformance.adapters import protocol
from conformance.adapters.protocol import Array

MAGIC: Final = b"\x93dC\n"
TRAILER: Final = b"\nCd\x93"
HEADER: Final = struct.Struct("!4sQIQI")
LENGTH: Final = struct.Struct("!Q")
ALIGNMENT: Final = 16
#: No question or answer comes near it; a length beyond it is noise (bytes).
LONGEST: Final = 2**36
SMALL_READ: Final = 2**16
LARGE_READ: Final = 2**20


class Garbage(Exception):
    """What arrived is not a message: something else wrote into the pipe."""


class Foreign(TypeError):
    """An object of a type that does not cross the pipe."""


def encode(message: object) -> bytes:
    """
    Return `message` as one frame.

    Raises:
        Foreign: some part of it is of a type that does not cross.

    """
    buffers: list[memoryview] = []
    pickled = io.BytesIO()
    _Pickler(pickled, 5, buffer_callback=lambda buffer: buffers.append(buffer.raw())).dump(message)
    body = pickled.getbuffer()
    lengths = b"".join(LENGTH.pack(buffer.nbytes) for buffer in buffers)
    parts: list[bytes | memoryview] = [b"", lengths, body]
    total = HEADER.size + len(lengths) + body.nbytes
    for buffer in buffers:
        padding = -total % ALIGNMENT
        parts += [bytes(padding), buffer]
        total += padding + buffer.nbytes
    parts.append(TRAILER)
    total += len(TRAILER)
    check = zlib.crc32(body, zlib.crc32(lengths, _check_of_sizes(total, len(buffers), body.nbytes)))
    parts[0] = HEADER.pack(MAGIC, total, len(buffers), body.nbytes, check)
    return b"".join(parts)


class Inbox:
    """The receiving end of a pipe: collects bytes, gives out messages. `descriptor` stays the caller's to close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()

    @classmethod
    def holding(cls, received: bytes) -> Self:
        """Return an inbox without a pipe that has received these bytes."""
        inbox = cls(-1)
        inbox._received += received
        return inbox

    @property
    def pending(self) -> bool:
        """Whether anything was received that has not been taken."""
        return bool(self._received)

    def fill(self) -> bool:
        """
        Read once from the pipe and return False at its end; as long as the pipe has nothing, a blocking one blocks.

        Raises:
            BlockingIOError: the pipe has nothing and is not a blocking one.

        """
        chunk = os.read(self._descriptor, SMALL_READ if len(self._received) < SMALL_READ else LARGE_READ)
        self._received += chunk
        return bool(chunk)

    def take(self) -> Any:
        """
        Return the next message, or None where none has arrived whole; None is not itself a message.

        Raises:
            Garbage: what has arrived is not one.

        """
        received = self._received
        if not MAGIC.startswith(bytes(received[: len(MAGIC)])):
            raise Garbage(f"{bytes(received[:40])!r} is no message")
        if len(received) < HEADER.size:
            return None
        _, total, count, pickled, check = HEADER.unpack_from(received)
        if not HEADER.size + count * LENGTH.size + pickled + len(TRAILER) <= total <= LONGEST:
            raise Garbage("a message whose lengths do not add up")
        if len(received) < total:
            return None
        if len(received) == total:
            frame, self._received = received, bytearray()
        else:
            frame = received[:total]
            del received[:total]
        return _decode(memoryview(frame), count, pickled, check)


def _check_of_sizes(total: int, count: int, pickled: int) -> int:
    return zlib.crc32(b"%d %d %d" % (total, count, pickled))


def _decode(frame: memoryview, count: int, pickled: int, check: int) -> Any:
    """Return the message that a whole frame holds; arrays are views of the frame, which therefore lives with them."""
    body = HEADER.size + count * LENGTH.size
    end = body + pickled
    if bytes(frame[-len(TRAILER) :]) != TRAILER or check != zlib.crc32(
        frame[HEADER.size : end], _check_of_sizes(frame.nbytes, count, pickled)
    ):
        raise Garbage("a message with something else written into it")
    buffers: list[memoryview] = []
    position = end
    for (length,) in LENGTH.iter_unpack(frame[HEADER.size : body]):
        position += -position % ALIGNMENT
        buffers.append(frame[position : position + length])
        position += length
    try:
        return _Unpickler(io.BytesIO(frame[body:end]), buffers=buffers).load()
    except Garbage:
        raise
    except Exception as error:
        raise Garbage(f"a message that cannot be read: {type(error).__name__}: {error}") from error


def _dataclasses_of(*modules: ModuleType) -> dict[str, type]:
    return {
        name: each
        for module in modules
        for name, each in vars(module).items()
        if isinstance(each, type) and is_dataclass(each) and each.__module__ == module.__name__
    }


# Frozen dataclasses with slots pickle themselves through `dataclasses.fields`, one object at a time. A message has
# dozens of them, and taking them apart and together here saves a third of its time.
_FIELDS: Final = {
    name: (kind, tuple(field.name for field in fields(kind))) for name, kind in _dataclasses_of(protocol, steps).items()
}
_NAMES: Final[dict[type, tuple[str, ...]]] = dict(_FIELDS.values())


def _rebuild(kind_name: str, *values: object) -> object:
    """Return the dataclass of that name with these values of its fields, in their order."""
    kind, names = _FIELDS[kind_name]
    made: object = object.__new__(kind)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(made, name, value)
    return made


def _array(dtype: str, shape: tuple[int, ...], contents: memoryview) -> Array:
    """Return the array with these contents, in C order and without a copy."""
    extension = getattr(ml_dtypes, dtype, None)
    return np.ndarray(shape, np.dtype(dtype if extension is None else extension), contents)


def _scalar(array: Array) -> np.generic:
    """Return the scalar that an array of rank 0 holds."""
    scalar: np.generic = array.flat[0]
    return scalar


_NAMED: Final = {(each.__module__, each.__qualname__): each for each in (_rebuild, _array, _scalar)}


def _dtype_name(dtype: np.dtype[Any]) -> str:
    """Return a name by which `_array` finds a dtype, or raise `Foreign`."""
    if dtype.isbuiltin == 2 and getattr(ml_dtypes, dtype.name, None) is dtype.type:
        return dtype.name
    if dtype.isbuiltin == 2 or dtype.hasobject or dtype.names is not None:
        raise Foreign(f"an array of dtype {dtype} is neither of numbers nor of characters")
    return dtype.str


class _Pickler(pickle.Pickler):
    """Pickles what may cross, and sets the contents of arrays aside."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _NAMES:
            return _rebuild, (kind.__name__, *[getattr(obj, name) for name in _NAMES[kind]])
        if kind is np.ndarray:
            # NumPy's own way takes twice as long, and copies what is neither contiguous nor of a built-in dtype twice.
            dtype = _dtype_name(obj.dtype)
            contents = np.ascontiguousarray(obj).reshape(-1).view(np.uint8)
            return _array, (dtype, obj.shape, pickle.PickleBuffer(contents.data))
        if isinstance(obj, np.generic):
            return _scalar, (np.asarray(obj),)
        if kind is FunctionType and obj in (_rebuild, _array, _scalar):
            return NotImplemented
        raise Foreign(f"{kind.__module__}.{kind.__qualname__} is neither plain data nor an array")


class _Unpickler(pickle.Unpickler):
    """Builds what may cross and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMED[module, name]
        except KeyError:
            raise Garbage(f"a message that names {module}.{name}") from None
