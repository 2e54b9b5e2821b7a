"""The one form of an answer, and what does not fit it: what was given, what is expected, and where."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conformance.adapters.protocol import Dense, Stack
from conformance.sandbox.answers import (
    DEEPEST,
    END_OF_TEXT,
    MOST_VALUES,
    Misfit,
    digits,
    fit,
    short_text,
    text,
    type_name,
)
from conformance.sandbox.execution import SPARE_ROOM, hello_of, perform, room
from conformance.sandbox.steps import Build, Declined, Forward, Hello, Inferred, InferShapes, Output, Reply, Step
from tests.support.hostile_answers import Dimension, Raising, nest
from tests.support.numpy_adapter import Honest, NumPyAdapter, NumPyModel


def inferred(*shape: object) -> Inferred:
    return fit(Inferred, {"shapes": [shape]})


def output(y: object) -> Output:
    return fit(Output, {"y": y, "placement": "cpu", "strides": None}, room=64)


@pytest.mark.parametrize("four", [4, np.int64(4), np.uint8(4), Dimension(4)], ids=lambda each: type(each).__name__)
def test_an_integer_of_any_class_is_a_length(four: Any) -> None:
    (found,) = inferred(None, four).shapes
    assert found == (None, 4)
    assert type(found[1]) is int


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (4.0, "Expected `int | null`, got `float` - at `$.shapes[0][1]`; given {'shapes': [[None, 4.0]]}"),
        (np.float64(4), "Expected `int | null`, got `float`"),
        (True, "Expected `int | null`, got `bool`"),
        (np.True_, "Expected `int | null`, got `bool`"),
        ("4", "Expected `int | null`, got `str`"),
        (1j, "given `complex`, expected plain data or a numpy.ndarray of numbers - at `$.shapes[0][1]`"),
        (np.longdouble(4), "given `numpy.longdouble`, expected plain data"),
        (2**63, "given an integer of 64 bits, expected at most 63 - at `$.shapes[0][1]`"),
        (10**5000, "given an integer of 16610 bits"),
        (b"4", "given `bytes`"),
        (nest(), f"given a value of more than {DEEPEST} levels"),
        (itertools.count(), f"given more than {MOST_VALUES} values, expected fewer"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_invalid_length_has_a_message_with_value_and_expectation(given: object, why: str) -> None:
    with pytest.raises(Misfit) as caught:
        inferred(None, given)
    assert str(caught.value).startswith(why)


def test_dtypes_are_those_of_numbers_in_the_order_of_this_machine() -> None:
    for dtype in (np.bool_, np.float16, np.uint64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
        y = np.ones(2, dtype)
        assert output(y).y is y
    for wrong in (">f4", "c8", "S1", "U1", "O", "M8[s]", "V4", "f4,f4", np.longdouble):
        with pytest.raises(Misfit, match=r"given an array of dtype .+, expected one of numbers: bool, "):
            output(np.zeros(2, wrong))


def test_arrays_have_more_room_than_right_answers_need() -> None:
    assert output(np.ones(8)).y.nbytes == 64
    with pytest.raises(Misfit, match=r"an array of shape \(9,\) and dtype float64, 72 bytes, which is 8 too many"):
        output(np.ones(9))
    layer = Dense(units=1000, use_bias=False, activation="linear", kernel=np.ones((1, 1000)), bias=None)
    stack = Stack(input_shape=(1,), leading_axes=1, dtype="float64", layers=(layer,))
    for features in (0, 1):
        steps = (Build(label="build", stack=stack, device="cpu"), Forward(label="output", x=np.ones((10**6, features))))
        assert room(steps) >= 8 * 10**9, "the output is a thousand times as large as the question"
    assert room(()) == SPARE_ROOM


def test_text_is_legible_and_short_whatever_its_object_does() -> None:
    assert text("\ud800 a\x1b[0m\n\tb\r\n\u202e") == "\ufffd a\ufffd[0m\n\tb\n\ufffd"
    assert text("a" * (2 * END_OF_TEXT)) == "a" * (2 * END_OF_TEXT)
    assert len(text("a" * 10**7)) == 2 * END_OF_TEXT + 3
    assert text(Raising()) == "<no text: its __str__ raised RuntimeError>"
    assert fit(Declined, {"reason": "\x00"}).reason == "\ufffd"


def test_a_description_calls_no_method_of_the_object() -> None:
    assert type_name(Raising()) == "tests.support.hostile_answers.Raising"
    assert short_text([Raising()]) == "[tests.support.hostile_answers.Raising]"
    assert short_text({"y": np.ones((2, 3), np.float32)}) == "{'y': an array of shape (2, 3) and dtype float32}"
    assert len(short_text([["a" * 1000] * 1000] * 1000)) < 5000


def test_settings_are_plain_data() -> None:
    said: dict[str, Any] = {"versions": {"numpy": "2"}, "devices": ["cpu"], "threads": 1}
    assert fit(Hello, said | {"settings": {"a": {"b": [1, np.float32(0.5)]}}}).settings == {"a": {"b": [1, 0.5]}}
    for wrong in ({"a": [[[[1]]]]}, {1: 2}, {"a": object()}, None, "text", {"a" * 1001: 1}):
        with pytest.raises(Misfit):
            fit(Hello, said | {"settings": wrong})
    with pytest.raises(Misfit, match=r"got `str` - at `\$.devices`"):
        fit(Hello, said | {"settings": {}, "devices": "cpu"})


class _Reports(NumPyModel):
    """Infers what may be no shape."""

    def infer_output_shapes(self, batch: int | None) -> Any:
        return [(batch, 4.0)] if batch is None else super().infer_output_shapes(batch)


class _Telling(NumPyAdapter):
    def build(self, stack: Stack, *, device: str) -> _Reports:
        return _Reports(stack, Honest())


def test_a_step_whose_answer_does_not_fit_breaks_no_other() -> None:
    layer = Dense(units=2, use_bias=False, activation="linear", kernel=np.ones((1, 2), np.float32), bias=None)
    stack = Stack(input_shape=(1,), leading_axes=1, dtype="float32", layers=(layer,))
    steps: list[Step] = [Build(label="build", stack=stack, device="cpu")]
    steps += [InferShapes(label=f"infer {each}", batch=each) for each in (None, 3)]
    replies: list[Reply] = list(perform(_Telling(Honest()), steps))
    assert [type(each.answer).__name__ for each in replies] == ["Done", "Malformed", "Inferred"]


def test_a_count_may_be_larger_than_64_bits_and_is_an_integer() -> None:
    assert digits(np.int64(3140), "$") == "3140"
    assert digits(2**64 + 2**32, "$") == str(2**64 + 2**32)
    for wrong in (True, np.True_, 4.0, "4", None, 2**200):
        with pytest.raises(Misfit, match="Expected `int"):
            digits(wrong, "$.own_count")


def test_devices_may_be_an_iterator_and_are_read_once() -> None:
    class Yields(NumPyAdapter):
        def devices(self) -> Any:
            return iter(["cpu"])

    assert hello_of(Yields(Honest()), 1).devices == ("cpu",)
