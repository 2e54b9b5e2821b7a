"""What changed since another run, as `conformance diff` reports it, with links to the cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conformance.report import text
from conformance.report.addresses import Places
from conformance.results.diff.comparison import Diff
from conformance.results.diff.rows import Row, behaviour_row, change_row, shift_row

#: Cells that are listed for each kind of change.
LISTED: Final = 100
#: Section of a diff -> its title, in the order of the page.
_TITLES: Final = {
    "worse": "Newly failing",
    "lost": "No longer run, though the row is there",
    "unchecked": "Lost a check",
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


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cell with its outcome, or margin, before and after; `place` is its address, empty where the page has none."""

    cell: str
    place: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """Changes of one kind."""

    title: str
    count: int
    changes: tuple[Change, ...]

    @property
    def unlisted(self) -> int:
        """How many changes are not listed."""
        return self.count - len(self.changes)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that changed; `sentence` has the counts."""

    sentence: str
    since: str
    versions: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]


def changes(diff: Diff, since: str, places: Places) -> Changes:
    """Return the changes of a diff; `since` names the run that is compared with."""
    parts = tuple(_part(title, rows, places) for name, title in _TITLES.items() if (rows := _rows(diff, name)))
    counts = [f"{part.count:,} {part.title.split(',')[0].lower()}" for part in parts]
    versions = tuple(map(_version, diff.versions))
    counts += [f"{len(versions):,} version{'' if len(versions) == 1 else 's'} changed"] if versions else []
    return Changes(
        sentence="Since the last run: " + ("; ".join(counts) if counts else "nothing changed") + ".",
        since=f"Compared with {text.value(since)}." if since else "",
        versions=versions,
        parts=parts,
    )


def _rows(diff: Diff, name: str) -> list[Row]:
    """Return the lines of one section of a diff."""
    if name == "behaviours_gone":
        return list(map(behaviour_row, diff.gone))
    if name == "behaviours_back":
        return list(map(behaviour_row, diff.back))
    if name == "margins_moved_together":
        return list(map(shift_row, diff.shifts))
    return list(map(change_row, diff.section(name)))


def _part(title: str, rows: Sequence[Row], places: Places) -> Part:
    return Part(title=title, count=len(rows), changes=tuple(_change(each, places) for each in rows[:LISTED]))


def _change(row: Row, places: Places) -> Change:
    before, after = ((each or "absent").replace("_", " ") for each in (row.before, row.after))
    if before == after and row.margins is not None:
        before, after = (f"margin {text.short(each)}" for each in row.margins)
    return Change(
        cell=text.value(row.cell),
        place=places.place(row.cell),
        before=text.value(before),
        after=text.value(after),
        reason=text.head(row.reason, 300),
    )


def _version(version: tuple[str, str, str | None, str | None]) -> tuple[str, str]:
    name, distribution, before, after = (text.value(each or "") for each in version)
    return (f"{name}: {distribution}", f"{before} → {after}")
