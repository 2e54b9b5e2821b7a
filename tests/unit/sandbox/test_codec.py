from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest

from conformance.adapters.protocol import Dense, Gradients, Parameter, Stack
from conformance.sandbox.codec import (
    LARGEST_BODY,
    decode_question,
    decode_reply,
    encode_question,
    encode_reply,
)
from conformance.sandbox.frame import HEADER, LENGTH, MAGIC, MOST_BUFFERS, TRAILER, Garbage, Inbox
from conformance.sandbox.steps import (
    Build,
    Declined,
    Differentiate,
    Done,
    Forward,
    Hello,
    Inferred,
    Malformed,
    Output,
    Parameters,
    Raised,
    Reply,
    Unreached,
)

ROOM = 2**21


def there(answer: Any, *, room: int = ROOM) -> Any:
    """Return an answer as it arrives."""
    return arrived(encode_reply(Reply(label="step", answer=answer, seconds=0.25)), room=room).answer


def arrived(encoded: bytes, *, room: int = ROOM) -> Reply:
    frame = Inbox.with_bytes(encoded).take(longest=room + LARGEST_BODY)
    assert frame is not None
    return decode_reply(frame, room=room)


def output(y: Any) -> Output:
    return Output(y=y, placement="cpu", strides=None)


ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bfloat16": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3),
    "rank 0": np.array(3.0),
    "empty": np.ones((0, 3), np.float16),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "strided": np.arange(12.0).reshape(2, 6)[:, ::2],
    "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
    "1 MiB": np.arange(2**17, dtype=np.float64),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_array_arrives_with_its_bits(array: np.ndarray[Any, Any]) -> None:
    (asked,) = question(Forward(label="output", x=array))
    for came in (there(output(array)).y, asked.x):
        assert type(came) is np.ndarray
        assert came.dtype == array.dtype
        assert came.shape == array.shape
        assert came.tobytes() == array.tobytes()


def test_non_finite_bits_survive() -> None:
    payload = np.array([0x7FC00001, 0xFF800000, 0x80000000], np.uint32).view(np.float32)
    assert there(output(payload)).y.view(np.uint32).tolist() == payload.view(np.uint32).tolist()


def question(*steps: Any) -> Any:
    """Return steps as they arrive."""
    frame = Inbox.with_bytes(encode_question(steps)).take()
    assert frame is not None
    return decode_question(frame)


def test_question_arrives_as_it_was() -> None:
    kernel = np.ones((1, 4), np.float32)
    layer = Dense(units=4, use_bias=True, activation="linear", kernel=kernel, bias=np.zeros(4, np.float32))
    stack = Stack(input_shape=(784, 1), leading_axes=1, dtype="float32", layers=(layer,))
    x = np.ones((2, 784, 1), np.float32)
    build, forward, differentiate = question(
        Build(label="build", stack=stack, device="cpu"),
        Forward(label="output", model="other", x=x, layout="strided"),
        Differentiate(label="gradients", x=x, dy=x),
    )
    assert (build.label, build.model, build.device) == ("build", "main", "cpu")
    assert build.stack.layers[0].kernel.tolist() == kernel.tolist()
    assert (forward.model, forward.layout) == ("other", "strided")
    assert forward.x is differentiate.x is differentiate.dy, "one array is sent once, and arrives as one"


ANSWERS = [
    Done(),
    Declined(reason="why"),
    Malformed(message="a list"),
    Unreached(because="build"),
    Inferred(shapes=((None, 4), (2, 0))),
    Hello(versions={"numpy": "2"}, settings={"a": [1, {"b": None}], "c": float("inf")}, devices=("cpu",), threads=2),
    Raised(type="E", message="m\n\tn", modules=("a", "b"), traceback="t"),
    Parameters(
        parameters=(Parameter(layer=0, name="bias", shape=(4,), dtype="float32", trainable=True, reported="b:0"),),
        own_count=None,
    ),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda each: type(each).__name__)
def test_answer_arrives_as_it_was(answer: Any) -> None:
    reply = Reply(label="step", answer=answer, seconds=0.25, stage="infer")
    assert arrived(encode_reply(reply)) == reply


def test_the_arrays_that_a_step_changed_arrive() -> None:
    changed = Reply(
        label="x", answer=Done(), seconds=0.0, changed_operands=("bias of layer 0",), changed_results=("y",)
    )
    assert arrived(encode_reply(changed)) == changed


def test_absent_arrays_stay_absent() -> None:
    came = there(Gradients(dx=None, layers=((np.ones((1, 2)), None),)))
    assert came.dx is None
    assert came.layers[0][1] is None


def test_an_answer_without_measure_is_none() -> None:
    found = there(Inferred(shapes=((None,) * (LARGEST_BODY // 2),)))
    assert isinstance(found, Malformed)
    assert found.message.endswith(f"expected at most {LARGEST_BODY // 2}")


# What a hostile process may write


def framed(body: bytes, buffers: Sequence[bytes] = ()) -> bytes:
    """Return a frame around any body; the buffers' sizes are multiples of 16."""
    lengths = b"".join(LENGTH.pack(len(each)) for each in buffers)
    start = HEADER.size + len(lengths) + len(body)
    padding = bytes(-start % 16) if buffers else b""
    total = start + len(padding) + sum(map(len, buffers)) + len(TRAILER)
    header = HEADER.pack(MAGIC, total, len(buffers), len(body))
    return header + lengths + body + padding + b"".join(buffers) + TRAILER


def reply(kind: str, answer: object, *, seconds: float = 0.25, changed: tuple[object, object] = ((), ())) -> bytes:
    """Return a body that says what it likes."""
    return msgspec.msgpack.encode(["step", "call", seconds, kind, answer, *changed])


def array(dtype: object, shape: object, index: object) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(1, msgspec.msgpack.encode([dtype, shape, index]))


def an_output(y: object) -> bytes:
    return reply("Output", {"y": y, "placement": "cpu", "strides": None})


def test_encode_returns_a_frame() -> None:
    y = np.arange(4.0)
    assert framed(an_output(array("float64", [4], 0)), [y.tobytes()]) == encode_reply(
        Reply(label="step", answer=output(y), seconds=0.25)
    )


NESTED = b"\x91" * 100_000 + b"\x01"
A_PARAMETER = {"layer": 0, "name": "k", "shape": [1], "dtype": "f", "trainable": True, "reported": "k"}
HOSTILE = {
    "a pickle": pickle.dumps(0),
    "no envelope": msgspec.msgpack.encode("step"),
    "another kind": reply("Transcript", {}),
    "a step": reply("Forward", {}),
    "fields missing": reply("Output", {}),
    "no time": reply("Done", {}, seconds=float("nan")),
    "nested": msgspec.msgpack.encode(["step", "call", 0.25, "Inferred"])[:-1] + NESTED,
    "nested shapes": reply("Inferred", {"shapes": [[[1]]]}),
    "4.0": reply("Inferred", {"shapes": [[4.0]]}),
    "True": reply("Inferred", {"shapes": [[True]]}),
    "a rank": reply("Inferred", {"shapes": [[1] * 65]}),
    "many shapes": reply("Inferred", {"shapes": [[]] * 1001}),
    "a large dimension": reply("Inferred", {"shapes": [[2**63]]}),
    "half a character": b"\x95\xa4step\xa4call\xcb"
    + struct.pack(">d", 0)
    + b"\xa8Declined\x81\xa6reason\xa3\xed\xa0\x80",
    "a long name": reply("Parameters", {"parameters": [A_PARAMETER | {"reported": "k" * 1001}], "own_count": None}),
    "a rank of a parameter": reply(
        "Parameters", {"parameters": [A_PARAMETER | {"shape": [1] * 65}], "own_count": None}
    ),
    "names of arrays": reply("Done", {}, changed=(["x\n"], [])),
    "one name": reply("Done", {}, changed=("x", [])),
    "strings": an_output(array("U1", [4], 0)),
    "objects": an_output(array("O", [4], 0)),
    "another buffer": an_output(array("float64", [4], 1)),
    "beyond its buffer": an_output(array("float64", [5], 0)),
    "negative axes": an_output(array("float64", [-1, -4], 0)),
    "no array": an_output([1.0]),
    "no numbers": reply("Gradients", {"dx": None, "layers": [[1, 2]]}),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_receiver_builds_nothing_else(body: bytes) -> None:
    with pytest.raises(Garbage):
        arrived(framed(body, [bytes(32)]))


def test_a_shared_buffer_counts_once() -> None:
    """A few hundred bytes that stand for gigabytes of arrays."""
    views = {"dx": None, "layers": [[array("float64", [4], 0), None]] * 64}
    with pytest.raises(Garbage, match="too many"):
        arrived(framed(reply("Gradients", views), [bytes(32)]), room=63 * 32)


def test_text_is_legible_on_arrival() -> None:
    found = arrived(framed(reply("Declined", {"reason": "\x1b[31m\x00\u202e red"}))).answer
    assert found == Declined(reason="\ufffd[31m\ufffd\ufffd red")


NOISE = {
    "text": b"Could not load dynamic library\n",
    "a single byte": b"\0",
    "pickle": pickle.dumps(1),
    "numbers that do not add up": HEADER.pack(MAGIC, 10, 3, 10),
    "endless": HEADER.pack(MAGIC, 2**63, 0, 0),
    "longer than any answer": HEADER.pack(MAGIC, ROOM + LARGEST_BODY + 1, 0, 0),
    "too many arrays": HEADER.pack(MAGIC, ROOM, MOST_BUFFERS + 1, 0),
    "no trailer": HEADER.pack(MAGIC, HEADER.size + 5, 0, 1) + b"....." + TRAILER,
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_is_garbage(noise: bytes) -> None:
    with pytest.raises(Garbage):
        Inbox.with_bytes(noise).take(longest=ROOM + LARGEST_BODY)


def test_a_body_is_not_as_long_as_all_arrays() -> None:
    with pytest.raises(Garbage, match="bytes besides arrays"):
        arrived(framed(reply("Declined", {"reason": "a" * LARGEST_BODY})))


@pytest.mark.parametrize("position", [0, 3, 10, HEADER.size, HEADER.size + 20, 150, -1])
def test_bytes_slipped_into_a_message_are_noticed(position: int) -> None:
    encoded = encode_reply(Reply(label="step", answer=output(np.arange(100.0)), seconds=0.0))
    inbox = Inbox.with_bytes(encoded[:position] + b"noise" + encoded[position:] + encoded)
    with pytest.raises(Garbage):
        inbox.take()


def test_messages_come_out_in_pieces_of_any_size() -> None:
    replies = [Reply(label=each, answer=output(np.ones(100)), seconds=0.0) for each in ("one", "two", "three")]
    stream = b"".join(map(encode_reply, replies))
    reading, writing = os.pipe()
    try:
        inbox = Inbox(reading)
        came = []
        for at in range(0, len(stream), 7):
            os.write(writing, stream[at : at + 7])
            assert inbox.fill()
            while (frame := inbox.take()) is not None:
                came.append(decode_reply(frame, room=ROOM).label)
        assert came == ["one", "two", "three"]
        assert not inbox.pending
    finally:
        os.close(reading)
        os.close(writing)


def test_the_end_of_the_pipe_is_reported() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    try:
        assert not Inbox(reading).fill()
    finally:
        os.close(reading)


def test_header_has_no_padding() -> None:
    assert HEADER.size == struct.calcsize("=4sQIQ")
