"""
Messages on a pipe between the suite and the process that holds a framework.

A framework that writes into the pipe itself is detected before its bytes are decoded. A message is a frame:

    header    magic, length of the frame, number of buffers, length of the body
    lengths   one unsigned 64-bit integer per buffer
    body      the pickle (protocol 5) of a question or the MessagePack of a reply, the contents of arrays left out
    buffers   the contents of arrays, each on a multiple of 16 bytes from the start of the frame
    trailer   magic

Other bytes can be inserted into a pipe, but bytes in it cannot be changed. Every insertion moves the trailer.
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
#: The longest frame; no question comes near it (bytes).
LONGEST: Final = 2**36
#: The most arrays of one message.
MOST_BUFFERS: Final = 2**16
SMALL_READ: Final = 2**16
LARGE_READ: Final = 2**20


class Garbage(Exception):
    """The received bytes are no message: other code wrote into the pipe."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The content of one frame: the body, and the contents of arrays as views of the frame."""

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
    """The receiving end of a pipe: collects bytes and returns messages. The caller closes `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()

    @classmethod
    def with_bytes(cls, received: bytes) -> Self:
        """Return an inbox without a pipe that has received these bytes."""
        inbox = cls(-1)
        inbox._received += received
        return inbox

    @property
    def pending(self) -> bool:
        """Whether received bytes are left."""
        return bool(self._received)

    def fill(self) -> bool:
        """
        Read once from the pipe and return False at its end. A blocking pipe without bytes blocks.

        Raises:
            BlockingIOError: a non-blocking pipe has no bytes.

        """
        chunk = os.read(self._descriptor, SMALL_READ if len(self._received) < SMALL_READ else LARGE_READ)
        self._received += chunk
        return bool(chunk)

    def take(self, *, longest: int = LONGEST) -> Frame | None:
        """
        Return the next frame, or None if no whole frame has arrived.

        Raises:
            Garbage: the bytes are no frame, or the frame is longer than `longest` bytes.

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
