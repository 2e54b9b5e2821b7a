"""
Messages on a pipe between the suite and the process that holds a framework.

A framework that writes into the pipe itself is found out before a byte of what it wrote is read. A message is a frame:

    header    magic, length of the frame, number of buffers, length of the body
    lengths   one unsigned 64-bit integer per buffer
    body      the pickle (protocol 5) of a question or the MessagePack of a reply, the contents of arrays left out
    buffers   the contents of arrays, each on a multiple of 16 bytes from the start of the frame
    trailer   magic

Bytes can be slipped into a pipe but never changed in it, and whatever is slipped in moves the trailer from its place.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

MAGIC: Final = b"\x93dC\n"
TRAILER: Final = b"\nCd\x93"
HEADER: Final = struct.Struct("!4sQIQ")
LENGTH: Final = struct.Struct("!Q")
ALIGNMENT: Final = 16
#: No question comes near it; a length beyond it is noise (bytes).
LONGEST: Final = 2**36
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


def frame_of(body: bytes | memoryview, buffers: Sequence[memoryview]) -> bytes:
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
    parts[0] = HEADER.pack(MAGIC, total, len(buffers), len(body))
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
        _, total, count, body = HEADER.unpack_from(received)
        if count > MOST_BUFFERS or not HEADER.size + count * LENGTH.size + body + len(TRAILER) <= total <= longest:
            raise Garbage("a message whose lengths do not add up")
        if len(received) < total:
            return None
        if len(received) == total:
            frame, self._received = received, bytearray()
        else:
            frame = received[:total]
            del received[:total]
        return _opened(memoryview(frame), count, body)


def _opened(frame: memoryview, count: int, length: int) -> Frame:
    body = HEADER.size + count * LENGTH.size
    end = body + length
    if bytes(frame[-len(TRAILER) :]) != TRAILER:
        raise Garbage("a message with something else written into it")
    buffers: list[memoryview] = []
    position = end
    for (size,) in LENGTH.iter_unpack(frame[HEADER.size : body]):
        position += -position % ALIGNMENT
        buffers.append(frame[position : position + size])
        position += size
    return Frame(frame[body:end], buffers)
