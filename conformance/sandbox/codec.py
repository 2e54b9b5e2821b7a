"""
Questions and replies as frames.

A question is pickled: the process that answers may trust who asks. A reply is not, as it comes from a process in which
anything may run: it is MessagePack, of a length that is known beforehand, and is made an answer by
`conformance.sandbox.answers.fit`, which builds only plain data, arrays of numbers and the dataclasses of answers.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Stack
from conformance.sandbox.answers import DTYPE_NAMES, DTYPES, fit
from conformance.sandbox.frame import Frame, Garbage, frame_of
from conformance.sandbox.steps import (
    Answer,
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

#: The longest reply without the contents of its arrays, and what surrounds them in its frame (bytes).
LARGEST_BODY: Final = 4 * 2**20


def _contents(array: Array) -> memoryview:
    """Return the bytes of an array in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# Questions


def encode_question(steps: Sequence[Step]) -> bytes:
    """Return the frame of a question."""
    buffers: list[memoryview] = []
    pickled = io.BytesIO()
    _Pickler(pickled, 5, buffer_callback=lambda buffer: buffers.append(buffer.raw())).dump(tuple(steps))
    return frame_of(pickled.getbuffer(), buffers)


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

    def reducer_override(self, obj: object) -> Any:
        kind = type(obj)
        if kind in _NAMES:
            return _rebuild, (kind, *[getattr(obj, name) for name in _NAMES[kind]])
        if isinstance(obj, np.ndarray) and kind is np.ndarray:
            # NumPy's own way takes twice as long, and copies what is neither contiguous nor of a built-in dtype twice.
            return _array, (DTYPE_NAMES[obj.dtype], obj.shape, pickle.PickleBuffer(_contents(obj)))
        return NotImplemented


# Replies

_KINDS: Final[dict[str, type[Answer]]] = {
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

    def set_aside(array: Array) -> msgspec.msgpack.Ext:
        buffers.append(_contents(array))
        named = (DTYPE_NAMES[array.dtype], array.shape, len(buffers) - 1)
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(named))

    answer = msgspec.msgpack.encode(reply.answer, enc_hook=set_aside)
    if len(answer) > LARGEST_BODY // 2:
        message = f"given {len(answer)} bytes of text and numbers beside arrays, expected at most {LARGEST_BODY // 2}"
        return encode_reply(replace(reply, answer=Malformed(message=message)))
    kind = type(reply.answer).__name__
    envelope = _Envelope(reply.label, reply.stage, reply.seconds, kind, msgspec.Raw(answer))
    return frame_of(msgspec.msgpack.encode(envelope), buffers)


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
