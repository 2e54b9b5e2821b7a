"""
Cells that share something to be said: a way to fail, a reason, an entry of the ledger. The page says it once.

Messages, reasons and links stand as the results file has them.
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
from conformance.results.behaviours import gone_in
from conformance.results.record import EntryRecord

#: Behaviour, by its id -> how many cells it covers (`cells`), need it (`seen`) and lack it (`gone`).
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Cells of one implementation that fail in one way, as far as one sentence tells."""

    kind: Kind
    column: Column
    summary: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Member:
    """The cells of a group that stand in one column; `whole` where these are all the column has."""

    column: Column
    cells: tuple[Cell, ...]
    whole: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells of which one thing is to be said; `facts` are its particulars, `link` may be followed."""

    anchor: str
    kind: Kind
    title: str
    facts: tuple[tuple[str, str], ...]
    link: str | None
    members: tuple[Member, ...]
    #: The cells that show an entry of the ledger to be gone.
    gone: tuple[Member, ...] = ()

    @property
    def size(self) -> int:
        """How many cells."""
        return sum(len(member.cells) for member in self.members)


def failures(table: Table) -> tuple[Failure, ...]:
    """Return the failing cells, worst first; a framework that does not start at all is one entry, not a thousand."""
    order = [*KINDS.values(), UNKNOWN]
    alike: dict[tuple[Kind, Column, str], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        if cell.kind.fails or cell.contradicts:
            alike[cell.kind, cell.column, summary(cell)].append(cell)
    listed = [
        Failure(kind=kind, column=column, summary=said, cells=tuple(cells))
        for (kind, column, said), cells in alike.items()
    ]
    # Sorting is stable: what is equally bad stays in the order of the table.
    return tuple(sorted(listed, key=lambda each: order.index(each.kind)))


def unasked(table: Table) -> tuple[Group, ...]:
    """Return the cells that were not run or are unsupported, one group for each reason."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        if cell.kind.name in ("not_run", "unsupported"):
            found[cell.kind.name, _reason(cell)].append(cell)
    groups = [
        _group(table, cells, anchor=unasked_anchor(cells[0]), kind=KINDS[outcome], title=reason)
        for (outcome, reason), cells in found.items()
    ]
    return _sorted(groups)


def unasked_anchor(cell: Cell) -> str:
    """Return the place where the reason for a cell that was not run is given."""
    return text.anchor("reason", cell.kind.name, _reason(cell))


def unanswered(table: Table) -> tuple[Group, ...]:
    """Return the checks that implementations cannot answer in cells that were judged by their other checks."""
    found: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in table.cells:
        if cell.kind.name != "unsupported":
            for check in cell.unanswered:
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
    Return the entries of the ledger that were met, each with its cells, those that are gone first.

    `counts` says of each behaviour, by its id, how many cells it covers, how many need it, and in how many it is gone.
    """
    entries: dict[str, EntryRecord] = {}
    seen: dict[str, list[Cell]] = defaultdict(list)
    gone: dict[str, list[Cell]] = defaultdict(list)
    for cell in table.cells:
        for entry in cell.divergences:
            entries.setdefault(entry.name, entry)
            seen[entry.name].append(cell)
        for entry in gone_in(cell.record):
            entries.setdefault(entry.name, entry)
            gone[entry.name].append(cell)
    places = {entry.id: where for where, entry in entries.items() if entry.id}
    for cell in table.cells:
        # A check that several behaviours explain has the entry of the first alone, and the names of all.
        for behaviour in cell.record.behaviours:
            place = places.get(behaviour, behaviour)
            entries.setdefault(place, EntryRecord(id=behaviour, where=place, why=behaviour))
            seen[place].append(cell)
    groups = [_of_entry(table, entry, seen[where], gone[where], counts) for where, entry in entries.items()]
    return tuple(sorted(groups, key=lambda group: (not group.gone, text.natural(group.facts[0][1]), group.title)))


def _of_entry(
    table: Table,
    entry: EntryRecord,
    seen: Sequence[Cell],
    gone: Sequence[Cell],
    counts: Mapping[str, Mapping[str, int]],
) -> Group:
    """Return the group of one entry of the ledger."""
    # An address that may not be followed is still shown, as text.
    link = text.link(entry.link)
    said = ("where", "why", "behaviours", *(("link",) if link else ()))
    facts = [(key, text.value(each)) for key, each in plain(entry).items() if key not in said and each]
    if (counted := counts.get(entry.id)) is not None:
        facts.append(("seen", f"in {counted['seen']:,} of the {counted['cells']:,} cells that it covers"))
        facts += [("gone", f"from {counted['gone']:,} cells")] if counted["gone"] else []
    group = _group(
        table,
        list(dict.fromkeys(seen)),
        anchor=entry_anchor(entry),
        kind=KINDS["diverges" if seen else "conforms"],
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
    """Return cells by the column they stand in."""
    found: dict[Column, list[Cell]] = {column: [] for column in table.columns}
    for cell in cells:
        found[cell.column].append(cell)
    return tuple(
        Member(column=column, cells=tuple(each), whole=len(each) == table.sizes[column])
        for column, each in found.items()
        if each
    )


def _sorted(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Return the largest groups first; their titles decide among equals."""
    return tuple(
        sorted(groups, key=lambda group: (-group.size, group.kind.name, text.natural(group.title), group.title))
    )
