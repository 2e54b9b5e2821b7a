from __future__ import annotations

import fractions
import os
import pickle
import struct
import zlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.adapters.protocol import Dense, Gradients, Parameter, Stack
from conformance.channel import HEADER, MAGIC, Foreign, Garbage, Inbox, encode
from conformance.steps import Build, Declined, Differentiate, Done, Forward, Output, Parameters, Raised, Reply, Step


def there(message: object) -> Any:
    return Inbox.holding(encode(message)).take()


ARRAYS = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bfloat16": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3),
    "rank 0": np.array(3.0),
    "empty": np.ones((0, 3), np.float16),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "strided": np.arange(12.0).reshape(2, 6)[:, ::2],
    "broadcast": np.broadcast_to(np.arange(3.0), (4, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "1 MiB": np.arange(2**17, dtype=np.float64),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_array_arrives_with_its_bits(array: np.ndarray[Any, Any]) -> None:
    arrived = there(array)
    assert type(arrived) is np.ndarray
    assert arrived.dtype == array.dtype
    assert arrived.shape == array.shape
    assert arrived.tobytes() == array.tobytes()


def test_non_finite_bits_survive() -> None:
    payload = np.array([0x7FC00001, 0xFF800000, 0x80000000], np.uint32).view(np.float32)
    assert there(payload).view(np.uint32).tolist() == payload.view(np.uint32).tolist()


def test_question_arrives_as_it_was() -> None:
    kernel = np.ones((1, 4), np.float32)
    layer = Dense(units=4, use_bias=True, activation="linear", kernel=kernel, bias=np.zeros(4, np.float32))
    stack = Stack(input_shape=(784, 1), leading_axes=1, dtype="float32", layers=(layer,))
    x = np.ones((2, 784, 1), np.float32)
    build, forward, differentiate = there(
        (
            Build(label="build", stack=stack, device="cpu"),
            Forward(label="output", model="other", x=x, layout="strided"),
            Differentiate(label="gradients", x=x, dy=x),
        )
    )
    assert (build.label, build.model, build.device) == ("build", "main", "cpu")
    assert build.stack.layers[0].kernel.tolist() == kernel.tolist()
    assert (forward.model, forward.layout) == ("other", "strided")
    assert forward.x is differentiate.x is differentiate.dy, "one array is sent once, and arrives as one"


ANSWERS = [
    Done(),
    Declined(reason="why"),
    Raised(type="E", message="m", modules=("a", "b"), traceback="t"),
    Parameters(
        parameters=(Parameter(layer=0, name="bias", shape=(4,), dtype="float32", trainable=True, reported="b:0"),),
        own_count=None,
    ),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda each: type(each).__name__)
def test_answer_arrives_as_it_was(answer: Any) -> None:
    reply = Reply(label="step", answer=answer, seconds=0.25)
    assert there(reply) == reply


def test_absent_arrays_stay_absent() -> None:
    arrived = there(Gradients(dx=None, layers=((np.ones((1, 2)), None),)))
    assert arrived.dx is None
    assert arrived.layers[0][1] is None


@pytest.mark.parametrize(
    "foreign",
    [
        fractions.Fraction(1),
        np.ma.array([1]),
        print,
        os.system,
        object(),
        lambda: 1,
        np.array([object()]),
        {1: {2: print}},
    ],
    ids=lambda each: type(each).__name__,
)
def test_foreign_object_is_refused_by_its_sender(foreign: object) -> None:
    with pytest.raises(Foreign, match="neither"):
        encode(Output(y=np.ones(1), placement="cpu", strides=foreign))  # type: ignore[arg-type]


def test_subclass_of_a_message_is_foreign() -> None:
    class Own(Step):
        pass

    with pytest.raises(Foreign, match="Own"):
        encode(Own(label="a"))


def framed(pickled: bytes) -> bytes:
    """Return a frame around any pickle, as `encode` would write it if it were less choosy."""
    whole = encode(0)
    plain = pickle.dumps(0, 5)
    assert plain in whole
    total = len(whole) - len(plain) + len(pickled)
    check = zlib.crc32(pickled, zlib.crc32(b"", zlib.crc32(b"%d %d %d" % (total, 0, len(pickled)))))
    return HEADER.pack(MAGIC, total, 0, len(pickled), check) + pickled + whole[-4:]


def test_framed_is_what_encode_does() -> None:
    assert framed(pickle.dumps(0, 5)) == encode(0)


@pytest.mark.parametrize("named", [os.system, eval, pickle.loads, np.save, os.fork], ids=lambda each: each.__name__)
def test_receiver_builds_nothing_else(named: object) -> None:
    with pytest.raises(Garbage, match="names"):
        Inbox.holding(framed(pickle.dumps(named, 5))).take()


NOISE = {
    "text": b"Could not load dynamic library\n",
    "a single byte": b"\0",
    "pickle": pickle.dumps(1),
    "numbers that do not add up": HEADER.pack(MAGIC, 10, 3, 10, 0),
    "endless": HEADER.pack(MAGIC, 2**63, 0, 0, 0),
    "wrong sum": HEADER.pack(MAGIC, HEADER.size + 5, 0, 1, 0) + b"....." + b"\nCd\x93",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise_is_garbage(noise: bytes) -> None:
    with pytest.raises(Garbage):
        Inbox.holding(noise).take()


@pytest.mark.parametrize("position", [0, 3, 10, HEADER.size, HEADER.size + 20, 150, -1])
def test_bytes_slipped_into_a_message_are_noticed(position: int) -> None:
    frame = encode((np.arange(100.0), np.arange(10.0), "text"))
    inbox = Inbox.holding(frame[:position] + b"noise" + frame[position:] + encode("the next message"))
    with pytest.raises(Garbage):
        inbox.take()


def test_messages_come_out_in_pieces_of_any_size() -> None:
    stream = encode("one") + encode(np.ones(100)) + encode("three")
    reading, writing = os.pipe()
    try:
        inbox = Inbox(reading)
        came = []
        for at in range(0, len(stream), 7):
            os.write(writing, stream[at : at + 7])
            assert inbox.fill()
            while (message := inbox.take()) is not None:
                came.append(message)
        assert [came[0], came[1].sum(), came[2]] == ["one", 100.0, "three"]
        assert not inbox.pending
    finally:
        os.close(reading)
        os.close(writing)


def test_end_of_pipe_is_told() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    try:
        assert not Inbox(reading).fill()
    finally:
        os.close(reading)


def test_header_has_no_padding() -> None:
    assert HEADER.size == struct.calcsize("=4sQIQI")
