"""
Queries of a folder of nights: the first bad night of a cell, what got worse, what alternates, and trends of margins.

The queries are SQL for an embedded engine, DuckDB. Only their short results become objects here. Outcomes are those of
the results files; nothing is judged again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from conformance.results.history.store import HistoryError, Night, Nights, open_nights
from conformance.results.record import CellName

#: Outcomes that show a cell to be right. No other outcome does, such as that of a cell that was not run.
GOOD: Final = ("conforms", "diverges")

#: Cells with a bad last night at or after night `$recent`, and with a good night before it.
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
    arg_max("check", night) AS "check", arg_max(reason, night) AS reason
FROM cells JOIN turned USING (cell) WHERE night >= right_last
GROUP BY device, implementation, "case", right_last, last
ORDER BY since DESC, implementation, device, "case"
"""

#: Cells whose outcome changed at least twice under the same versions; nights with `not_run` are left out.
_FLAKY: Final = """
WITH suspect AS (
    SELECT cell, versions_id FROM cells WHERE night >= $recent AND outcome <> 'not_run'
    GROUP BY ALL HAVING min(outcome) <> max(outcome)
), outcomes AS (
    SELECT device, implementation, "case", versions_id, outcome, night, versions,
        lag(outcome) OVER (PARTITION BY cell, versions_id ORDER BY night) AS earlier
    FROM cells SEMI JOIN suspect USING (cell, versions_id) WHERE night >= $recent AND outcome <> 'not_run'
)
SELECT device, implementation, "case", count(*) AS nights, count(*) FILTER (outcome <> earlier) AS turns,
    list_sort(list_distinct(list(outcome))) AS outcomes, any_value(versions) AS versions
FROM outcomes GROUP BY device, implementation, "case", versions_id HAVING turns >= 2
ORDER BY turns DESC, implementation, device, "case"
"""

_NIGHTS_OF_CELL: Final = """
SELECT night, device, implementation, "case", outcome, margin, "check", reason, versions FROM cells
WHERE "case" = $case AND implementation = $implementation AND ($device IS NULL OR device = $device)
ORDER BY device, night
"""


class CellNight(msgspec.Struct, frozen=True, kw_only=True, rename={"reason": "said"}):
    """One night of one cell. In JSON, `reason` is `said`."""

    started: str
    file: str
    outcome: str
    margin: float | None
    check: str | None
    reason: str
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A cell that was good in one night and was not in its next one."""

    before: CellNight
    after: CellNight

    @property
    def version_changes(self) -> tuple[str, ...]:
        """The versions that differ between both nights, as `torch 2.12.0 -> 2.13.0`."""
        return version_changes(self.before.versions, self.after.versions)


@dataclass(frozen=True, kw_only=True)
class CellHistory:
    """All nights of one cell on one device, oldest first."""

    cell: str
    nights: tuple[CellNight, ...]

    @property
    def regressions(self) -> tuple[Regression, ...]:
        """The changes from good to bad, oldest first."""
        pairs = zip(self.nights, self.nights[1:], strict=False)
        return tuple(
            Regression(before=old, after=new) for old, new in pairs if old.outcome in GOOD and new.outcome not in GOOD
        )


class WorseCell(msgspec.Struct, frozen=True, kw_only=True, rename={"reason": "said"}):
    """A cell that was good once and is not in its last night. In JSON, `reason` is `said`."""

    case: str
    implementation: str
    device: str
    before: str
    now: str
    check: str | None
    reason: str
    #: The first night after the last good one (ISO 8601).
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
    """A cell whose outcome changed at least twice under the same versions; `turns` is the number of changes."""

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
    """The median and the largest margin of an implementation in a dtype in each night, None where it has no margin."""

    implementation: str
    dtype: str
    medians: Sequence[float | None]
    maxima: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a page shows of the nights of a folder, oldest first."""

    nights: Sequence[Night]
    margins: Sequence[Trend]
    worsened: Sequence[WorseCell]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The result of all queries of a folder. `unread_lines` are counts by file, `skipped` reasons by file."""

    nights: Sequence[Night]
    skipped: Mapping[str, str]
    unread_lines: Mapping[str, int]
    worsened: Sequence[WorseCell]
    flaky: Sequence[Flaky]
    margins: Sequence[Trend]


def cell_histories(nights: Nights, cell: str) -> tuple[CellHistory, ...]:
    """
    Return the history of a cell on each device.

    - `nights`: the nights of a folder.
    - `cell`: `DEVICE/IMPLEMENTATION/CASE`, or `IMPLEMENTATION/CASE` for all devices.

    Raises:
        HistoryError: no night has the cell.
    """
    for device, implementation, case in _possible_names(cell):
        rows = nights.query(_NIGHTS_OF_CELL, case=case, implementation=implementation, device=device)
        if rows:
            break
    else:
        raise HistoryError(f"{cell}: no night has this cell, DEVICE/IMPLEMENTATION/CASE or IMPLEMENTATION/CASE")
    nights_of: dict[str, list[CellNight]] = {}
    for row in rows:
        night = nights.nights[row.pop("night")]
        name = "/".join(str(row.pop(key)) for key in ("device", "implementation", "case"))
        of_cell = CellNight(**{**row, "versions": json.loads(row["versions"])}, started=night.started, file=night.file)
        nights_of.setdefault(name, []).append(of_cell)
    return tuple(CellHistory(cell=name, nights=tuple(each)) for name, each in nights_of.items())


def _possible_names(cell: str) -> Iterator[tuple[str | None, str, str]]:
    """Yield the possible device, implementation and case of a cell's name. An implementation has no slash."""
    first, _, rest = cell.partition("/")
    yield None, first, rest
    second, _, case = rest.partition("/")
    yield first, second, case


def worse_cells(nights: Nights, last: int = 10) -> list[WorseCell]:
    """Return the cells that got worse and whose last night is one of the `last` nights, newest first."""
    rows = nights.query(_WORSENED, recent=_first_of_last(nights, last), good=list(GOOD))
    return [
        WorseCell(
            **{key: row[key] for key in ("case", "implementation", "device", "before", "now", "check", "reason")},
            since=nights.nights[row["since"]].started,
            **{key: json.loads(row[key]) for key in ("versions_before", "versions_since", "versions_now")},
        )
        for row in rows
    ]


def flaky(nights: Nights, last: int = 90) -> list[Flaky]:
    """Return the cells whose outcome alternated in the `last` nights, the most changes first."""
    rows = nights.query(_FLAKY, recent=_first_of_last(nights, last))
    return [Flaky(**{**row, "versions": json.loads(row["versions"])}) for row in rows]


def margins(nights: Nights) -> list[Trend]:
    """Return the trend of each implementation and dtype."""
    trends: dict[tuple[str, str], list[tuple[float | None, float | None]]] = {}
    for index, night in enumerate(nights.nights):
        for implementation, dtype, median, largest in night.margins:
            trend = trends.setdefault((implementation, dtype), [(None, None)] * len(nights.nights))
            trend[index] = (median, largest)
    return [
        Trend(
            implementation=implementation,
            dtype=dtype,
            medians=[median for median, _ in trend],
            maxima=[largest for _, largest in trend],
        )
        for (implementation, dtype), trend in sorted(trends.items())
    ]


def summary(folder: Path, cache: Path | None = None) -> Summary:
    """
    Return what the page shows of the nights in `folder`.

    Raises:
        HistoryError: see `open_nights`.
    """
    nights = open_nights(folder, cache)
    return Summary(nights=nights.nights, margins=margins(nights), worsened=worse_cells(nights))


def _first_of_last(nights: Nights, last: int) -> int:
    """Return the index of the first of the `last` nights."""
    return max(0, len(nights.nights) - last)


def version_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the versions that differ, as `torch 2.12.0 -> 2.13.0`, a side that lacks one as `none`."""
    return tuple(
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def overview(nights: Nights, last: int) -> Overview:
    """Return the result of all queries of a folder."""
    return Overview(
        nights=nights.nights,
        skipped=nights.skipped,
        unread_lines={each.file: each.unread for each in nights.nights if each.unread},
        worsened=worse_cells(nights, last),
        flaky=flaky(nights, last),
        margins=margins(nights),
    )
