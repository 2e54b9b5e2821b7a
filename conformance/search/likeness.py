"""
What a red cell was seen to do, in few words, and whether the ledger knows the like of it.

A search asks cases that no entry names. What was seen is like an entry when it is of the same implementation and every
red check shows what the entry asserts; wrong values, which all look alike, must also be of a dtype and an activation
that some row under the entry has. This module reads records and entries, and searches nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conformance.case import Case
from conformance.ledger import Crash, Entry, Margin, Message, Raises
from conformance.settlement import observed_so

#: What differs from one occurrence to the next: numbers, and lists of them.
_NUMBER: Final = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?:[,x ()\[\]]+\d[\d.,]*)*", re.IGNORECASE)
#: Names of dtypes, as the frameworks have them.
_DTYPE: Final = re.compile(
    r"\b(?:c10::)?(?:half|b?float(?:16|32|64)?|double|byte|u?char|unsigned char|bool(?:ean)?|u?int(?:8|16|32|64)?|long"
    r"|[bf](?:16|32|64)|s8|s32|s64|u8|pred)\b",
    re.IGNORECASE,
)
WRONG_VALUES: Final = "wrong values"
#: The checks that see wrong values first; others see them again, rearranged.
_PRIMARY: Final = ("output_shape", "parameters", "output_dtype", "placement", "output", "gradients", "refusal")
#: What is seen of a process that ended, in place of a check.
_ENDINGS: Final = ("crashed", "timed_out")
#: Characters of a message that tell one trouble from another.
_TOLD: Final = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """
    By what one trouble is told from another: who, which check fails first, what is said of it, and in which territory.

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


def sign_of(case: Case, record: Mapping[str, Any]) -> Sign:
    """Return the sign of a red cell."""
    check, said = _said(record)
    return Sign(
        implementation=record["implementation"],
        check=check,
        said=said,
        dtype=case.dtype,
        lane=case.lane,
        fed=case.input_dtype,
        activations=_activations(case),
        is_empty=_is_empty(case),
    )


def like(
    entries: Sequence[Entry], table: Sequence[Case], case: Case, record: Mapping[str, Any], device: str
) -> Entry | None:
    """Return an entry that what was seen is like, None where some red check is like none; `table` has its rows."""
    name = record["implementation"]
    about = [each for each in entries if each.covers_implementation(name) and device in (each.devices or (device,))]
    crash = record.get("crash")
    if crash:
        # The ledger has no entry for a process that was ended for passing a limit of time.
        ended_so = (each for each in about if record["outcome"] == "crashed" and _ended_so(each, crash))
        return next((each for each in ended_so if _ends_near(each, table, case, name, device)), None)
    red = [each for each in record["checks"] if each["outcome"] == "violates"]
    alike: list[Entry] = []
    for check in red:
        # What raised leaves every check without evidence, those too that no row under the entry is asked.
        asked = (each for each in about if check["check"] in each.checks or "raised" in check)
        named = (each for each in asked if _is_alike(each, check, case))
        found = next((each for each in named if _is_near(each, table, case, name, device)), None)
        # Values that are known to be wrong are so in whatever order they are asked for.
        follows = check["check"] not in _PRIMARY and any(isinstance(each.observed, Margin) for each in alike)
        if found is None and not follows:
            return None
        alike += [] if found is None else [found]
    return alike[0] if alike else None


def _is_alike(entry: Entry, check: Mapping[str, Any], case: Case) -> bool:
    """
    Return whether a check shows what an entry asserts.

    Exceptions name dtypes and numbers of their case; an input of another dtype is refused in many words.
    """
    if isinstance(entry.observed, Raises) and (raised := check.get("raised")) is not None:
        same = (raised["stage"], raised["type"]) == (entry.observed.stage, entry.observed.type)
        return same and (case.input_dtype is not None or _bare(entry.observed.message) in _bare(raised["message"]))
    if isinstance(entry.observed, Margin):
        # How wrong depends on the numbers, over some powers of ten.
        return check.get("margin") is not None and float(check["margin"]) >= math.sqrt(entry.observed.low)
    return observed_so(entry, check)


def _said(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first red check of a record and what is said of it, without numbers."""
    crash = record.get("crash")
    if crash:
        return str(record["outcome"]), _bare(str(crash["reason"]))
    first = next((each for each in record["checks"] if each["outcome"] == "violates"), None)
    if first is None:
        return str(record["outcome"]), _plain(str(record.get("reason", "")))
    raised = first.get("raised")
    if raised:
        return first["check"], f"{raised['stage']} {raised['type']}: {_plain(raised['message'])}"
    if first.get("margin") is not None:
        return first["check"], WRONG_VALUES
    return first["check"], _plain(str(first.get("message", "")))


def _plain(message: str) -> str:
    """Return the beginning of a message, without numbers and names of dtypes."""
    return _bare(message.strip().split("\n", 1)[0])[:_TOLD]


def _bare(message: str) -> str:
    return _NUMBER.sub("#", _DTYPE.sub("T", message))


def _activations(case: Case) -> frozenset[str]:
    return frozenset(layer.activation for layer in case.layers) - {"linear"}


def _is_empty(case: Case) -> bool:
    return 0 in case.fed_shape or any(layer.units == 0 for layer in case.layers)


def _ends_near(entry: Entry, table: Sequence[Case], case: Case, name: str, device: str) -> bool:
    """
    Return whether the process ends on some row under an entry that is near a case, since all processes end alike.

    Such a row has no activation that the case has not, and an axis of nothing where the case has one.
    """
    return any(
        _activations(other) <= _activations(case)
        and _is_empty(other) == _is_empty(case)
        and dict(other.environment) == dict(case.environment)
        for other in table
        if entry.covers(implementation=name, case=other.id, device=device)
    )


def _ended_so(entry: Entry, crash: Mapping[str, Any]) -> bool:
    return isinstance(entry.observed, Crash) and entry.observed.reason in crash["reason"]


def _is_near(entry: Entry, table: Sequence[Case], case: Case, name: str, device: str) -> bool:
    """
    Return whether some row under an entry is near a case.

    Where values are wrong it has the dtypes of the case and no activation that the case has not; else both or neither
    are fed another dtype than their own.
    """
    rows = (other for other in table if entry.covers(implementation=name, case=other.id, device=device))
    if not isinstance(entry.observed, Margin | Message):
        return any((other.input_dtype is None) == (case.input_dtype is None) for other in rows)
    return any(
        (other.dtype, other.input_dtype) == (case.dtype, case.input_dtype) and _activations(other) <= _activations(case)
        for other in rows
    )
