"""
A comparison of two runs as a person or a program reads it: text, Markdown for a pull request, JSON.

It judges nothing and knows no results file. What came from elsewhere is shown without the characters that steer a
terminal, and in Markdown as code.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Final

from conformance.results import finite
from conformance.results.diff.comparison import SECTIONS, Change, Diff, Shift, Turn
from conformance.results.diff.rows import Row, of_change, of_shift, of_turn
from conformance.text import code, printable

#: Cells named in text; JSON has all.
_LISTED: Final = 20
#: Implementations named beside a change of a version.
_NAMED: Final = 6
_GONE: Final = "Known behaviours that are gone: narrow or remove their entries"
_BACK: Final = "Known behaviours that are back"


def as_text(found: Diff) -> str:
    """Return the diff for a terminal."""
    return "\n".join(_lines(found, markdown=False))


def as_markdown(found: Diff) -> str:
    """Return the diff for a pull request: headings and lists, text that came from elsewhere as code."""
    return "\n".join(_lines(found, markdown=True))


def as_json(found: Diff) -> str:
    """Return the whole diff as JSON."""
    lists = {name: [asdict(of_change(each)) for each in found.section(name)] for name in SECTIONS}
    keys = ("implementation", "distribution", "before", "after")
    rest = {
        "behaviours_gone": [{**_without_margins(of_turn(each)), **asdict(each)} for each in found.gone],
        "behaviours_back": [{**_without_margins(of_turn(each)), **asdict(each)} for each in found.back],
        "margins_moved_together": [{**_without_margins(of_shift(each)), **asdict(each)} for each in found.shifts],
        "versions": [dict(zip(keys, each, strict=True)) for each in found.versions],
    }
    content = {"worse_overall": found.is_worse, "broken_off": found.broken_off, **lists, **rest}
    return json.dumps(finite(content), indent=2, allow_nan=False)


def _lines(found: Diff, *, markdown: bool) -> Iterator[str]:
    heading, item = ("### {title} ({count})\n", "- {line}") if markdown else ("{title} ({count})", "  {line}")
    shown = code if markdown else printable
    yield _headline(found)
    if found.broken_off:
        yield "The new run was broken off."
    yield from [""] if found.versions else []
    for (distribution, before, after), names in _by_version(found).items():
        versions = shown(f"{distribution} {before or 'none'} -> {after or 'none'}")
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield item.format(line=f"{versions}: {shown(', '.join(names[:_NAMED]))}{more}")
    for name, title in SECTIONS.items():
        yield from _list([_line(each, shown) for each in found.section(name)], title, heading, item)
    yield from _list([_turn_line(each, shown) for each in found.gone], _GONE, heading, item)
    yield from _list([_turn_line(each, shown) for each in found.back], _BACK, heading, item)
    yield from _list([_shift_line(each, shown) for each in found.shifts], "Margins that moved together", heading, item)


def _list(lines: Sequence[str], title: str, heading: str, item: str) -> Iterator[str]:
    """Yield a list under its heading; nothing of an empty one."""
    if not lines:
        return
    yield ""
    yield heading.format(title=title, count=len(lines))
    for each in lines[:_LISTED]:
        yield item.format(line=each)
    if len(lines) > _LISTED:
        yield item.format(line=f"and {len(lines) - _LISTED} more")


def _by_version(found: Diff) -> dict[tuple[str, str | None, str | None], list[str]]:
    """Return the implementations of each change of a version, which most often is the same for many."""
    names: dict[tuple[str, str | None, str | None], list[str]] = defaultdict(list)
    for name, *change in found.versions:
        distribution, before, after = change
        names[str(distribution), before, after].append(name)
    return names


def _line(change: Change, shown: Callable[[str], str]) -> str:
    outcomes = f"{printable(change.before or 'absent')} -> {printable(change.after or 'absent')}"
    if change.before == change.after == "conforms" and change.margins is not None and not change.said:
        outcomes = f"margin {change.margins[0]:.3g} -> {change.margins[1]:.3g}"
    return f"{shown(change.cell)}: {outcomes}" + (f": {shown(change.said)}" if change.said else "")


def _without_margins(row: Row) -> dict[str, object]:
    """Return the line of what is no cell, in the form of the other lists."""
    return {name: each for name, each in asdict(row).items() if name != "margins"}


def _turn_line(turn: Turn, shown: Callable[[str], str]) -> str:
    row = of_turn(turn)
    return f"{shown(row.cell)}: {row.before} -> {row.after}" + (f": {shown(row.said)}" if row.said else "")


def _shift_line(shift: Shift, shown: Callable[[str], str]) -> str:
    row = of_shift(shift)
    return f"{shown(row.cell)}: margins times {shift.median:.3g}; {row.said}"


def _headline(found: Diff) -> str:
    """Return the diff in a sentence."""
    counts = [f"{len(found.section(name))} {title.split(',')[0].lower()}" for name, title in SECTIONS.items()]
    said = [each for each, name in zip(counts, SECTIONS, strict=True) if found.section(name)]
    for turns, how in ((found.gone, "gone"), (found.back, "back")):
        said += [f"{len(turns)} known behaviour{' is' if len(turns) == 1 else 's are'} {how}"] if turns else []
    said += [f"{len(found.shifts)} margins that moved together"] if found.shifts else []
    said += ["versions changed"] if found.versions else []
    return "; ".join(said) if said else "Nothing changed."
