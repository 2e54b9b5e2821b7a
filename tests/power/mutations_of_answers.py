"""Mutations of what holds the answers of a framework's process to their form."""

from __future__ import annotations

from typing import Final

from tests.power.mutation import Mutation, of

#: (name, text taken out, text put in, test that must fail), module by module.
MUTATIONS: Final[tuple[Mutation, ...]] = (
    *of(
        "sandbox.answers",
        (
            "True is 1",
            "if value is None or isinstance(value, bool):",
            "if value is None:",
            "answers::an_invalid_length_has_a_message_with_value_and_expectation",
        ),
        (
            "4.0 is 4",
            "return float.__pos__(value)",
            "return int(value)",
            "answers::an_invalid_length_has_a_message_with_value_and_expectation",
        ),
        (
            "any depth",
            "if depth > DEEPEST:",
            "if False:",
            "answers::an_invalid_length_has_a_message_with_value_and_expectation",
        ),
        (
            "NumPy's integers are foreign",
            "value = value.item()",
            "raise Misfit(type_name(value))",
            "answers::an_integer_of_any_class_is_a_length",
        ),
        (
            "integers of any size",
            "if isinstance(number, int) and number.bit_length() > 63:",
            "if False:",
            "codec::receiver_builds_nothing_else",
        ),
        (
            "arrays of any size",
            "self._room -= array.nbytes",
            "self._room -= 0",
            "codec::a_shared_buffer_counts_once",
        ),
        (
            "arrays of any dtype",
            "if array.dtype not in DTYPE_NAMES:",
            "if False:",
            "answers::dtypes_are_those_of_numbers_in_the_order_of_this_machine",
        ),
        (
            "text of any length",
            "return legible(shortened(content, END_OF_TEXT))",
            "return legible(content)",
            "answers::text_is_legible_and_short_whatever_its_object_does",
        ),
        (
            "text that steers",
            "return legible(shortened(content, END_OF_TEXT))",
            "return shortened(content, END_OF_TEXT)",
            "codec::text_is_legible_on_arrival",
        ),
        (
            "only str has text",
            "    except Exception as error:\n        content",
            "    except TypeError as error:\n        content",
            "answers::text_is_legible_and_short_whatever_its_object_does",
        ),
    ),
    *of(
        "sandbox.codec",
        (
            "text as long as arrays",
            "if len(frame.body) > LARGEST_BODY:",
            "if False:",
            "codec::a_body_is_not_as_long_as_all_arrays",
        ),
        (
            "an answer without measure is sent",
            "if len(answer) > LARGEST_BODY // 2:",
            "if False:",
            "codec::an_answer_without_measure_is_none",
        ),
    ),
    *of(
        "sandbox.execution",
        (
            "no room for a wide layer",
            "* max(widest, x.shape[-1])",
            "* x.shape[-1]",
            "answers::arrays_have_more_room_than_right_answers_need",
        ),
        (
            "an answer that does not fit is done",
            "answer = Malformed(message=str(misfit))",
            "answer = Done()",
            "answers::a_step_whose_answer_does_not_fit_breaks_no_other",
        ),
    ),
    *of(
        "checks.finding",
        (
            "what is no answer conforms",
            'return replace(missing, message=f"no evidence: what',
            'return replace(missing, outcome=CONFORMS, message=f"no evidence: what',
            "checks::missing_evidence_violates",
        ),
    ),
    *of(
        "sandbox.frame",
        (
            "a reply of any length",
            "<= total <= longest:",
            "<= total:",
            "codec::noise_is_garbage",
        ),
        (
            "noise read as a header",
            "if not MAGIC.startswith(bytes(received[: len(MAGIC)])):",
            "if False:",
            "codec::noise_is_garbage",
        ),
        (
            "a frame whose end is not looked at",
            "if bytes(frame[-len(TRAILER) :]) != TRAILER:",
            "if False:",
            "codec::bytes_slipped_into_a_message_are_noticed",
        ),
        (
            "any number of arrays",
            "if count > MOST_BUFFERS or not",
            "if not",
            "codec::noise_is_garbage",
        ),
    ),
)
