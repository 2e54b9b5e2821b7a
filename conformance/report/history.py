"""The nights before this run as the page shows them, from a `conformance.results.history.queries.Summary`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conformance.report import text
from conformance.report.addresses import Places
from conformance.results import OUTCOMES

if TYPE_CHECKING:
    from conformance.results.history import queries, store

#: Nights in the table; the plots have all nights.
NIGHTS: Final = 60
#: Cells that got worse in the table.
WORSE_CELLS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Night:
    """One night: its outcomes, and the versions that differ from those of the night before."""

    started: str
    file: str
    counts: Mapping[str, int]
    versions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WorseCell:
    """A cell that got worse, since when, and which versions changed."""

    cell: str
    place: str
    since: str
    before: str
    now: str
    versions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Margins of an implementation in a dtype, one for each night, None where it has none."""

    implementation: str
    dtype: str
    medians: tuple[float | None, ...]
    maxima: tuple[float | None, ...]

    @property
    def ends(self) -> tuple[float | None, ...]:
        """The first and the last of the medians, then of the maxima, each None where there is none."""
        ends: list[float | None] = []
        for numbers in (self.medians, self.maxima):
            present = [each for each in numbers if each is not None]
            ends += [present[0], present[-1]] if present else [None, None]
        return tuple(ends)


@dataclass(frozen=True, kw_only=True)
class History:
    """All nights, oldest first."""

    nights: tuple[Night, ...]
    margins: tuple[Trend, ...]
    worsened: tuple[WorseCell, ...]
    unlisted: int

    @property
    def recent_nights(self) -> tuple[Night, ...]:
        """The last nights, newest first."""
        return self.nights[: -NIGHTS - 1 : -1]

    def plot_data(self) -> dict[str, object]:
        """Return the data of the plots."""
        return {
            "nights": [
                [text.visible(each.started), [each.counts.get(name, 0) for name in OUTCOMES]] for each in self.nights
            ],
            "margins": [
                [text.visible(each.implementation), text.visible(each.dtype), each.medians, each.maxima]
                for each in self.margins
            ],
        }


def history(summary: queries.Summary, places: Places) -> History:
    """Return the nights of a folder as the page shows them."""
    before = [None, *summary.nights]
    return History(
        nights=tuple(_night(each, earlier) for each, earlier in zip(summary.nights, before, strict=False)),
        margins=tuple(map(_trend, summary.margins)),
        worsened=tuple(_worse_cell(each, places) for each in summary.worsened[:WORSE_CELLS]),
        unlisted=max(0, len(summary.worsened) - WORSE_CELLS),
    )


def _night(night: store.Night, earlier: store.Night | None) -> Night:
    return Night(
        started=text.value(night.started or "unknown"),
        file=text.value(night.file) + ("" if night.complete else ", broken off"),
        counts={name: night.counts.get(name, 0) for name in OUTCOMES},
        versions=() if earlier is None else _version_changes(earlier.versions, night.versions),
    )


def _trend(trend: queries.Trend) -> Trend:
    return Trend(
        implementation=text.value(trend.implementation),
        dtype=text.value(trend.dtype),
        medians=tuple(trend.medians),
        maxima=tuple(trend.maxima),
    )


def _worse_cell(cell: queries.WorseCell, places: Places) -> WorseCell:
    return WorseCell(
        cell=text.value(cell.cell),
        place=places.place(cell.cell),
        since=text.value(cell.since or "unknown"),
        before=text.value(cell.before).replace("_", " "),
        now=text.value(cell.now).replace("_", " "),
        versions=_version_changes(cell.versions_before, cell.versions_now),
    )


def _version_changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return the versions that differ, each as `name before → now`."""
    old, new = (dict(text.pairs(each)) for each in (before, now))
    return tuple(
        f"{key} {old.get(key, 'none')} → {new.get(key, 'none')}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )
