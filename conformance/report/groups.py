"""
Groups of cells that share a way to fail, a reason, or an entry of the ledger. The page shows it once for each group.

Messages, reasons and links are those of the results file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from conformance.report import text
from conformance.report.cell_details import entry_anchor, summary
from conformance.report.columns import Column, name
from conformance.report.matrix import KINDS, UNKNOWN, Cell, Kind, Table
from conformance.results import plain
from conformance.results.behaviours import gone_entries
from conformance.results.record import EntryRecord

#: Behaviour, by its id -> how many cells it covers (`cells`), need it (`seen`) and lack it (`gone`).
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Cells of one column that fail with the same summary."""

    kind: Kind
    column: Column
    summary: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Member:
    """The cells of a group in one column; `whole` if these are all cells of the column."""

    column: Column
    cells: tuple[Cell, ...]
    whole: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells that share a title; `facts` are its details, `link` is a web address that is safe to follow."""

    anchor: str
    kind: Kind
    title: str
    facts: tuple[tuple[str, str], ...]
    link: str | None
    members: tuple[Member, ...]
    #: The cells that show the behaviour to be gone.
    gone: tuple[Member, ...] = ()

    @property
    def size(self) -> int:
        """The number of cells."""
        return sum(len(member.cells) for member in self.members)


def failures(table: Table) -> tuple[Failure, ...]:
    """Return the failing cells by column and summary, worst first."""
    order = [*KINDS.values(), UNKNOWN]
    cells_of: dict[tuple[Kind, Column, str], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        if cell.kind.fails or cell.contradicts:
            cells_of[cell.kind, cell.column, summary(cell)].append(cell)
    listed = [
        Failure(kind=kind, column=column, summary=line, cells=tuple(cells))
        for (kind, column, line), cells in cells_of.items()
    ]
    # Sorting is stable: equally bad failures stay in the order of the table.
    return tuple(sorted(listed, key=lambda each: order.index(each.kind)))


def unjudged(table: Table) -> tuple[Group, ...]:
    """Return the cells without a judgement, which were not run or are unsupported, by reason."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        if cell.kind.name in ("not_run", "unsupported"):
            found[cell.kind.name, _reason(cell)].append(cell)
    groups = [
        _group(table, cells, anchor=unjudged_anchor(cells[0]), kind=KINDS[outcome], title=reason)
        for (outcome, reason), cells in found.items()
    ]
    return _sorted(groups)


def unjudged_anchor(cell: Cell) -> str:
    """Return the anchor of the reason for a cell that was not run or is unsupported."""
    return text.anchor("reason", cell.kind.name, _reason(cell))


def unsupported_checks(table: Table) -> tuple[Group, ...]:
    """Return the unsupported checks of cells that have other checks, by check and reason."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        if cell.kind.name != "unsupported":
            for check in cell.unsupported_checks:
                why = check.reason or check.message or "no reason given"
                found[name(check.check, "check"), text.value(why)].append(cell)
    groups = [
        _group(
            table,
            cells,
            anchor=text.anchor("unanswered", check, why),
            kind=KINDS["unsupported"],
            title=f"{check}: {why}",
        )
        for (check, why), cells in found.items()
    ]
    return _sorted(groups)


def divergences(table: Table, counts: Counts) -> tuple[Group, ...]:
    """
    Return the entries of the ledger that cells refer to, each with its cells; behaviours that are gone come first.

    - `table`: the cells.
    - `counts`: the counts of each behaviour, by its id.
    """
    entries: dict[str, EntryRecord] = {}
    needing: dict[str, list[Cell]] = defaultdict(list)
    gone: dict[str, list[Cell]] = defaultdict(list)
    for cell in table.cells:
        for entry in cell.divergences:
            entries.setdefault(entry.name, entry)
            needing[entry.name].append(cell)
        for entry in gone_entries(cell.record):
            entries.setdefault(entry.name, entry)
            gone[entry.name].append(cell)
    places = {entry.id: where for where, entry in entries.items() if entry.id}
    for cell in table.cells:
        # A check that several behaviours explain has the entry of the first one, and the ids of all.
        for behaviour in cell.record.behaviours:
            place = places.get(behaviour, behaviour)
            entries.setdefault(place, EntryRecord(id=behaviour, where=place, why=behaviour))
            needing[place].append(cell)
    groups = [_entry_group(table, entry, needing[where], gone[where], counts) for where, entry in entries.items()]
    return tuple(sorted(groups, key=lambda group: (not group.gone, text.natural(group.facts[0][1]), group.title)))


def _entry_group(
    table: Table,
    entry: EntryRecord,
    needing: Sequence[Cell],
    gone: Sequence[Cell],
    counts: Mapping[str, Mapping[str, int]],
) -> Group:
    """Return the group of one entry of the ledger."""
    # A link that is not safe to follow is shown as text.
    link = text.link(entry.link)
    other_fields = ("where", "why", "behaviours", *(("link",) if link else ()))
    facts = [(key, text.value(each)) for key, each in plain(entry).items() if key not in other_fields and each]
    if (counted := counts.get(entry.id)) is not None:
        facts.append(("seen", f"in {counted['seen']:,} of the {counted['cells']:,} cells that it covers"))
        facts += [("gone", f"from {counted['gone']:,} cells")] if counted["gone"] else []
    group = _group(
        table,
        list(dict.fromkeys(needing)),
        anchor=entry_anchor(entry),
        kind=KINDS["diverges" if needing else "conforms"],
        title=text.value(entry.why or "no reason given"),
        facts=(("entry", text.value(entry.name)), *facts),
        link=link,
    )
    return replace(group, gone=_members(table, list(dict.fromkeys(gone))))


def _reason(cell: Cell) -> str:
    reasons = (cell.record.reason, *(each.reason or each.message for each in cell.checks))
    return text.value(next(filter(None, reasons), "no reason given"))


def _group(
    table: Table,
    cells: Sequence[Cell],
    *,
    anchor: str,
    kind: Kind,
    title: str,
    facts: tuple[tuple[str, str], ...] = (),
    link: str | None = None,
) -> Group:
    members = _members(table, cells)
    return Group(anchor=anchor, kind=kind, title=title, facts=facts, link=link, members=members)


def _members(table: Table, cells: Sequence[Cell]) -> tuple[Member, ...]:
    """Return cells by column."""
    found: dict[Column, list[Cell]] = {column: [] for column in table.columns}
    for cell in cells:
        found[cell.column].append(cell)
    return tuple(
        Member(column=column, cells=tuple(each), whole=len(each) == table.sizes[column])
        for column, each in found.items()
        if each
    )


def _sorted(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Return groups by size, the largest first, then by title."""
    return tuple(
        sorted(groups, key=lambda group: (-group.size, group.kind.name, text.natural(group.title), group.title))
    )
