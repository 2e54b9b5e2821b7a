"""
What every reader of a results file relies on in a record, and lines of such a file as records.

A line is decoded by msgspec, several times as fast as by Python's own decoder. What msgspec refuses goes to Python's,
which reads more than JSON (NaN, half of a surrogate pair), so that one line means the same whoever decodes it. This
module knows nothing of files, and nothing of what a record says beyond its form.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

Record = Mapping[str, Any]


def decoded(line: bytes) -> Any:
    """
    Return what a line says.

    Raises:
        ValueError: it is no JSON, or no UTF-8 (a `UnicodeDecodeError`).
        RecursionError: it is nested too deep.
    """
    try:
        return _DECODE(line)
    except _REFUSED:
        return json.loads(line.decode("utf-8"))


def outcome_of_sound_cell(line: bytes) -> str | None:
    """
    Return the outcome of a line that is a cell with all that readers rely on; None for any other line.

    None does not mean that something is wrong: `fault` says, at twenty times the price.
    """
    try:
        return _SOUND(line).outcome
    except _REFUSED:
        return None


def conforming(line: bytes) -> Conforming | None:
    """Return a line that is a cell that conforms, without what its detail alone shows; None for any other line."""
    try:
        return _CONFORMING(line)
    except _REFUSED:
        return None


def fault(record: Record) -> str | None:
    """Return what in a record is not as every reader relies on, None where all is."""
    kind = record["type"]
    found = _misfit(record, _OPTIONAL[kind], _REQUIRED.get(kind, ()))
    if found is not None or kind != "cell":
        return found
    checks, crash = record.get("checks"), record.get("crash")
    if not isinstance(checks, list):
        return "checks is not a list"
    found = None if crash is None else _misfit(crash, {}, ("reason",))
    for each in checks:
        found = found or ("a check is not a mapping" if not isinstance(each, dict) else _fault_of_check(each))
    return found


def _fault_of_check(check: Record) -> str | None:
    found = _misfit(check, _OPTIONAL["check"], ("check", "outcome"))
    raised = check.get("raised")
    return found if found is not None or raised is None else _misfit(raised, {}, ("type", "message"))


def _misfit(record: Record, optional: Mapping[str, str], required: Iterable[str]) -> str | None:
    """Return which of the `required` names is not text, or what else is neither left out nor as it should be."""
    for name in required:
        if not isinstance(record.get(name), str):
            return f"{name} is not text"
    for name, wanted in optional.items():
        value = record.get(name, _LEFT_OUT)
        if value is not _LEFT_OUT and not _IS[wanted](value):
            return f"{name} is not {wanted}"
    return None


def _is_number(value: object) -> bool:
    """Return whether a value is a number, or the string that stands for one that is not finite."""
    if isinstance(value, str):
        return value in ("inf", "-inf", "nan")
    # An integer may be larger than any float, and every reader makes a float of it.
    return isinstance(value, float) or (type(value) is int and abs(value) <= sys.float_info.max)


_LEFT_OUT: Final = object()
_IS: Final[Mapping[str, Callable[[object], bool]]] = {
    "text": lambda value: isinstance(value, str),
    "a mapping": lambda value: isinstance(value, dict),
    "a list": lambda value: isinstance(value, list),
    "a number": _is_number,
    "a count": lambda value: type(value) is int and value >= 0,
    "true or false": lambda value: isinstance(value, bool),
}
_REQUIRED: Final = {
    "implementation": ("implementation",),
    "cell": ("case", "implementation", "device", "outcome"),
}
#: What may be left out, and what it is where it is there; whatever else a record holds is nobody's to rely on.
_OPTIONAL: Final[Mapping[str, Mapping[str, str]]] = {
    "header": {
        "cells": "a count",
        "started": "text",
        "distributions": "a mapping",
        "platform": "a mapping",
        "selection": "a mapping",
    },
    "implementation": {"versions": "a mapping", "settings": "a mapping", "devices": "a list"},
    "cell": {
        "question": "a mapping",
        "crash": "a mapping",
        "steps": "a mapping",
        "reason": "text",
        "row": "text",
        "why": "text",
        "seconds": "a number",
        "covered": "a list",
        "behaviours": "a list",
        "gone": "a list",
        "powerless": "true or false",
    },
    "check": {"message": "text", "margin": "a number", "raised": "a mapping", "near": "a list"},
    "footer": {"counts": "a mapping", "complete": "true or false", "seconds": "a number", "behaviours": "a mapping"},
}


#: An integer beyond these may be beyond every float: `fault` looks at it.
_MOST: Final = 2**53
_Number = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)] | float | Literal["inf", "-inf", "nan"]


class _Raised(msgspec.Struct):
    """The exception of a check: a part of the form above, for a decoder that looks at nothing else."""

    type: str
    message: str


class _Reason(msgspec.Struct):
    reason: str


class _Check(msgspec.Struct):
    check: str
    outcome: str
    message: str | msgspec.UnsetType = msgspec.UNSET
    margin: _Number | msgspec.UnsetType = msgspec.UNSET
    raised: _Raised | msgspec.UnsetType = msgspec.UNSET
    near: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _Cell(msgspec.Struct):
    """A cell with all that readers rely on; what it accepts, `fault` finds nothing wrong with."""

    type: Literal["cell"]
    case: str
    implementation: str
    device: str
    outcome: str
    checks: list[_Check]
    question: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    crash: _Reason | msgspec.UnsetType = msgspec.UNSET
    steps: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    row: str | msgspec.UnsetType = msgspec.UNSET
    why: str | msgspec.UnsetType = msgspec.UNSET
    seconds: _Number | msgspec.UnsetType = msgspec.UNSET
    covered: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    behaviours: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    gone: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    powerless: bool | msgspec.UnsetType = msgspec.UNSET


class _Facts(msgspec.Struct):
    bits: Any = None


class ConformingCheck(msgspec.Struct):
    """A check of a cell that conforms, one that no entry of the ledger knows of."""

    check: str
    outcome: str
    margin: float | str | None = None
    message: Any = None
    reason: Any = None
    divergence: None = None
    facts: _Facts | None = None


class Conforming(msgspec.Struct):
    """A cell that conforms as far as a page shows it without its detail, in a third of a whole record's time."""

    type: Literal["cell"]
    outcome: Literal["conforms"]
    case: str
    implementation: str
    device: str
    checks: list[ConformingCheck]
    question: dict[str, Any] | None = None
    seconds: Any = None
    row: Any = None
    why: Any = None
    source: Any = None
    crash: None = None
    divergence: None = None
    covered: list[Any] | None = None
    gone: list[Any] | None = None


_DECODE: Final = msgspec.json.Decoder().decode
_SOUND: Final = msgspec.json.Decoder(_Cell).decode
_CONFORMING: Final = msgspec.json.Decoder(Conforming).decode
_REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
