"""
A comparison of two runs as text, as Markdown for a pull request, or as JSON.

Text from a results file is printed without the characters that control a terminal, and in Markdown as code.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Final

import msgspec

from conformance.results import finite
from conformance.results.diff.comparison import SECTIONS, BehaviourChange, Change, Diff, Shift
from conformance.results.diff.rows import Row, behaviour_row, change_row, shift_row
from conformance.text import code, printable

#: Cells that a section of text lists; JSON has all.
_LISTED: Final = 20
#: Implementations that a change of a version names.
_NAMED: Final = 6
_GONE: Final = "Known behaviours that are gone: narrow or remove their entries"
_BACK: Final = "Known behaviours that are back"


def as_text(changes: Diff) -> str:
    """Return the diff for a terminal."""
    return "\n".join(_lines(changes, markdown=False))


def as_markdown(changes: Diff) -> str:
    """Return the diff for a pull request, as headings and lists."""
    return "\n".join(_lines(changes, markdown=True))


def as_json(changes: Diff) -> str:
    """Return the whole diff as JSON."""
    lists = {name: [change_row(each) for each in changes.section(name)] for name in SECTIONS}
    keys = ("implementation", "distribution", "before", "after")
    rest = {
        "behaviours_gone": [_behaviour_object(each) for each in changes.gone],
        "behaviours_back": [_behaviour_object(each) for each in changes.back],
        "margins_moved_together": [{**_without_margins(shift_row(each)), **asdict(each)} for each in changes.shifts],
        "versions": [dict(zip(keys, each, strict=True)) for each in changes.versions],
    }
    content = {"worse_overall": changes.is_worse, "broken_off": changes.broken_off, **lists, **rest}
    return json.dumps(finite(msgspec.to_builtins(content)), indent=2, allow_nan=False)


def _behaviour_object(change: BehaviourChange) -> dict[str, object]:
    fields = {"behaviour": change.behaviour, "where": change.where, "why": change.why}
    return {**_without_margins(behaviour_row(change)), **fields, "seen": change.needed, "gone": change.gone}


def _lines(changes: Diff, *, markdown: bool) -> Iterator[str]:
    heading, item = ("### {title} ({count})\n", "- {line}") if markdown else ("{title} ({count})", "  {line}")
    escape = code if markdown else printable
    yield _headline(changes)
    if changes.broken_off:
        yield "The new run was broken off."
    yield from [""] if changes.versions else []
    for (distribution, before, after), names in _by_version(changes).items():
        versions = escape(f"{distribution} {before or 'none'} -> {after or 'none'}")
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield item.format(line=f"{versions}: {escape(', '.join(names[:_NAMED]))}{more}")
    for name, title in SECTIONS.items():
        yield from _list([_line(each, escape) for each in changes.section(name)], title, heading, item)
    yield from _list([_behaviour_line(each, escape) for each in changes.gone], _GONE, heading, item)
    yield from _list([_behaviour_line(each, escape) for each in changes.back], _BACK, heading, item)
    yield from _list(
        [_shift_line(each, escape) for each in changes.shifts], "Margins that moved together", heading, item
    )


def _list(lines: Sequence[str], title: str, heading: str, item: str) -> Iterator[str]:
    """Yield a heading and a list; nothing if the list is empty."""
    if not lines:
        return
    yield ""
    yield heading.format(title=title, count=len(lines))
    for each in lines[:_LISTED]:
        yield item.format(line=each)
    if len(lines) > _LISTED:
        yield item.format(line=f"and {len(lines) - _LISTED} more")


def _by_version(changes: Diff) -> dict[tuple[str, str | None, str | None], list[str]]:
    """Return the implementations of each change of a version. Many often share one."""
    names: dict[tuple[str, str | None, str | None], list[str]] = defaultdict(list)
    for name, *change in changes.versions:
        distribution, before, after = change
        names[str(distribution), before, after].append(name)
    return names


def _line(change: Change, escape: Callable[[str], str]) -> str:
    outcomes = f"{printable(change.before or 'absent')} -> {printable(change.after or 'absent')}"
    if change.before == change.after == "conforms" and change.margins is not None and not change.reason:
        outcomes = f"margin {change.margins[0]:.3g} -> {change.margins[1]:.3g}"
    return f"{escape(change.cell)}: {outcomes}" + (f": {escape(change.reason)}" if change.reason else "")


def _without_margins(row: Row) -> dict[str, object]:
    """Return the fields of a line that is not about one cell."""
    return {"cell": row.cell, "before": row.before, "after": row.after, "said": row.reason}


def _behaviour_line(change: BehaviourChange, escape: Callable[[str], str]) -> str:
    row = behaviour_row(change)
    return f"{escape(row.cell)}: {row.before} -> {row.after}" + (f": {escape(row.reason)}" if row.reason else "")


def _shift_line(shift: Shift, escape: Callable[[str], str]) -> str:
    row = shift_row(shift)
    return f"{escape(row.cell)}: margins times {shift.median:.3g}; {row.reason}"


def _headline(changes: Diff) -> str:
    """Return the diff in a sentence."""
    counts = [f"{len(changes.section(name))} {title.split(',')[0].lower()}" for name, title in SECTIONS.items()]
    parts = [each for each, name in zip(counts, SECTIONS, strict=True) if changes.section(name)]
    for behaviours, how in ((changes.gone, "gone"), (changes.back, "back")):
        count = len(behaviours)
        parts += [f"{count} known behaviour{' is' if count == 1 else 's are'} {how}"] if count else []
    parts += [f"{len(changes.shifts)} margins that moved together"] if changes.shifts else []
    parts += ["versions changed"] if changes.versions else []
    return "; ".join(parts) if parts else "Nothing changed."
