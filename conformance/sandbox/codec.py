"""
Messages over a pipe between the suite and the process that holds a framework.

A question is pickled: the process that answers may trust who asks. A reply is not, as it comes from a process in which
anything may run: it is MessagePack, of a length that is known beforehand, and is made an answer by
`conformance.sandbox.answers.fit`, which builds plain data, arrays of numbers and the dataclasses of answers, and
nothing else. A framework that writes into the pipe itself is found out before a byte of what it wrote is read. This
module knows no process, no deadline and no adapter.

A message is one frame:

    header    magic, length of the frame, number of buffers, length of the body, CRC-32 of all before the buffers
    lengths   one unsigned 64-bit integer per buffer
    body      the pickle (protocol 5) of a question or the MessagePack of a reply, the contents of arrays left out
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
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Final, Self

import msgspec
import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Stack
from conformance.sandbox.answers import DTYPE_NAMES, DTYPES, fit
from conformance.sandbox.steps import (
    Build,
    Declined,
    Differentiate,
    Done,
    Forward,
    Hello,
    Inferred,
    InferShapes,
    Malformed,
    Output,
    Parameters,
    Raised,
    ReadParameters,
    Reply,
    SetWeights,
    Step,
    Unreached,
)

MAGIC: Final = b"\x93dC\n"
TRAILER: Final = b"\nCd\x93"
HEADER: Final = struct.Struct("!4sQIQI")
LENGTH: Final = struct.Struct("!Q")
ALIGNMENT: Final = 16
#: No question comes near it; a length beyond it is noise (bytes).
LONGEST: Final = 2**36
#: The longest reply without the contents of its arrays, and what surrounds them in its frame (bytes).
LARGEST_BODY: Final = 4 * 2**20
#: The most arrays of one message.
MOST_BUFFERS: Final = 2**16
SMALL_READ: Final = 2**16
LARGE_READ: Final = 2**20


class Garbage(Exception):
    """What arrived is not a message: something else wrote into the pipe."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What one frame holds: the body, and the contents of arrays as views of the frame, which lives with them."""

    body: memoryview
    buffers: Sequence[memoryview]


def _framed(body: bytes | memoryview, buffers: Sequence[memoryview]) -> bytes:
    """Return one frame."""
    lengths = b"".join(LENGTH.pack(buffer.nbytes) for buffer in buffers)
    parts: list[bytes | memoryview] = [b"", lengths, body]
    total = HEADER.size + len(lengths) + len(body)
    for buffer in buffers:
        padding = -total % ALIGNMENT
        parts += [bytes(padding), buffer]
        total += padding + buffer.nbytes
    parts.append(TRAILER)
    total += len(TRAILER)
    check = zlib.crc32(body, zlib.crc32(lengths, _check_of_sizes(total, len(buffers), len(body))))
    parts[0] = HEADER.pack(MAGIC, total, len(buffers), len(body), check)
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

    def take(self, *, longest: int = LONGEST) -> Frame | None:
        """
        Return the next frame, or None where none has arrived whole.

        Raises:
            Garbage: what has arrived is not one, or longer than `longest` bytes.

        """
        received = self._received
        if not MAGIC.startswith(bytes(received[: len(MAGIC)])):
            raise Garbage(f"{bytes(received[:40])!r} is no message")
        if len(received) < HEADER.size:
            return None
        _, total, count, body, check = HEADER.unpack_from(received)
        if count > MOST_BUFFERS or not HEADER.size + count * LENGTH.size + body + len(TRAILER) <= total <= longest:
            raise Garbage("a message whose lengths do not add up")
        if len(received) < total:
            return None
        if len(received) == total:
            frame, self._received = received, bytearray()
        else:
            frame = received[:total]
            del received[:total]
        return _opened(memoryview(frame), count, body, check)


def _check_of_sizes(total: int, count: int, length: int) -> int:
    return zlib.crc32(b"%d %d %d" % (total, count, length))


def _opened(frame: memoryview, count: int, length: int, check: int) -> Frame:
    body = HEADER.size + count * LENGTH.size
    end = body + length
    if bytes(frame[-len(TRAILER) :]) != TRAILER or check != zlib.crc32(
        frame[HEADER.size : end], _check_of_sizes(frame.nbytes, count, length)
    ):
        raise Garbage("a message with something else written into it")
    buffers: list[memoryview] = []
    position = end
    for (size,) in LENGTH.iter_unpack(frame[HEADER.size : body]):
        position += -position % ALIGNMENT
        buffers.append(frame[position : position + size])
        position += size
    return Frame(frame[body:end], buffers)


def _contents(array: Array) -> memoryview:
    """Return the bytes of an array in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# Questions


def encode_question(steps: Sequence[Step]) -> bytes:
    """Return the frame of a question."""
    buffers: list[memoryview] = []
    pickled = io.BytesIO()
    _Pickler(pickled, 5, buffer_callback=lambda buffer: buffers.append(buffer.raw())).dump(tuple(steps))
    return _framed(pickled.getbuffer(), buffers)


def decode_question(frame: Frame) -> tuple[Step, ...]:
    """Return the steps of a question; an array that several of them name is one array."""
    steps: tuple[Step, ...] = pickle.loads(frame.body, buffers=frame.buffers)
    return steps


# Frozen dataclasses with slots pickle themselves through `dataclasses.fields`, one object at a time. A question has
# dozens of them, and taking them apart and together here saves a third of its time.
_NAMES: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(each.name for each in fields(kind))
    for kind in (Build, Dense, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Stack)
}


def _rebuild(kind: type, *values: object) -> object:
    """Return the dataclass of that kind with these values of its fields, in their order."""
    made: object = object.__new__(kind)
    for name, value in zip(_NAMES[kind], values, strict=True):
        object.__setattr__(made, name, value)
    return made


def _array(dtype: str, shape: tuple[int, ...], contents: memoryview) -> Array:
    """Return the array with these contents, in C order and without a copy."""
    return np.ndarray(shape, DTYPES[dtype], contents)


class _Pickler(pickle.Pickler):
    """Pickles a question, and sets the contents of arrays aside."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _NAMES:
            return _rebuild, (kind, *[getattr(obj, name) for name in _NAMES[kind]])
        if kind is np.ndarray:
            # NumPy's own way takes twice as long, and copies what is neither contiguous nor of a built-in dtype twice.
            return _array, (DTYPE_NAMES[obj.dtype], obj.shape, pickle.PickleBuffer(_contents(obj)))
        return NotImplemented


# Replies

_KINDS: Final[dict[str, type[Any]]] = {
    each.__name__: each
    for each in (Declined, Done, Gradients, Hello, Inferred, Malformed, Output, Parameters, Raised, Unreached)
}
#: The code of an array in MessagePack: dtype, shape and the number of its buffer.
_ARRAY: Final = 1


class _Envelope(msgspec.Struct, array_like=True):
    """A reply as it crosses: its answer is read only after what surrounds it."""

    label: str
    stage: str
    #: Seconds.
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    kind: str
    answer: msgspec.Raw


def encode_reply(reply: Reply) -> bytes:
    """Return the frame of a reply, whose answer `perform` made fit; one that is too long becomes `Malformed`."""
    buffers: list[memoryview] = []

    def set_aside(array: Any) -> msgspec.msgpack.Ext:
        buffers.append(_contents(array))
        named = (DTYPE_NAMES[array.dtype], array.shape, len(buffers) - 1)
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(named))

    answer = msgspec.msgpack.encode(reply.answer, enc_hook=set_aside)
    if len(answer) > LARGEST_BODY // 2:
        message = f"given {len(answer)} bytes of text and numbers beside arrays, expected at most {LARGEST_BODY // 2}"
        return encode_reply(replace(reply, answer=Malformed(message=message)))
    kind = type(reply.answer).__name__
    envelope = _Envelope(reply.label, reply.stage, reply.seconds, kind, msgspec.Raw(answer))
    return _framed(msgspec.msgpack.encode(envelope), buffers)


def decode_reply(frame: Frame, *, room: int) -> Reply:
    """
    Return a reply from a process that is not trusted, whose arrays take at most `room` bytes.

    Raises:
        Garbage: it is none.
    """

    def array(code: int, data: memoryview) -> Array:
        dtype, shape, index = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], int])
        return np.ndarray(shape, DTYPES[dtype], frame.buffers[index])

    try:
        if len(frame.body) > LARGEST_BODY:
            raise Garbage(f"{len(frame.body)} bytes beside arrays")
        found = msgspec.msgpack.decode(frame.body, type=_Envelope)
        answer = msgspec.msgpack.decode(found.answer, ext_hook=array)
        made = fit(_KINDS[found.kind], answer, room=room)
    except Exception as error:
        raise Garbage(f"a message that cannot be read: {type(error).__name__}: {error}") from None
    return Reply(label=found.label, answer=made, seconds=found.seconds, stage=found.stage)
