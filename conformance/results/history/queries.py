"""
What a folder of nights tells: the first bad night of a cell, what got worse, what cannot make up its mind, and trends.

The questions are put to an embedded engine in its own language; only answers, which are short, become objects here.
Nothing is judged anew: an outcome is what the night said it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.results.history.store import HistoryError, Night, Nights, open_nights
from conformance.results.record import CellName

#: Outcomes that speak for a cell. All others, a cell that was not run among them, are no evidence that it is right.
GOOD: Final = ("conforms", "diverges")

#: Cells whose last night is among the last ones, is not good, and has a good night somewhere before it.
_WORSENED: Final = """
WITH suspect AS (
    SELECT DISTINCT cell FROM cells WHERE night >= $recent AND NOT list_contains($good, outcome)
), turned AS (
    SELECT cell, max(night) AS last, max(night) FILTER (list_contains($good, outcome)) AS right_last
    FROM cells SEMI JOIN suspect USING (cell) GROUP BY cell HAVING right_last < last AND last >= $recent
)
SELECT device, implementation, "case", right_last, last,
    min(night) FILTER (night > right_last) AS since,
    arg_max(outcome, night) FILTER (night = right_last) AS before, arg_max(outcome, night) AS now,
    arg_max(versions, night) FILTER (night = right_last) AS versions_before,
    arg_min(versions, night) FILTER (night > right_last) AS versions_since,
    arg_max(versions, night) AS versions_now,
    arg_max("check", night) AS "check", arg_max(said, night) AS said
FROM cells JOIN turned USING (cell) WHERE night >= right_last
GROUP BY device, implementation, "case", right_last, last
ORDER BY since DESC, implementation, device, "case"
"""

#: Cells that went from one outcome to another and back with nothing installed anew; `not_run` says nothing of a cell.
_FLAKY: Final = """
WITH suspect AS (
    SELECT cell, versions_id FROM cells WHERE night >= $recent AND outcome <> 'not_run'
    GROUP BY ALL HAVING min(outcome) <> max(outcome)
), said AS (
    SELECT device, implementation, "case", versions_id, outcome, night, versions,
        lag(outcome) OVER (PARTITION BY cell, versions_id ORDER BY night) AS earlier
    FROM cells SEMI JOIN suspect USING (cell, versions_id) WHERE night >= $recent AND outcome <> 'not_run'
)
SELECT device, implementation, "case", count(*) AS nights, count(*) FILTER (outcome <> earlier) AS turns,
    list_sort(list_distinct(list(outcome))) AS outcomes, any_value(versions) AS versions
FROM said GROUP BY device, implementation, "case", versions_id HAVING turns >= 2
ORDER BY turns DESC, implementation, device, "case"
"""

_ONE: Final = """
SELECT night, device, implementation, "case", outcome, margin, "check", said, versions FROM cells
WHERE "case" = $case AND implementation = $implementation AND ($device IS NULL OR device = $device)
ORDER BY device, night
"""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One night of one cell."""

    started: str
    file: str
    outcome: str
    margin: float | None
    check: str | None
    said: str
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A cell that was good on one night and was not on the next one that has it."""

    before: Moment
    after: Moment

    @property
    def changed(self) -> tuple[str, ...]:
        """The versions that differ between both nights, as `torch 2.12.0 -> 2.13.0`."""
        return changed(self.before.versions, self.after.versions)


@dataclass(frozen=True, kw_only=True)
class Life:
    """All nights of one cell on one device, oldest first."""

    cell: str
    moments: tuple[Moment, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every time it went from good to bad, oldest first."""
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return tuple(
            Turn(before=old, after=new) for old, new in pairs if old.outcome in GOOD and new.outcome not in GOOD
        )


@dataclass(frozen=True, kw_only=True)
class Worsened:
    """A cell that was good once and is not in its last night; `since` is the first night after the good one."""

    case: str
    implementation: str
    device: str
    before: str
    now: str
    check: str | None
    said: str
    #: ISO 8601.
    since: str
    versions_before: Mapping[str, str]
    versions_since: Mapping[str, str]
    versions_now: Mapping[str, str]

    @property
    def cell(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`."""
        return str(CellName(self.device, self.implementation, self.case))


@dataclass(frozen=True, kw_only=True)
class Flaky:
    """A cell whose outcome changed and changed back under the same versions; `turns` says how often it changed."""

    device: str
    implementation: str
    case: str
    nights: int
    turns: int
    outcomes: Sequence[str]
    versions: Mapping[str, str]

    @property
    def cell(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`."""
        return str(CellName(self.device, self.implementation, self.case))


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The median and the largest margin of an implementation in a dtype, of every night; None where there is none."""

    implementation: str
    dtype: str
    medians: Sequence[float | None]
    maxima: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a page shows of the nights of a folder, oldest first."""

    nights: Sequence[Night]
    margins: Sequence[Trend]
    worsened: Sequence[Worsened]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All answers about a folder; `unread_lines` are counts by file, `skipped` reasons by file."""

    nights: Sequence[Night]
    skipped: Mapping[str, str]
    unread_lines: Mapping[str, int]
    worsened: Sequence[Worsened]
    flaky: Sequence[Flaky]
    margins: Sequence[Trend]


def life(nights: Nights, cell: str) -> tuple[Life, ...]:
    """
    Return the nights of a cell, `DEVICE/IMPLEMENTATION/CASE` or `IMPLEMENTATION/CASE`; without a device, one life each.

    Raises:
        HistoryError: no night has the cell.
    """
    for device, implementation, case in _readings(cell):
        rows = nights.ask(_ONE, case=case, implementation=implementation, device=device)
        if rows:
            break
    else:
        raise HistoryError(f"{cell}: no night has this cell, DEVICE/IMPLEMENTATION/CASE or IMPLEMENTATION/CASE")
    lives: dict[str, list[Moment]] = {}
    for row in rows:
        night = nights.nights[row.pop("night")]
        name = "/".join(str(row.pop(key)) for key in ("device", "implementation", "case"))
        moment = Moment(**{**row, "versions": json.loads(row["versions"])}, started=night.started, file=night.file)
        lives.setdefault(name, []).append(moment)
    return tuple(Life(cell=name, moments=tuple(moments)) for name, moments in lives.items())


def _readings(cell: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield what a cell's name may mean; an implementation has no slash."""
    first, _, rest = cell.partition("/")
    yield None, first, rest
    second, _, case = rest.partition("/")
    yield first, second, case


def worsened(nights: Nights, last: int | None = None) -> list[Worsened]:
    """Return the cells that got worse and whose last night is one of the `last` nights (or any), newest first."""
    # Without a number: cells of the last ten nights, as a cell that is asked no more is nobody's trouble now.
    rows = nights.ask(_WORSENED, recent=_recent(nights, 10 if last is None else last), good=list(GOOD))
    return [
        Worsened(
            **{key: row[key] for key in ("case", "implementation", "device", "before", "now", "check", "said")},
            since=nights.nights[row["since"]].started,
            **{key: json.loads(row[key]) for key in ("versions_before", "versions_since", "versions_now")},
        )
        for row in rows
    ]


def flaky(nights: Nights, last: int = 90) -> list[Flaky]:
    """Return the cells whose outcome changed and changed back in the `last` nights, most turns first."""
    rows = nights.ask(_FLAKY, recent=_recent(nights, last))
    return [Flaky(**{**row, "versions": json.loads(row["versions"])}) for row in rows]


def margins(nights: Nights) -> list[Trend]:
    """Return the trend of each implementation and dtype."""
    found: dict[tuple[str, str], list[tuple[float | None, float | None]]] = {}
    for index, night in enumerate(nights.nights):
        for implementation, dtype, median, largest in night.margins:
            trend = found.setdefault((implementation, dtype), [(None, None)] * len(nights.nights))
            trend[index] = (median, largest)
    return [
        Trend(
            implementation=implementation,
            dtype=dtype,
            medians=[median for median, _ in trend],
            maxima=[largest for _, largest in trend],
        )
        for (implementation, dtype), trend in sorted(found.items())
    ]


def summary(folder: Path, cache: Path | None = None) -> Summary:
    """
    Return what the page shows of the nights in `folder`.

    Raises:
        HistoryError: as `open_nights`.
    """
    nights = open_nights(folder, cache)
    return Summary(nights=nights.nights, margins=margins(nights), worsened=worsened(nights))


def _recent(nights: Nights, last: int) -> int:
    return max(0, len(nights.nights) - last)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the versions that differ, as `torch 2.12.0 -> 2.13.0`, a side that lacks one as `none`."""
    return tuple(
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def overview(nights: Nights, last: int) -> Overview:
    """Return all answers about a folder."""
    return Overview(
        nights=nights.nights,
        skipped=nights.skipped,
        unread_lines={each.file: each.unread for each in nights.nights if each.unread},
        worsened=worsened(nights, last),
        flaky=flaky(nights, last),
        margins=margins(nights),
    )
