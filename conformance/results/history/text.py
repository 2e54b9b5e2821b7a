"""The history of a folder of nights, and of one cell in it, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from conformance.results.history.queries import GOOD, CellHistory, CellNight, Overview, version_changes
from conformance.text import printable

#: Lines of a kind printed on a terminal; JSON has all.
_LISTED: Final = 20
#: Nights in the text of one cell.
_NIGHTS: Final = 30
_BARS: Final = "▁▂▃▄▅▆▇█"


def as_json(overview: Overview) -> str:
    """Return an overview as JSON. Margins and unread lines are listed once, and not again in each night."""
    content = msgspec.to_builtins(overview)
    for night in content["nights"]:
        del night["margins"], night["unread"]
    return json.dumps(content, indent=2)


def as_text(overview: Overview, last: int) -> str:
    """Return an overview for a terminal."""
    return "\n".join(map(printable, _overview_lines(overview, last)))


def _overview_lines(overview: Overview, last: int) -> Iterator[str]:
    nights, newest = overview.nights, overview.nights[-1]
    cells = sum(sum(each.counts.values()) for each in nights)
    yield f"{len(nights):,} nights, {nights[0].started} to {newest.started}; {cells:,} cells"
    counts = ", ".join(f"{count:,} {name}" for name, count in newest.counts.items() if count)
    yield f"last: {counts or 'no cell'}{'' if newest.complete else '; broken off'}"
    for name, reason in overview.skipped.items():
        yield f"skipped: {name}: {reason}"
    for name, count in overview.unread_lines.items():
        yield f"{name}: {count} line{'s' if count > 1 else ''} cannot be read"
    yield ""
    yield f"Worse than before, in the last {last} nights ({len(overview.worsened)})"
    for worse in overview.worsened[:_LISTED]:
        versions = ", ".join(version_changes(worse.versions_before, worse.versions_since)) or "same versions"
        yield f"  {worse.cell}: {worse.before} -> {worse.now} since {worse.since} ({versions})"
    yield from _more(overview.worsened)
    yield ""
    yield f"Alternating under the same versions ({len(overview.flaky)})"
    for each in overview.flaky[:_LISTED]:
        yield f"  {each.cell}: {' or '.join(each.outcomes)}, {each.turns} changes in {each.nights} nights"
    yield from _more(overview.flaky)
    yield ""
    yield "Median margin, by implementation and dtype"
    for trend in overview.margins:
        yield f"  {trend.implementation:<22} {trend.dtype:<9} {_trend(trend.medians)}"


def cells_as_json(cells: Sequence[CellHistory]) -> str:
    """Return the history of a cell on each device as JSON; each change to bad, in `turns`, has the changed versions."""
    content = [
        {
            "cell": each.cell,
            "moments": each.nights,
            "turns": [
                {"before": turn.before, "after": turn.after, "changed": turn.version_changes}
                for turn in each.regressions
            ],
        }
        for each in cells
    ]
    return json.dumps(msgspec.to_builtins(content), indent=2)


def cell_as_text(cell: CellHistory) -> str:
    """Return the history of a cell for a terminal: its changes to bad, the trend of its margin, and its nights."""
    return "\n".join(map(printable, _cell_lines(cell)))


def _cell_lines(cell: CellHistory) -> Iterator[str]:
    nights = cell.nights
    yield f"{cell.cell}: {len(nights)} nights, {nights[0].started} to {nights[-1].started}"
    for turn in cell.regressions[-_LISTED:]:
        before, after = turn.before, turn.after
        yield f"went bad: {after.started}, {before.outcome} -> {after.outcome}; last good night {before.started}"
        yield f"  versions: {', '.join(turn.version_changes) or 'the same'}"
        yield from [f"  {after.check or 'cell'}: {after.reason}"] if after.reason else []
    if not cell.regressions:
        good = sum(each.outcome in GOOD for each in nights)
        yield "always good" if good == len(nights) else "never good" if not good else "never went bad"
    yield f"margin: {_trend([each.margin for each in nights])}"
    earlier: CellNight | None = None
    for each in nights[-_NIGHTS:]:
        margin = "" if each.margin is None else f"  margin {each.margin:.3g}"
        versions = ", ".join(version_changes(earlier.versions, each.versions)) if earlier else ""
        yield f"  {each.started}  {each.outcome:<11}{margin}{f'  ({versions})' if versions else ''}"
        earlier = each


def _trend(numbers: Sequence[float | None]) -> str:
    """Return the first, the last and the largest number, and at most 40 of them as bars from 0 to the largest."""
    values = [each for each in numbers if each is not None]
    if not values:
        return "none"
    largest = max(values) or 1.0
    sample = numbers[:: max(1, -(-len(numbers) // 40))]
    bars = "".join(" " if each is None else _BARS[min(7, int(8 * each / largest))] for each in sample)
    return f"{values[0]:.3g} -> {values[-1]:.3g}, largest {max(values):.3g}  {bars}"


def _more(items: Sequence[object]) -> Iterator[str]:
    if len(items) > _LISTED:
        yield f"  and {len(items) - _LISTED:,} more"
