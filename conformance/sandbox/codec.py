"""
Questions and replies as frames.

A question is pickled, because the child trusts the suite. A reply is not, because any code may run in the child. It is
MessagePack of limited length, and `conformance.sandbox.answers.fit` validates it: only plain data, arrays of numbers
and the dataclasses of answers are built.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Annotated, Final

import msgspec
import numpy as np

from conformance.adapters.protocol import Array, Dense, Gradients, Stack
from conformance.sandbox.answers import DTYPE_NAMES, DTYPES, fit
from conformance.sandbox.frame import Frame, Garbage, frame_of
from conformance.sandbox.steps import (
    Answer,
    ArrayNames,
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

#: The longest body of a reply, without the contents of its arrays (bytes).
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
    """Return the steps of a question. An array that several steps share stays one array."""
    steps: tuple[Step, ...] = pickle.loads(frame.body, buffers=frame.buffers)
    return steps


# Frozen dataclasses with slots pickle themselves with `dataclasses.fields`, one object at a time. A question has dozens
# of them; the reducer here saves a third of the time of a question.
_NAMES: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(each.name for each in fields(kind))
    for kind in (Build, Dense, Differentiate, Forward, InferShapes, ReadParameters, SetWeights, Stack)
}


def _rebuild(kind: type, *values: object) -> object:
    """Return a dataclass with these values of its fields, in order."""
    made: object = object.__new__(kind)
    for name, value in zip(_NAMES[kind], values, strict=True):
        object.__setattr__(made, name, value)
    return made


def _array(dtype: str, shape: tuple[int, ...], contents: memoryview) -> Array:
    """Return an array of these contents, in C order and without a copy."""
    return np.ndarray(shape, DTYPES[dtype], contents)


class _Pickler(pickle.Pickler):
    """Pickles a question with the contents of arrays as separate buffers."""

    def reducer_override(self, obj: object) -> str | tuple[Callable[..., object], tuple[object, ...]]:
        kind = type(obj)
        if kind in _NAMES:
            return _rebuild, (kind, *[getattr(obj, name) for name in _NAMES[kind]])
        if isinstance(obj, np.ndarray) and kind is np.ndarray:
            # NumPy's own pickling takes twice as long, and copies some arrays twice.
            return _array, (DTYPE_NAMES[obj.dtype], obj.shape, pickle.PickleBuffer(_contents(obj)))
        return NotImplemented  # type: ignore[no-any-return]  # what pickle defines for its default


# Replies

_KINDS: Final[dict[str, type[Answer]]] = {
    each.__name__: each
    for each in (Declined, Done, Gradients, Hello, Inferred, Malformed, Output, Parameters, Raised, Unreached)
}
#: The code of an array in MessagePack: dtype, shape and the number of its buffer.
_ARRAY: Final = 1


class _Envelope(msgspec.Struct, array_like=True):
    """A reply on the pipe. The answer is decoded after the other fields."""

    label: str
    stage: str
    #: Seconds.
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    kind: str
    answer: msgspec.Raw
    changed_operands: ArrayNames = ()
    changed_results: ArrayNames = ()


def encode_reply(reply: Reply) -> bytes:
    """Return the frame of a reply from `perform`. An answer that is too long becomes `Malformed`."""
    buffers: list[memoryview] = []

    def array_hook(array: Array) -> msgspec.msgpack.Ext:
        buffers.append(_contents(array))
        named = (DTYPE_NAMES[array.dtype], array.shape, len(buffers) - 1)
        return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(named))

    answer = msgspec.msgpack.encode(reply.answer, enc_hook=array_hook)
    if len(answer) > LARGEST_BODY // 2:
        message = f"given {len(answer)} bytes of text and numbers besides arrays, expected at most {LARGEST_BODY // 2}"
        return encode_reply(replace(reply, answer=Malformed(message=message)))
    kind = type(reply.answer).__name__
    envelope = _Envelope(
        reply.label,
        reply.stage,
        reply.seconds,
        kind,
        msgspec.Raw(answer),
        reply.changed_operands,
        reply.changed_results,
    )
    return frame_of(msgspec.msgpack.encode(envelope), buffers)


def decode_reply(frame: Frame, *, room: int) -> Reply:
    """
    Return a reply of a process that is not trusted; its arrays may have at most `room` bytes.

    Raises:
        Garbage: the frame is no valid reply.
    """

    def array(code: int, data: memoryview) -> Array:
        dtype, shape, index = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], int])
        return np.ndarray(shape, DTYPES[dtype], frame.buffers[index])

    try:
        if len(frame.body) > LARGEST_BODY:
            raise Garbage(f"{len(frame.body)} bytes besides arrays")
        found = msgspec.msgpack.decode(frame.body, type=_Envelope)
        answer = msgspec.msgpack.decode(found.answer, ext_hook=array)
        made = fit(_KINDS[found.kind], answer, room=room)
    except Exception as error:
        raise Garbage(f"a message that cannot be read: {type(error).__name__}: {error}") from None
    return Reply(
        label=found.label,
        answer=made,
        seconds=found.seconds,
        stage=found.stage,
        changed_operands=found.changed_operands,
        changed_results=found.changed_results,
    )
