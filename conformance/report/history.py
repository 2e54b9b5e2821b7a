"""
The nights before this run, as `conformance.results.history.queries` sums them up: what the page shows of them.

It is given plain data, queried elsewhere, and shows it; what it cannot understand it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conformance.report import text
from conformance.report.addresses import Places
from conformance.results import OUTCOMES

#: Nights in the table, newest first, and cells that got worse; the plots have all nights.
NIGHTS: Final = 60
WORSENED: Final = 200


@dataclass(frozen=True, kw_only=True)
class Night:
    """One night: its outcomes, and which versions are not those of the night before."""

    started: str
    file: str
    counts: Mapping[str, int]
    versions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Worsened:
    """A cell that is worse than it was, since when, and what changed between."""

    cell: str
    place: str
    since: str
    before: str
    now: str
    versions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Margins of an implementation in a dtype, one for each night or None."""

    implementation: str
    dtype: str
    medians: tuple[float | None, ...]
    maxima: tuple[float | None, ...]

    @property
    def ends(self) -> tuple[float | None, ...]:
        """The first and the last known of medians and of maxima."""
        ends: list[float | None] = []
        for numbers in (self.medians, self.maxima):
            known = [each for each in numbers if each is not None]
            ends += [known[0], known[-1]] if known else [None, None]
        return tuple(ends)


@dataclass(frozen=True, kw_only=True)
class History:
    """All nights, oldest first."""

    nights: tuple[Night, ...]
    margins: tuple[Trend, ...]
    worsened: tuple[Worsened, ...]
    unlisted: int

    @property
    def shown(self) -> tuple[Night, ...]:
        """The last nights, newest first."""
        return self.nights[: -NIGHTS - 1 : -1]

    def plotted(self) -> dict[str, Any]:
        """Return what the plots are drawn from."""
        return {
            "nights": [
                [text.visible(each.started), [each.counts.get(name, 0) for name in OUTCOMES]] for each in self.nights
            ],
            "margins": [
                [text.visible(each.implementation), text.visible(each.dtype), each.medians, each.maxima]
                for each in self.margins
            ],
        }


def history(found: Mapping[str, Any], places: Places) -> History:
    """Return the nights of `found`: `nights`, `margins` and `worsened`, as `history.queries.summary` gives them."""
    nights = _records(found.get("nights"))
    worsened = _records(found.get("worsened"))
    before: list[Mapping[str, Any]] = [{}, *nights]
    return History(
        nights=tuple(_night(each, earlier) for each, earlier in zip(nights, before, strict=False)),
        margins=tuple(_trend(each, len(nights)) for each in _records(found.get("margins"))),
        worsened=tuple(_worsened(each, places) for each in worsened[:WORSENED]),
        unlisted=max(0, len(worsened) - WORSENED),
    )


def _records(content: Any) -> list[Mapping[str, Any]]:
    return [each for each in content if isinstance(each, Mapping)] if isinstance(content, Sequence) else []


def _night(found: Mapping[str, Any], earlier: Mapping[str, Any]) -> Night:
    counts = found.get("counts")
    counted = counts if isinstance(counts, Mapping) else {}
    return Night(
        started=text.value(found.get("started") or "unknown"),
        file=text.value(found.get("file") or "") + ("" if found.get("complete", True) else ", broken off"),
        counts={name: _count(counted.get(name)) for name in OUTCOMES},
        versions=_changed(earlier.get("versions"), found.get("versions")) if earlier else (),
    )


def _count(content: Any) -> int:
    number = text.number(content)
    return int(number) if number is not None and 0 <= number < 2**53 else 0


def _trend(found: Mapping[str, Any], nights: int) -> Trend:
    medians, maxima = (_numbers(found.get(key), nights) for key in ("medians", "maxima"))
    names = (text.value(found.get(key) or "") for key in ("implementation", "dtype"))
    implementation, dtype = names
    return Trend(implementation=implementation, dtype=dtype, medians=medians, maxima=maxima)


def _numbers(content: Any, nights: int) -> tuple[float | None, ...]:
    numbers = [text.number(each) for each in content] if isinstance(content, Sequence) else []
    finite = [each if each is not None and abs(each) < float("inf") else None for each in numbers[:nights]]
    return tuple(finite + [None] * (nights - len(finite)))


def _worsened(found: Mapping[str, Any], places: Places) -> Worsened:
    cell = "/".join(text.value(found.get(key) or "") for key in ("device", "implementation", "case"))
    return Worsened(
        cell=cell,
        place=places.of(cell),
        since=text.value(found.get("since") or "unknown"),
        before=text.value(found.get("before") or "absent").replace("_", " "),
        now=text.value(found.get("now") or "absent").replace("_", " "),
        versions=_changed(found.get("versions_before"), found.get("versions_now")),
    )


def _changed(before: Any, now: Any) -> tuple[str, ...]:
    """Return the versions that differ, each as `name before → now`."""
    old, new = (dict(text.pairs(each)) for each in (before, now))
    return tuple(
        f"{key} {old.get(key, 'none')} → {new.get(key, 'none')}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )
