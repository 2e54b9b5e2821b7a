"""
What changed from one run to another: cells that got worse or better, came or went, versions, and margins that drifted.

Knows results files alone. Inputs follow from a case's content, so a margin moves only where the implementation did;
what counts as a drift is said by `DRIFT` and `NOTICED`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conformance.results import FAILING, OUTCOMES, Record, Run

#: A margin drifts when it grows or shrinks by more than this factor ...
DRIFT: Final = 1.5
#: ... and is, before or after, at least so much of what is allowed.
NOTICED: Final = 0.1
#: Cells named in text; JSON has all.
_LISTED: Final = 20

Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One cell, with its outcomes before and after; None where it has no line there. `said` is the first reason."""

    device: str
    implementation: str
    case: str
    before: str | None
    after: str | None
    said: str = ""
    margins: tuple[float, float] | None = None

    @property
    def cell(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`, as in a test's id."""
        return f"{self.device}/{self.implementation}/{self.case}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """
    All that changed; every cell is in at most one list of outcomes.

    `lost` are cells that vanished though their row and their implementation did not: somebody stopped asking.
    """

    worse: tuple[Change, ...] = ()
    fixed: tuple[Change, ...] = ()
    newly_diverging: tuple[Change, ...] = ()
    no_longer_diverging: tuple[Change, ...] = ()
    other: tuple[Change, ...] = ()
    appeared: tuple[Change, ...] = ()
    vanished: tuple[Change, ...] = ()
    lost: tuple[Change, ...] = ()
    drifted: tuple[Change, ...] = ()
    versions: tuple[tuple[str, str, str, str], ...] = ()
    broken_off: bool = False

    @property
    def is_worse(self) -> bool:
        """Whether something got worse: a cell fails now or is asked no more, or the run was broken off."""
        red = any(each.after in FAILING for each in self.appeared)
        return bool(self.worse or self.lost or red or self.broken_off)


#: The lists of a diff in the order in which they are shown, each with its title.
SECTIONS: Final[Mapping[str, str]] = {
    "worse": "Newly failing",
    "lost": "No longer asked, though row and implementation are there",
    "fixed": "Fixed",
    "newly_diverging": "Newly diverging, as the ledger says",
    "no_longer_diverging": "No longer diverging",
    "drifted": "Margins that drifted",
    "other": "Otherwise changed",
    "appeared": "Appeared",
    "vanished": "Vanished",
}


def diff(old: Run, new: Run) -> Diff:
    """Return what changed from `old` to `new`."""
    before, after = _cells(old), _cells(new)
    found: dict[str, list[Change]] = {name: [] for name in SECTIONS}
    asked = {(device, implementation) for device, implementation, _ in after}
    rows = {case for _, _, case in after}
    for key in sorted({*before, *after}):
        change = _change(key, before.get(key), after.get(key))
        device, implementation, case = key
        if change.before is None:
            found["appeared"].append(change)
        elif change.after is None:
            there = (device, implementation) in asked and case in rows
            found["lost" if there else "vanished"].append(change)
        elif (name := _section(change)) is not None:
            found[name].append(change)
    lists = {name: tuple(changes) for name, changes in found.items()}
    return Diff(**lists, versions=tuple(_versions(old, new)), broken_off=not new.complete)


def _cells(run: Run) -> dict[Key, Record]:
    return {(str(each["device"]), str(each["implementation"]), str(each["case"])): each for each in run.cells}


def _change(key: Key, old: Record | None, new: Record | None) -> Change:
    device, implementation, case = key
    margins = (_margin(old), _margin(new))
    return Change(
        device=device,
        implementation=implementation,
        case=case,
        before=None if old is None else str(old["outcome"]),
        after=None if new is None else str(new["outcome"]),
        said="" if new is None else _said(new),
        margins=(margins[0], margins[1]) if margins[0] is not None and margins[1] is not None else None,
    )


def _section(change: Change) -> str | None:
    """Return the list a cell that is in both runs belongs to, None where nothing changed."""
    before, after = str(change.before), str(change.after)
    if before == after:
        return "drifted" if after == "conforms" and _drifted(change.margins) else None
    if after in FAILING:
        return "worse" if before not in FAILING or OUTCOMES.index(after) < OUTCOMES.index(before) else "other"
    if before in FAILING:
        return "fixed" if after in ("conforms", "diverges") else "worse"
    if after == "diverges":
        return "newly_diverging"
    if before == "diverges" and after == "conforms":
        return "no_longer_diverging"
    return "worse" if after in ("unsupported", "not_run") and before == "conforms" else "other"


def _drifted(margins: tuple[float, float] | None) -> bool:
    if margins is None or max(margins) < NOTICED:
        return False
    low, high = sorted(margins)
    return high > DRIFT * low


def _margin(record: Record | None) -> float | None:
    """Return the largest margin of a cell's checks."""
    margins = [float(each["margin"]) for each in (record or {}).get("checks", ()) if each.get("margin") is not None]
    return max(margins, default=None)


def _said(record: Record) -> str:
    """Return the first reason a cell gives for its outcome."""
    messages = (each.get("message") for each in record["checks"] if each["outcome"] == record["outcome"])
    return str(record.get("reason") or next((each for each in messages if each), "")).split("\n", 1)[0][:200]


def _versions(old: Run, new: Run) -> Iterator[tuple[str, str, str, str]]:
    """Yield implementation, distribution, version before and after, where both runs have it and they differ."""
    before = {str(each["implementation"]): each.get("versions") or {} for each in old.implementations}
    for each in new.implementations:
        name = str(each["implementation"])
        for distribution, version in (each.get("versions") or {}).items():
            earlier = before.get(name, {}).get(distribution)
            if earlier is not None and earlier != version:
                yield name, str(distribution), str(earlier), str(version)


def as_text(found: Diff) -> str:
    """Return the diff for a terminal."""
    return "\n".join(_lines(found, heading="{title} ({count})", item="  {line}"))


def as_markdown(found: Diff) -> str:
    """Return the diff for a pull request: headings and lists, text that came from a framework as code."""
    return "\n".join(_lines(found, heading="### {title} ({count})\n", item="- {line}", code="`"))


def as_json(found: Diff) -> str:
    """Return the whole diff as JSON."""
    lists: dict[str, Any] = {
        name: [
            {"cell": each.cell, "before": each.before, "after": each.after, "said": each.said, "margins": each.margins}
            for each in getattr(found, name)
        ]
        for name in SECTIONS
    }
    keys = ("implementation", "distribution", "before", "after")
    versions = [dict(zip(keys, each, strict=True)) for each in found.versions]
    content = {"worse_overall": found.is_worse, "broken_off": found.broken_off, **lists, "versions": versions}
    return json.dumps(content, indent=2, ensure_ascii=False)


def _lines(found: Diff, *, heading: str, item: str, code: str = "") -> Iterator[str]:
    yield _headline(found)
    if found.broken_off:
        yield "The new run was broken off."
    for name, distribution, before, after in found.versions:
        yield item.format(line=f"{name}: {distribution} {before} -> {after}")
    for name, title in SECTIONS.items():
        changes: Sequence[Change] = getattr(found, name)
        if not changes:
            continue
        yield ""
        yield heading.format(title=title, count=len(changes))
        for each in changes[:_LISTED]:
            yield item.format(line=_line(each, code))
        if len(changes) > _LISTED:
            yield item.format(line=f"and {len(changes) - _LISTED} more")


def _line(change: Change, code: str) -> str:
    outcomes = f"{change.before or 'absent'} -> {change.after or 'absent'}"
    if change.before == change.after and change.margins is not None:
        outcomes = f"margin {change.margins[0]:.3g} -> {change.margins[1]:.3g}"
    # A backtick would end the code; text of a framework is shown, not obeyed.
    said = change.said.replace("`", "'") if code else change.said
    return f"{code}{change.cell}{code}: {outcomes}" + (f": {code}{said}{code}" if said else "")


def _headline(found: Diff) -> str:
    """Return the diff in a sentence."""
    counts = [f"{len(getattr(found, name))} {title.split(',')[0].lower()}" for name, title in SECTIONS.items()]
    said = [each for each, name in zip(counts, SECTIONS, strict=True) if getattr(found, name)]
    return "; ".join(said) if said else "Nothing changed."
