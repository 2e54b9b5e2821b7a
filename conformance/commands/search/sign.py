"""
By what one trouble that a search meets is told from another: who, which check fails first, and what is said of it.

Many rows show one trouble. It is reported once, on the smallest row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from conformance.results import CellRecord
from conformance.table.case import Case

#: What differs from one occurrence to the next: numbers, and lists of them.
_NUMBER: Final = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?:[,x ()\[\]]+\d[\d.,]*)*", re.IGNORECASE)
#: Names of dtypes, as the frameworks have them.
_DTYPE: Final = re.compile(
    r"\b(?:c10::)?(?:half|b?float(?:16|32|64)?|double|byte|u?char|unsigned char|bool(?:ean)?|u?int(?:8|16|32|64)?|long"
    r"|[bf](?:16|32|64)|s8|s32|s64|u8|pred)\b",
    re.IGNORECASE,
)
WRONG_VALUES: Final = "wrong values"
#: What is seen of a process that ended, in place of a check.
_ENDINGS: Final = ("crashed", "timed_out")
#: Characters of a message that tell one trouble from another.
_TOLD: Final = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """
    By what one trouble is told from another: who, which check fails first, what is said of it, and on which rows.

    `activations` are those of the row but `linear`; `fed` is the dtype of the input where it is another; `is_empty` is
    of a row with an axis of nothing.
    """

    implementation: str
    check: str
    said: str
    dtype: str
    lane: str
    fed: str | None
    activations: frozenset[str]
    is_empty: bool = False

    @property
    def kind(self) -> tuple[str, str, str]:
        """What stays the same while a row is made smaller."""
        return (self.implementation, self.check, self.said)

    def explains(self, other: Sign) -> bool:
        """Return whether the other is this one again, on a row that has all that this one needs."""
        if self.kind != other.kind:
            return False
        # What is refused is refused in every dtype and with every activation; values are wrong in some.
        if self.fed not in (None, other.fed):
            return False
        if self.check in _ENDINGS:  # all processes end alike
            return self.activations <= other.activations and self.is_empty == other.is_empty
        return (self.dtype == other.dtype and self.activations <= other.activations) or self.said != WRONG_VALUES


def sign_of(case: Case, record: CellRecord) -> Sign:
    """Return the sign of a red cell."""
    check, said = _said(record)
    return Sign(
        implementation=record.implementation,
        check=check,
        said=said,
        dtype=case.dtype,
        lane=case.lane,
        fed=case.input_dtype,
        activations=_activations(case),
        is_empty=_is_empty(case),
    )


def _said(record: CellRecord) -> tuple[str, str]:
    """Return the first red check of a record and what is said of it, without numbers."""
    # Beside a check that violates, a crash is as declared.
    if record.crash is not None and record.outcome != "violates":
        return record.outcome, _bare(record.crash.reason)
    first = next((each for each in record.checks if each.outcome == "violates"), None)
    if first is None:
        return record.outcome, _plain(record.reason)
    raised = first.raised
    if raised is not None:
        return first.check, f"{raised.stage} {raised.type}: {_plain(raised.message)}"
    if first.margin is not None:
        return first.check, WRONG_VALUES
    return first.check, _plain(first.message)


def _plain(message: str) -> str:
    """Return the beginning of a message, without numbers and names of dtypes."""
    return _bare(message.strip().split("\n", 1)[0])[:_TOLD]


def _bare(message: str) -> str:
    return _NUMBER.sub("#", _DTYPE.sub("T", message))


def _activations(case: Case) -> frozenset[str]:
    return frozenset(layer.activation for layer in case.layers) - {"linear"}


def _is_empty(case: Case) -> bool:
    return 0 in case.fed_shape or any(layer.units == 0 for layer in case.layers)
