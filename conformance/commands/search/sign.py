"""
The sign of a failure: its implementation, the first check that fails, and the message.

Many rows show one failure. It is reported once, on the smallest row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from conformance.results import CellRecord
from conformance.table.case import Case

#: What differs from one occurrence to the next: numbers, and lists of them.
_NUMBER: Final = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?:[,x ()\[\]]+\d[\d.,]*)*", re.IGNORECASE)
#: The names of dtypes in the frameworks.
_DTYPE: Final = re.compile(
    r"\b(?:c10::)?(?:half|b?float(?:16|32|64)?|double|byte|u?char|unsigned char|bool(?:ean)?|u?int(?:8|16|32|64)?|long"
    r"|[bf](?:16|32|64)|s8|s32|s64|u8|pred)\b",
    re.IGNORECASE,
)
WRONG_VALUES: Final = "wrong values"
#: Outcomes of a process that ended. They take the place of a check.
_ENDINGS: Final = ("crashed", "timed_out")
#: The part of a message that identifies a failure (characters).
_LONGEST_MESSAGE: Final = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """What identifies a failure, and the properties of the row that may cause it."""

    implementation: str
    #: The first check that fails, or the outcome of a process that ended.
    check: str
    #: The message, without numbers and dtypes.
    message: str
    dtype: str
    lane: str
    #: The dtype of the input, if it is not that of the layer.
    input_dtype: str | None
    #: The activations of the row but `linear`.
    activations: frozenset[str]
    #: Whether the row has an axis of length 0.
    is_empty: bool = False

    @property
    def kind(self) -> tuple[str, str, str]:
        """The part that stays the same while a row is made smaller."""
        return (self.implementation, self.check, self.message)

    def explains(self, other: Sign) -> bool:
        """Return whether the other sign is of the same failure, on a row that has what this failure needs."""
        if self.kind != other.kind:
            return False
        # A refusal does not depend on dtype and activation. Wrong values do.
        if self.input_dtype not in (None, other.input_dtype):
            return False
        if self.check in _ENDINGS:  # the reasons of two crashes are often equal
            return self.activations <= other.activations and self.is_empty == other.is_empty
        return (self.dtype == other.dtype and self.activations <= other.activations) or self.message != WRONG_VALUES


def sign_of(case: Case, record: CellRecord) -> Sign:
    """Return the sign of a failing cell."""
    check, message = _symptom(record)
    return Sign(
        implementation=record.implementation,
        check=check,
        message=message,
        dtype=case.dtype,
        lane=case.lane,
        input_dtype=case.input_dtype,
        activations=_activations(case),
        is_empty=_is_empty(case),
    )


def _symptom(record: CellRecord) -> tuple[str, str]:
    """Return the first failing check of a record and its message, without numbers."""
    # If a check violates as well, the crash is a declared one.
    if record.crash is not None and record.outcome != "violates":
        return record.outcome, _without_numbers(record.crash.reason)
    first = next((each for each in record.checks if each.outcome == "violates"), None)
    if first is None:
        return record.outcome, _message_start(record.reason)
    raised = first.raised
    if raised is not None:
        return first.check, f"{raised.stage} {raised.type}: {_message_start(raised.message)}"
    if first.margin is not None:
        return first.check, WRONG_VALUES
    return first.check, _message_start(first.message)


def _message_start(message: str) -> str:
    """Return the beginning of a message, without numbers and names of dtypes."""
    return _without_numbers(message.strip().split("\n", 1)[0])[:_LONGEST_MESSAGE]


def _without_numbers(message: str) -> str:
    return _NUMBER.sub("#", _DTYPE.sub("T", message))


def _activations(case: Case) -> frozenset[str]:
    return frozenset(layer.activation for layer in case.layers) - {"linear"}


def _is_empty(case: Case) -> bool:
    return 0 in case.call_shape or any(layer.units == 0 for layer in case.layers)
