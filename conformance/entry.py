"""
What the ledger may say of one difference, and the difference itself: which cells it covers, what is seen there.

As `conformance.row` is to the table, so is this to the ledger. It reads no file, runs nothing and knows no framework.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from fnmatch import translate
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, Field

from conformance.case import CHECKS
from conformance.document import Place
from conformance.model import Globs, Link, Maybe, Model, Word, about, one_of, shown, wrong

KINDS: Final = ("by_design", "bug", "numeric")
OBSERVATIONS: Final = ("raises", "equals", "margin", "message", "crash")

#: Held against what a framework says, so kept to the letter.
Verbatim = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Raises:
    """A stage (build, infer, parameters, call, set_weights) that raised: the type, and a part of the message."""

    stage: str
    type: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Equals:
    """A check that observed this, as the results file holds it."""

    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """
    A check whose largest error lay between these multiples of the allowed one, both included.

    It is infinite where nothing is allowed. For numbers that are off by a known order of magnitude, but not by the same
    amount on every machine.
    """

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A check whose message has this part, where what it observed says too little."""

    part: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A process that ended; `reason` is a part of how, such as SIGABRT."""

    reason: str


Observed = Raises | Equals | Margin | Message | Crash


@dataclass(frozen=True, kw_only=True)
class Entry:
    """
    One known difference.

    `devices` is None for all of them; `checks` may be empty where a build raises or a process ends, since no check is
    then answered. `except_cases` are not covered though `cases` has them. `versions` maps distributions to the versions
    the entry is about, and `cpu` names features of the processor it takes: with others, and without these, it lapses,
    and what it asserts is red again. `review` is the day on which to look
    whether it still says what is so. `line` and `column` are where the entry stands in `file`.
    """

    implementations: tuple[str, ...]
    cases: tuple[str, ...]
    devices: tuple[str, ...] | None
    checks: tuple[str, ...]
    kind: str
    observed: Observed
    why: str
    link: str | None
    evidence: str | None
    since: str | None
    except_cases: tuple[str, ...] = ()
    versions: Mapping[str, SpecifierSet] = field(default_factory=dict)
    cpu: tuple[str, ...] = ()
    review: date | None = None
    file: str
    line: int
    column: int

    @property
    def where(self) -> str:
        """Where the entry stands, as `file:line`."""
        return f"{self.file}:{self.line}"

    def covers(
        self,
        *,
        implementation: str,
        case: str,
        device: str,
        versions: Mapping[str, str] | None = None,
        cpu: Set[str] | None = None,
    ) -> bool:
        """
        Return whether a cell is one of those the entry is about.

        `case` is the case's id, `versions` the versions of the distributions that take part and `cpu` the features of
        the processor, None where not known.
        """
        return (
            self.covers_implementation(implementation)
            and self._cases.fullmatch(case) is not None
            and self._excepted.fullmatch(case) is None
            and (self.devices is None or device in self.devices)
            and (cpu is None or set(self.cpu) <= cpu)
            and all(
                name not in (versions or {}) or wanted.contains((versions or {})[name], prereleases=True)
                for name, wanted in self.versions.items()
            )
        )

    def covers_implementation(self, implementation: str) -> bool:
        """Return whether any cell of an implementation can be one of those the entry is about."""
        return self._implementations.fullmatch(implementation) is not None

    @cached_property
    def _implementations(self) -> re.Pattern[str]:
        return _any_of(self.implementations)

    @cached_property
    def _cases(self) -> re.Pattern[str]:
        return _any_of(self.cases)

    @cached_property
    def _excepted(self) -> re.Pattern[str]:
        # Of no globs the pattern is empty, and the empty text is no id.
        return _any_of(self.except_cases)


def _specifier(text: str) -> str:
    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier:
        raise wrong(f"{shown(text)} is not a range of versions, such as '<2.22'") from None


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise wrong(f"{shown(text)} is not a day, such as 2027-05-22") from None


Specifier = Annotated[str, AfterValidator(_specifier)]
Day = Annotated[str, AfterValidator(_day)]


class _RaisesFields(Model):
    stage: Annotated[Word, *about("The stage that raised.", "the name of a stage")]
    type: Annotated[Verbatim, *about("The exception's type.", "the name of an exception")]
    message: Annotated[Verbatim, *about("A part of its message.", "text")]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong("a number that is not finite is a string in results: put it in quotes")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(each)
    return value


def _bounds(value: list[float | Literal["inf"]]) -> list[float]:
    low, high = (float(each) for each in value)
    # Written so that what is not a number is refused too.
    if not 1.0 < low <= high:
        raise wrong("margin goes from more than 1, where a check violates, to no less than that")
    return [low, high]


class _ObservedFields(Model):
    """Exactly one of these; a null that is observed is `equals: null`."""

    raises: Annotated[Maybe[_RaisesFields], *about("A stage raised.", "a mapping of stage, type and message")] = None
    equals: Annotated[Any, AfterValidator(_finite), *about("What a check observed.", "a JSON value")] = None
    margin: Annotated[
        Maybe[Annotated[list[float | Literal["inf"]], Field(min_length=2, max_length=2)]],
        AfterValidator(lambda value: value and _bounds(value)),
        *about("The largest error over the allowed one, from and to.", "a list of two numbers, or inf"),
    ] = None
    message: Annotated[Maybe[Verbatim], *about("A part of the check's message.", "text")] = None
    crash: Annotated[Maybe[Verbatim], *about("A part of how a process ended.", "text, such as SIGABRT")] = None


class EntryFields(Model):
    """One entry, as the file says it."""

    implementations: Annotated[Globs, *about("Globs over implementations.", "a list of globs")]
    cases: Annotated[Globs, *about("Globs over case ids.", "a list of globs")]
    except_cases: Annotated[
        Maybe[Globs], *about("Globs over case ids that are not covered after all.", "a list of globs")
    ] = None
    devices: Annotated[
        Maybe[Annotated[list[Word], Field(min_length=1)]], *about("Devices; without it, all.", "a list of devices")
    ] = None
    checks: Annotated[
        Maybe[list[Annotated[str, *one_of("check", CHECKS)]]],
        *about("The checks that differ.", f"a list of checks, among {', '.join(CHECKS)}"),
    ] = None
    kind: Annotated[str, *one_of("kind", KINDS), *about("Whether it is meant.", f"one of {', '.join(KINDS)}")]
    observed: Annotated[
        _ObservedFields, *about("What is seen, exactly.", f"a mapping with one of {', '.join(OBSERVATIONS)}")
    ]
    why: Annotated[Word, *about("The reason, a fact.", "text")]
    link: Annotated[Maybe[Link], *about("Where it is reported.", "an http or https link")] = None
    evidence: Annotated[Maybe[Word], *about("How it is known, where there is no link.", "text")] = None
    since: Annotated[Maybe[Word], *about("The version it was first seen in.", "text, a version in quotes")] = None
    versions: Annotated[
        Maybe[dict[Word, Specifier]],
        *about("The versions it is about.", "distributions, each with a range like '<2.22'"),
    ] = None
    cpu: Annotated[
        Maybe[Annotated[list[Word], Field(min_length=1)]],
        *about("Features of the processor it takes.", "a list of features, such as avx512_bf16"),
    ] = None
    review: Annotated[Maybe[Day], *about("When to look at it again.", "a day such as 2027-05-22")] = None


class LedgerFile(Model):
    """One file of the ledger; its entries are checked one by one."""

    description: Annotated[Maybe[Word], *about("What the ledger holds.", "text")] = None
    review: Annotated[Maybe[Day], *about("When to look at entries that do not say.", "a day such as 2027-05-22")] = None
    divergences: Annotated[list[dict[str, Any]], *about("The entries.", "a list of entries, each a mapping")]


def _takes_all_checks(observed: _ObservedFields) -> bool:
    """Return whether what is seen leaves no check with evidence: a build that raises, or a process that ends."""
    if observed.raises is not None:
        return observed.raises.stage == "build"
    return observed.crash is not None


def problems_of(fields: EntryFields, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with an entry whose fields are each right."""
    observed = fields.observed.model_fields_set
    if len(observed) != 1:
        said = ", ".join(name for name in OBSERVATIONS if name in observed) or "none"
        yield place.at("observed"), f"observed is exactly one of {', '.join(OBSERVATIONS)}, not {said}"
    elif not fields.checks and not _takes_all_checks(fields.observed):
        yield (
            place.at("checks"),
            "checks may be left out only where a build that raises or a crash is observed",
        )
    if not fields.link and not fields.evidence:
        yield place, "an entry needs a link, or else evidence"
    if _matches_all(fields.implementations) and _matches_all(fields.cases):
        yield place.at("cases"), "implementations and cases both match everything: name one or the other"


def _matches_all(globs: Sequence[str]) -> bool:
    return any(set(glob) <= set("*?") for glob in globs)


def entry_of(fields: EntryFields, file: str, place: Place, review: str | None = None) -> Entry:
    """Return the entry that fields without problems make; `review` is the day of entries that do not say."""
    return Entry(
        implementations=tuple(fields.implementations),
        cases=tuple(fields.cases),
        devices=None if fields.devices is None else tuple(fields.devices),
        checks=tuple(fields.checks or ()),
        kind=fields.kind,
        observed=_observed(fields.observed),
        why=fields.why,
        link=fields.link,
        evidence=fields.evidence,
        since=fields.since,
        except_cases=tuple(fields.except_cases or ()),
        versions={name: SpecifierSet(wanted) for name, wanted in (fields.versions or {}).items()},
        cpu=tuple(fields.cpu or ()),
        review=date.fromisoformat(day) if (day := fields.review or review) else None,
        file=file,
        line=place.line,
        column=place.column,
    )


def _observed(fields: _ObservedFields) -> Observed:
    if fields.raises is not None:
        return Raises(stage=fields.raises.stage, type=fields.raises.type, message=fields.raises.message)
    if fields.margin is not None:
        low, high = map(float, fields.margin)
        return Margin(low=low, high=high)
    if fields.message is not None:
        return Message(part=fields.message)
    if fields.crash is not None:
        return Crash(reason=fields.crash)
    return Equals(value=fields.equals)


def _any_of(globs: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob) for glob in globs))
