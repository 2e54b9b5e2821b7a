"""
What changed since another run, as `conformance diff` found it: put into the page's words, and linked to the cells.

It is given the diff as JSON holds it and judges nothing: what got worse and what was fixed is the diff's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from conformance.report import text
from conformance.report.addresses import Places

#: Cells listed of each kind of change.
LISTED: Final = 100
_TITLES: Final = {
    "worse": "Newly failing",
    "lost": "No longer asked, though the row is there",
    "unchecked": "No longer held to a check",
    "fixed": "Fixed",
    "newly_diverging": "Newly diverging, as the ledger says",
    "no_longer_diverging": "No longer diverging",
    "drifted": "Drifted in margin",
    "behaviours_gone": "Behaviour gone, though the ledger declares it",
    "behaviours_back": "Behaviour back, as the ledger declares it",
    "margins_moved_together": "Margins that moved together",
    "other": "Otherwise changed",
    "appeared": "Appeared",
    "vanished": "Vanished",
}
_VERSIONS: Final = ("implementation", "distribution", "before", "after")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cell with its outcome, or margin, before and after; `place` is its address on the page, if it is there."""

    cell: str
    place: str
    before: str
    after: str
    said: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """Changes of one kind; `unlisted` more are not shown."""

    title: str
    count: int
    changes: tuple[Change, ...]

    @property
    def unlisted(self) -> int:
        """How many more there are."""
        return self.count - len(self.changes)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that changed, in a sentence and in full."""

    sentence: str
    since: str
    versions: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]


def changes(found: Mapping[str, Any], places: Places) -> Changes:
    """
    Return the changes that a diff found.

    `found` maps a kind of change to its list of `{cell, before, after, said, margins}`, where `cell` is
    `DEVICE/IMPLEMENTATION/CASE`; `versions` to what changed of these, and `since` to what the run is compared with.
    """
    lists = {key: each for key, each in found.items() if key != "versions" and isinstance(each, list) and each}
    order = [key for key in _TITLES if key in lists] + sorted(key for key in lists if key not in _TITLES)
    parts = tuple(_part(_TITLES.get(key, key.replace("_", " ").capitalize()), lists[key], places) for key in order)
    said = [f"{part.count:,} {part.title.split(',')[0].lower()}" for part in parts]
    versions = found.get("versions")
    told = tuple(map(_version, versions)) if isinstance(versions, list) else ()
    said += [f"{len(told):,} version{'' if len(told) == 1 else 's'} changed"] if told else []
    return Changes(
        sentence="Since the last run: " + ("; ".join(said) if said else "nothing changed") + ".",
        since=f"Compared with {text.value(found['since'])}." if found.get("since") else "",
        versions=told,
        parts=parts,
    )


def _part(title: str, found: Sequence[Any], places: Places) -> Part:
    known = [each for each in found if isinstance(each, Mapping)]
    return Part(title=title, count=len(found), changes=tuple(_change(each, places) for each in known[:LISTED]))


def _change(found: Mapping[str, Any], places: Places) -> Change:
    cell = text.value(found.get("cell") or "")
    before, after = (text.value(found.get(key) or "absent").replace("_", " ") for key in ("before", "after"))
    margins = found.get("margins")
    if before == after and isinstance(margins, list) and len(margins) == 2:
        before, after = (f"margin {text.short(text.number(each))}" for each in margins)
    return Change(
        cell=cell,
        place=places.of(cell),
        before=before,
        after=after,
        said=text.head(text.value(found.get("said") or ""), 300),
    )


def _version(found: Any) -> tuple[str, str]:
    if not isinstance(found, Mapping):
        return ("", text.value(found))
    name, distribution, before, after = (text.value(found.get(key) or "") for key in _VERSIONS)
    return (f"{name}: {distribution}", f"{before} → {after}")
