"""
The types of the lines of a results file: what every reader relies on in them.

A line is one JSON object: a `Header`, an `Implementation`, a `Cell` or a `Footer`, told apart by `type`. Fields that no
type names may be added freely; readers get them as plain data. This module knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

Record = Mapping[str, Any]

#: Outcomes of a cell, worst first. The outcome of a cell is its worst check's.
OUTCOMES: Final = ("crashed", "timed_out", "violates", "diverges", "conforms", "unsupported", "not_run")
#: How deep a line may be nested. Python's own limit depends on who reads, and who writes needs as much again.
DEEPEST: Final = 64

Outcome = Literal["crashed", "timed_out", "violates", "diverges", "conforms", "unsupported", "not_run"]
#: A number, or the string that stands for one that is not finite.
Number = float | Literal["inf", "-inf", "nan"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: A length or an index; of a row that must be refused it may be negative.
Length = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
_FEW: Final = msgspec.Meta(max_length=64)
Axes = Annotated[list[Length], _FEW]
Shard = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,5}/[1-9][0-9]{0,5}\Z")]


class Part(msgspec.Struct, omit_defaults=True):
    """Data of which a reader relies on the fields that are named; any other field is kept, and not looked at."""


class Selection(Part):
    """What a run was asked for."""

    implementations: list[str] = []
    draws: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 1
    cpu_isa: str | None = None
    shard: Shard = "1/1"


class Header(Part, tag_field="type", tag="header"):
    """The first line. `schema` is looked at before all else: of another one this version knows nothing."""

    schema: int
    #: ISO 8601.
    started: str = ""
    #: Cells that were planned.
    cells: Count = 0
    distributions: dict[str, Any] = {}
    platform: dict[str, Any] = {}
    selection: Selection = msgspec.field(default_factory=Selection)
    #: Of a merged file, what each shard said for itself.
    shards: list[dict[str, Any]] = []


class Implementation(Part, tag_field="type", tag="implementation"):
    """What a process said of itself and of its framework."""

    implementation: str
    versions: dict[str, Any] | None = None
    settings: dict[str, Any] = {}
    devices: list[str] = []


class Question(Part):
    """The canonical form of a case, as far as it is compared; `conformance.run.reproduce` makes a case of it again."""

    #: An axis that must be refused may be None.
    input_shape: Annotated[list[Length | None], _FEW] = []
    units: Annotated[list[bool | Length | float | str | None], _FEW] = []
    activation: Annotated[list[str], _FEW] = []
    use_bias: Annotated[list[bool], _FEW] = []
    dtype: str | None = None
    batch: Axes | Length | None = None
    lane: str | None = None
    layout: str = ""
    feed_shape: Axes | None = None
    input_dtype: str | None = None
    environment: dict[str, str] = {}


class Entry(Part):
    """An entry of the ledger, as a cell names it."""

    id: str
    where: str = ""
    why: str = ""
    seen_with: dict[str, str] | None = None


class Raised(Part):
    """An exception of a framework."""

    type: str
    message: str
    stage: str = ""
    step: str = ""


class Crash(Part):
    """How a process ended."""

    reason: str
    step: str | None = None
    stderr: str = ""
    notes: list[str] = []


class Facts(Part):
    """What a check measured."""

    #: Way of adding up -> outputs that it explains, and all outputs that tell ways apart.
    conduct: dict[str, dict[str, Count]] = {}
    margins: dict[str, Number] = {}
    bitwise: bool = False
    parameters: list[dict[str, Any]] = []


class Check(Part):
    """One check of a cell."""

    check: str
    outcome: Outcome
    message: str = ""
    #: The largest error over what is allowed.
    margin: Number = 0.0
    raised: Raised | None = None
    facts: Facts | None = None
    near: list[dict[str, Any]] = []
    #: The index of the worst element, with what it is and what it must be.
    worst: list[int] | None = None
    where: str | None = None
    got: Number | None = None
    exact: Number | None = None
    allowed: Number | None = None


class Cell(Part, tag_field="type", tag="cell"):
    """The result of one cell."""

    case: str
    implementation: str
    device: str
    outcome: Outcome
    checks: list[Check]
    question: Question | msgspec.UnsetType = msgspec.UNSET
    crash: Crash | msgspec.UnsetType = msgspec.UNSET
    steps: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    reason: str = ""
    row: str = ""
    why: str = ""
    seconds: Seconds = 0.0
    #: How long the cell waited for its process.
    start: Seconds | None = None
    covered: list[str] = []
    behaviours: list[str] = []
    gone: list[Entry] = []
    powerless: bool = False
    reproduce: str = ""


class Footer(Part, tag_field="type", tag="footer"):
    """The last line; without one the run was broken off."""

    counts: dict[str, Count] = {}
    #: Whether every planned cell has an outcome.
    complete: bool = False
    seconds: Seconds = 0.0
    behaviours: dict[str, Any] = {}


def decoded(line: bytes) -> Any:
    """
    Return what a line says, as plain data.

    Half of a surrogate pair, which is no character and which earlier versions wrote, becomes U+FFFD.

    Raises:
        ValueError: it is no JSON, no UTF-8, or nested too deep; says which.
    """
    try:
        value = _DECODE(line)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = _without_halves(line)
        if whole != line:
            return decoded(whole)
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None
        raise ValueError("not JSON") from None
    if line.count(b"[") + line.count(b"{") > DEEPEST and _is_deeper(value, DEEPEST):
        raise ValueError(_TOO_DEEP)
    return value


def fault(line: bytes) -> str | None:
    """Return what in a line that is JSON is not as every reader relies on, None where all is."""
    try:
        _TYPED(line)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".")
        return f"{place}: {said}" if place else said
    except msgspec.DecodeError:
        return fault(_without_halves(line))
    return None


def _without_halves(line: bytes) -> bytes:
    """Return a line of JSON with the escape of U+FFFD for that of half of a surrogate pair."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], line)


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and mappings are nested in more levels than that."""
    if not isinstance(value, list | dict):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


_TOO_DEEP: Final = f"nested more than {DEEPEST} deep"
#: An escape in JSON: a whole pair, half of one, or any other.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_DECODE: Final = msgspec.json.Decoder().decode
_TYPED: Final = msgspec.json.Decoder(Header | Implementation | Cell | Footer).decode
