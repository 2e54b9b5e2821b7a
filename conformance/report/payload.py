"""
What the page's script is given: every cell, in few characters, and as much detail as a page can bear.

Of each cell the outcome, the margin and the outcomes of its checks are always there. Its detail (expected beside
observed, messages, logs, times) is there for red and diverging cells first, then for green ones, until the page is
full; how many are without is said on the page. Strings are held once, and every one of them has been made visible.
Everything follows from the results files, so that the same files make the same text.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.report import cell_details, question_details, text
from conformance.report.groups import Group, unasked_anchor
from conformance.report.matrix import KINDS, UNKNOWN, Cell, Kind, Row, Table
from conformance.results import CellRecord
from conformance.results.record import EntryRecord

#: Bytes of detail on one page: of all cells together, and of cells that merely conform.
DETAIL: Final = 2_400_000
GREEN: Final = 1_200_000
#: All kinds of outcome, in the order of their numbers in the data.
ORDER: Final[tuple[Kind, ...]] = (*KINDS.values(), UNKNOWN)
_NUMBER: Final = {each: index for index, each in enumerate(ORDER)}
_LETTERS: Final = "ctvdfuxw"
_FAMILY: Final = re.compile(r"[-:/]")


@dataclass
class Strings:
    """Every string once, by number."""

    numbers: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def __call__(self, content: str) -> int:
        """Return the number of `content`, as it may be shown."""
        shown = text.visible(content)
        if shown not in self.numbers:
            self.numbers[shown] = len(self.numbers)
            self.size += len(json.dumps(shown, ensure_ascii=False).encode()) + 1
        return self.numbers[shown]

    def pairs(self, content: Iterable[tuple[str, str]]) -> list[list[int]]:
        """Return pairs of strings as pairs of numbers."""
        return [[self(key), self(each)] for key, each in content]


def payload(table: Table, entries: Sequence[Group]) -> dict[str, Any]:
    """Return the table's cells for the page's script, and the entries of the ledger that know of them."""
    strings = Strings()
    known = {group.anchor: index for index, group in enumerate(entries)}
    numbers = {column: index for index, column in enumerate(table.columns)}
    signatures: dict[tuple[Any, ...], int] = {}
    cells = table.cells
    found = {
        "kinds": [[each.name, each.glyph, each.name.replace("_", " "), each.meaning, each.fails] for each in ORDER],
        "letters": _LETTERS,
        "columns": [
            [text.visible(each) for each in (column.label, column.implementation, column.device, column.source)]
            + [family(column.implementation), text.address(column.label)]
            for column in table.columns
        ],
        "files": [text.visible(file.name) for file in table.files],
        "cases": [_case(row, index, strings) for index, file in enumerate(table.files) for row in file.rows],
        "column": [numbers[cell.column] for cell in cells],
        "kind": "".join(_LETTERS[_NUMBER[cell.kind]] for cell in cells),
        "margin": [_margin(cell) for cell in cells],
        "signature": [signatures.setdefault(_signature(cell, known), len(signatures)) for cell in cells],
        "bits": _bits(table),
        "copies": {str(index): cell.copy for index, cell in enumerate(cells) if cell.copy},
        "entries": [[each.anchor, text.visible(each.title)] for each in entries],
    }
    found["signatures"] = [_written(each, strings) for each in signatures]
    found["details"] = _details(cells, strings, known)
    found["strings"] = list(strings.numbers)
    return found


def family(implementation: str) -> str:
    """Return the framework of an implementation, which is what its name begins with: `keras` of `keras-jax`."""
    return text.visible(_FAMILY.split(implementation, maxsplit=1)[0] or implementation)


def script_text(content: Mapping[str, Any]) -> str:
    """Return JSON that can stand inside a script element: nothing in it can end the element or begin a comment."""
    said = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return said.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _case(row: Row, file: int, strings: Strings) -> list[Any]:
    """Return id, address, file, line, number of cells, dtype, rank and the ways in which the files ask it."""
    dtype, rank = "", -1
    ways = _ways(row)
    for record in ways:
        dtype = dtype or text.head(record.dtype, 40)
        shape = None if record.question is None else record.question.input_shape
        rank = len(shape) if shape is not None and rank < 0 else rank
    address = text.address(row.case)
    counted = [text.visible(row.case), "" if address == row.case else address, file, row.line, len(row.cells)]
    return [*counted, strings(dtype), rank, [_way(each, strings) for each in ways]]


def _ways(row: Row) -> list[CellRecord]:
    """Return one record for each way in which the files ask a case: nearly always one."""
    found: list[CellRecord] = []
    for cell in row.cells:
        if not any(_asks_alike(cell.record, each) for each in found):
            found.append(cell.record)
    return found


def _asks_alike(one: CellRecord, other: CellRecord) -> bool:
    return (one.row, one.why, one.source) == (other.row, other.why, other.source) and one.question == other.question


def _way(record: CellRecord, strings: Strings) -> list[Any]:
    """Return question, row for a file, why, place and source, and whether the source is a link."""
    source = record.source or ""
    return [
        [strings(each) for each in question_details.words(record.question)],
        [strings(each) for each in question_details.yaml(record.question)],
        *(strings(text.value(each)) for each in (record.why, record.row, source)),
        1 if text.link(source) else 0,
    ]


def _margin(cell: Cell) -> float | int | str | None:
    margin = cell.margin
    if margin is None:
        return None
    # As in results files, what is not finite is a string.
    if not abs(margin) < float("inf"):
        return repr(margin)
    return int(margin) if margin == int(margin) and abs(margin) < 2**53 else margin


def _signature(cell: Cell, known: Mapping[str, int]) -> tuple[Any, ...]:
    """Return what many cells have in common: a reason, the outcomes of checks, entries that know of them, a place."""
    reason = place = ""
    if cell.kind is UNKNOWN:
        reason = text.head(text.value(cell.record.rest["outcome"]), 200)
    elif cell.kind.name in ("crashed", "timed_out", "not_run", "unsupported"):
        reason = text.head(cell.record.reason, 200)
    if cell.kind.name in ("not_run", "unsupported"):
        place = text.place("unasked", at=unasked_anchor(cell))
    entries = tuple([_entry(each, known) for each in cell.seen.entries])
    return reason, cell.seen.marks, entries, _entry(cell.record.divergence, known), place


def _written(signature: tuple[Any, ...], strings: Strings) -> list[Any]:
    reason, marks, entries, entry, place = signature
    known = itertools.chain(entries, itertools.repeat(-1))
    checks = [[strings(check), _NUMBER[each], number] for (check, each), number in zip(marks, known, strict=False)]
    return [strings(reason), checks, entry, strings(place)]


def _entry(divergence: EntryRecord | None, known: Mapping[str, int]) -> int:
    return -1 if divergence is None else known.get(cell_details.entry_anchor(divergence), -1)


def _bits(table: Table) -> list[int]:
    """
    Return for each cell which of its case's classes of equal output bits it is in, -1 where the file does not say.

    Classes are numbered within a case by the order of its cells; nothing is returned where no cell says anything.
    """
    found: list[int] = []
    for row in table.rows:
        classes: dict[str, int] = {}
        for cell in row.cells:
            digest = cell.seen.digest
            found.append(-1 if digest is None else classes.setdefault(digest, len(classes)))
    return found if any(each >= 0 for each in found) else []


def _details(cells: Sequence[Cell], strings: Strings, known: Mapping[str, int]) -> dict[str, Any]:
    """Return the details of as many cells as there is room for, by the cell's number."""
    limit = cell_details.log_limit(cells)
    found = {}
    spent = 0
    for index in _by_need(cells):
        cell = cells[index]
        if spent >= (DETAIL if cell.detailed else GREEN):
            continue
        before = strings.size
        said = _detail(cell_details.detail(cell, limit), strings, known)
        found[str(index)] = said
        spent += len(json.dumps(said, separators=(",", ":"))) + 10 + strings.size - before
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def _by_need(cells: Sequence[Cell]) -> list[int]:
    """
    Return the cells' numbers, those first of which one most needs to read.

    Red ones first, and of these one of each way to fail before the next of any; then diverging ones in the same way,
    then the others by their margin.
    """
    seen: Counter[tuple[Any, ...]] = Counter()
    need: dict[int, tuple[Any, ...]] = {}
    margins: dict[int, float] = {}
    for index, cell in enumerate(cells):
        if cell.detailed:
            way = (cell.kind.name, cell.column, cell_details.summary(cell)[:60])
            need[index] = (0 if cell.kind.fails or cell.contradicts else 1, seen[way], index)
            seen[way] += 1
        else:
            margin = cell.margin
            margins[index] = margin if margin is not None and margin == margin else -1.0
    # Both sorts are stable: what is equal stays in the order of the table.
    return [*sorted(need, key=need.__getitem__), *sorted(margins, key=margins.__getitem__, reverse=True)]


def _detail(said: cell_details.Detail, strings: Strings, known: Mapping[str, int]) -> list[Any]:
    checks = [
        [
            strings(check.name),
            _NUMBER[check.kind],
            strings(check.message),
            strings.pairs(check.found),
            strings.pairs(check.facts),
            known.get(check.entry, -1),
        ]
        for check in said.checks
    ]
    crash = said.crash
    ended = (
        [strings.pairs(crash.facts), [strings(each) for each in crash.notes], strings(crash.stderr)] if crash else None
    )
    more = (strings.pairs(said.steps), strings(said.reproduce), strings.pairs(said.others))
    return [strings(said.summary), checks, ended, *more, known.get(said.entry, -1)]


def margins(table: Table) -> dict[tuple[str, str], list[float]]:
    """Return the margins of the conforming cells of each column and dtype, for the tables and plots of numerics."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    labels = {column: column.label for column in table.columns}
    for cell in table.cells:
        if cell.kind.name == "conforms" and cell.margin is not None and cell.record.dtype:
            found[labels[cell.column], text.head(cell.record.dtype, 40)].append(cell.margin)
    return found
