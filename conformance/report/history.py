"""
The nights before this run, as `conformance.results.history.queries` sums them up: what the page shows of them.

It asks nothing of them: that is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conformance.report import text
from conformance.report.addresses import Places
from conformance.results import OUTCOMES

if TYPE_CHECKING:
    from conformance.results.history import queries, store

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

    def plotted(self) -> dict[str, object]:
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


def history(found: queries.Summary, places: Places) -> History:
    """Return the nights of a folder as the page shows them."""
    before = [None, *found.nights]
    return History(
        nights=tuple(_night(each, earlier) for each, earlier in zip(found.nights, before, strict=False)),
        margins=tuple(map(_trend, found.margins)),
        worsened=tuple(_worsened(each, places) for each in found.worsened[:WORSENED]),
        unlisted=max(0, len(found.worsened) - WORSENED),
    )


def _night(night: store.Night, earlier: store.Night | None) -> Night:
    return Night(
        started=text.value(night.started or "unknown"),
        file=text.value(night.file) + ("" if night.complete else ", broken off"),
        counts={name: night.counts.get(name, 0) for name in OUTCOMES},
        versions=() if earlier is None else _changed(earlier.versions, night.versions),
    )


def _trend(trend: queries.Trend) -> Trend:
    return Trend(
        implementation=text.value(trend.implementation),
        dtype=text.value(trend.dtype),
        medians=tuple(trend.medians),
        maxima=tuple(trend.maxima),
    )


def _worsened(found: queries.Worsened, places: Places) -> Worsened:
    return Worsened(
        cell=text.value(found.cell),
        place=places.of(found.cell),
        since=text.value(found.since or "unknown"),
        before=text.value(found.before).replace("_", " "),
        now=text.value(found.now).replace("_", " "),
        versions=_changed(found.versions_before, found.versions_now),
    )


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return the versions that differ, each as `name before → now`."""
    old, new = (dict(text.pairs(each)) for each in (before, now))
    return tuple(
        f"{key} {old.get(key, 'none')} → {new.get(key, 'none')}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )
