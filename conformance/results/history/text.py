"""What is printed of a folder of nights, and of one cell in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from conformance.results.history.queries import GOOD, Life, Moment, Overview, changed
from conformance.text import printable

#: Lines of a kind printed on a terminal; JSON has all.
_LISTED: Final = 20
#: Nights in the text of one cell.
_SHOWN: Final = 30
_BARS: Final = "▁▂▃▄▅▆▇█"


def as_json(found: Overview) -> str:
    """Return an overview as JSON; margins and unread lines stand once, and not in each night."""
    content = asdict(found)
    for night in content["nights"]:
        del night["margins"], night["unread"]
    return json.dumps(content, indent=2)


def as_text(found: Overview, last: int) -> str:
    """Return an overview for a terminal."""
    return "\n".join(map(printable, _overview_lines(found, last)))


def _overview_lines(found: Overview, last: int) -> Iterator[str]:
    nights, newest = found.nights, found.nights[-1]
    cells = sum(sum(each.counts.values()) for each in nights)
    yield f"{len(nights):,} nights, {nights[0].started} to {newest.started}; {cells:,} cells"
    counts = ", ".join(f"{count:,} {name}" for name, count in newest.counts.items() if count)
    yield f"last: {counts or 'no cell'}{'' if newest.complete else '; broken off'}"
    for name, reason in found.skipped.items():
        yield f"skipped: {name}: {reason}"
    for name, count in found.unread_lines.items():
        yield f"{name}: {count} line{'s' if count > 1 else ''} cannot be read"
    yield ""
    yield f"Worse than they were, in the last {last} nights ({len(found.worsened)})"
    for worse in found.worsened[:_LISTED]:
        versions = ", ".join(changed(worse.versions_before, worse.versions_since)) or "same versions"
        yield f"  {worse.cell}: {worse.before} -> {worse.now} since {worse.since} ({versions})"
    yield from _more(found.worsened)
    yield ""
    yield f"Not always the same, with the same versions ({len(found.flaky)})"
    for each in found.flaky[:_LISTED]:
        yield f"  {each.cell}: {' or '.join(each.outcomes)}, {each.turns} turns in {each.nights} nights"
    yield from _more(found.flaky)
    yield ""
    yield "Median margin, by implementation and dtype"
    for trend in found.margins:
        yield f"  {trend.implementation:<22} {trend.dtype:<9} {_trend(trend.medians)}"


def lives_as_json(lives: Sequence[Life]) -> str:
    """Return the lives of a cell, one for each device, as JSON; a turn also says which versions changed."""
    content = [
        {**asdict(each), "turns": [{**asdict(turn), "changed": turn.changed} for turn in each.turns]} for each in lives
    ]
    return json.dumps(content, indent=2)


def life_as_text(found: Life) -> str:
    """Return the life of a cell for a terminal: when it turned bad, with what, the trend of its margin, its nights."""
    return "\n".join(map(printable, _life_lines(found)))


def _life_lines(found: Life) -> Iterator[str]:
    moments = found.moments
    yield f"{found.cell}: {len(moments)} nights, {moments[0].started} to {moments[-1].started}"
    for turn in found.turns[-_LISTED:]:
        before, after = turn.before, turn.after
        yield f"went bad: {after.started}, {before.outcome} -> {after.outcome}; last good night {before.started}"
        yield f"  versions: {', '.join(turn.changed) or 'the same'}"
        yield from [f"  {after.check or 'cell'}: {after.said}"] if after.said else []
    if not found.turns:
        good = sum(each.outcome in GOOD for each in moments)
        yield "always good" if good == len(moments) else "never good" if not good else "never went bad"
    yield f"margin: {_trend([each.margin for each in moments])}"
    earlier: Moment | None = None
    for each in moments[-_SHOWN:]:
        margin = "" if each.margin is None else f"  margin {each.margin:.3g}"
        versions = ", ".join(changed(earlier.versions, each.versions)) if earlier else ""
        yield f"  {each.started}  {each.outcome:<11}{margin}{f'  ({versions})' if versions else ''}"
        earlier = each


def _trend(numbers: Sequence[float | None]) -> str:
    """Return the first and last of some numbers, and all of them, at most forty, as bars from 0 to the largest."""
    known = [each for each in numbers if each is not None]
    if not known:
        return "none"
    largest = max(known) or 1.0
    shown = numbers[:: max(1, -(-len(numbers) // 40))]
    bars = "".join(" " if each is None else _BARS[min(7, int(8 * each / largest))] for each in shown)
    return f"{known[0]:.3g} -> {known[-1]:.3g}, largest {max(known):.3g}  {bars}"


def _more(found: Sequence[object]) -> Iterator[str]:
    if len(found) > _LISTED:
        yield f"  and {len(found) - _LISTED:,} more"
