"""
The data of the page's script: every cell in compact form, and details of as many cells as the page has room for.

Every cell has its outcome, its margin and the outcomes of its checks. Details (expected and observed values, messages,
logs, times) are given to red and diverging cells first, then to green ones, until the page is full. The page says how
many cells have no details. Each string is stored once, after `visible`. The same files make the same text.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NotRequired, TypedDict

from conformance.report import cell_details, question_details, text
from conformance.report.columns import Column
from conformance.report.groups import Group, unjudged_anchor
from conformance.report.matrix import KINDS, UNKNOWN, Cell, Kind, Row, Table
from conformance.results import CellRecord
from conformance.results.record import EntryRecord

#: The most details on one page (bytes).
DETAIL: Final = 2_400_000
#: The most details of conforming cells on one page (bytes).
GREEN: Final = 1_200_000
#: All kinds of outcome. The index of a kind is its number in the data.
ORDER: Final[tuple[Kind, ...]] = (*KINDS.values(), UNKNOWN)
_NUMBER: Final = {each: index for index, each in enumerate(ORDER)}
_LETTERS: Final = "ctvdfuxw"
_FAMILY: Final = re.compile(r"[-:/]")


class CellColumns(TypedDict):
    """What each cell has, in the order of the table."""

    #: The index of each cell's column.
    column: list[int]
    #: One letter for each cell.
    kind: str
    margin: list[float | int | str | None]
    #: The index of each cell's signature in `signatures`.
    signature: list[int]
    bits: list[int]
    #: Index of a cell -> its number among the lines of one cell; only those above 0.
    copies: dict[str, int]


class Payload(CellColumns):
    """The data of the page's script, as `assets/data.js` reads it."""

    kinds: list[list[object]]
    letters: str
    columns: list[list[str]]
    files: list[str]
    cases: list[list[object]]
    entries: list[list[str]]
    signatures: list[list[object]]
    #: Index of a cell -> its details.
    details: dict[str, list[object]]
    strings: list[str]
    history: NotRequired[dict[str, object] | None]


class Signature(NamedTuple):
    """What many cells share; each is stored once."""

    reason: str
    #: The name and the outcome of each check.
    marks: tuple[tuple[str, Kind], ...]
    #: The number of the entry of the ledger that explains each check, -1 for none.
    entries: tuple[int, ...]
    #: The number of the entry of the ledger that explains how the process ended, -1 for none.
    entry: int
    #: The address of the reason; empty for none.
    place: str


@dataclass
class Strings:
    """Every string once, by number."""

    numbers: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def __call__(self, content: str) -> int:
        """Return the number of `content` with its hidden characters made visible."""
        string = text.visible(content)
        if string not in self.numbers:
            self.numbers[string] = len(self.numbers)
            self.size += len(json.dumps(string, ensure_ascii=False).encode()) + 1
        return self.numbers[string]

    def pairs(self, content: Iterable[tuple[str, str]]) -> list[list[int]]:
        """Return pairs of strings as pairs of numbers."""
        return [[self(key), self(each)] for key, each in content]


def payload(table: Table, entries: Sequence[Group]) -> Payload:
    """Return the cells of a table and the entries of the ledger that explain them, for the page's script."""
    strings = Strings()
    entry_numbers = {group.anchor: index for index, group in enumerate(entries)}
    numbers = {column: index for index, column in enumerate(table.columns)}
    signatures: dict[Signature, int] = {}
    cells = table.cells
    return {
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
        "signature": [signatures.setdefault(_signature(cell, entry_numbers), len(signatures)) for cell in cells],
        "bits": _bits(table),
        "copies": {str(index): cell.copy for index, cell in enumerate(cells) if cell.copy},
        "entries": [[each.anchor, text.visible(each.title)] for each in entries],
        "signatures": [_signature_data(each, strings) for each in signatures],
        "details": _details(cells, strings, entry_numbers),
        # The last item, as those before it add strings.
        "strings": list(strings.numbers),
    }


def family(implementation: str) -> str:
    """Return the framework of an implementation, the first part of its name: `keras` of `keras-jax`."""
    return text.visible(_FAMILY.split(implementation, maxsplit=1)[0] or implementation)


def script_text(content: Payload) -> str:
    """Return JSON for a script element. Nothing in it can end the element or begin a comment."""
    line = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return line.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _case(row: Row, file: int, strings: Strings) -> list[object]:
    """Return id, address, file, line, number of cells, dtype, rank and questions of a case."""
    dtype, rank = "", -1
    records = _distinct_questions(row)
    for record in records:
        dtype = dtype or text.head(record.dtype, 40)
        shape = None if record.question is None else record.question.input_shape
        rank = len(shape) if shape is not None and rank < 0 else rank
    address = text.address(row.case)
    fields = [text.visible(row.case), "" if address == row.case else address, file, row.line, len(row.cells)]
    return [*fields, strings(dtype), rank, [_question(each, strings) for each in records]]


def _distinct_questions(row: Row) -> list[CellRecord]:
    """Return one record for each distinct question of a case. Nearly always there is one."""
    distinct: list[CellRecord] = []
    for cell in row.cells:
        if not any(_is_same_question(cell.record, each) for each in distinct):
            distinct.append(cell.record)
    return distinct


def _is_same_question(one: CellRecord, other: CellRecord) -> bool:
    return (one.row, one.why, one.source) == (other.row, other.why, other.source) and one.question == other.question


def _question(record: CellRecord, strings: Strings) -> list[object]:
    """Return the question in words and as a row, its reason, place and source, and whether the source is a link."""
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


def _signature(cell: Cell, entry_numbers: Mapping[str, int]) -> Signature:
    reason = place = ""
    if cell.kind is UNKNOWN:
        reason = text.head(text.value(cell.record.rest["outcome"]), 200)
    elif cell.kind.name in ("crashed", "timed_out", "not_run", "unsupported"):
        reason = text.head(cell.record.reason, 200)
    if cell.kind.name in ("not_run", "unsupported"):
        place = text.place("unjudged", at=unjudged_anchor(cell))
    summary = cell.check_summary
    entries = tuple([_entry(each, entry_numbers) for each in summary.entries])
    return Signature(reason, summary.marks, entries, _entry(cell.record.divergence, entry_numbers), place)


def _signature_data(signature: Signature, strings: Strings) -> list[object]:
    numbers = itertools.chain(signature.entries, itertools.repeat(-1))
    marks = zip(signature.marks, numbers, strict=False)
    checks = [[strings(check), _NUMBER[each], number] for (check, each), number in marks]
    return [strings(signature.reason), checks, signature.entry, strings(signature.place)]


def _entry(divergence: EntryRecord | None, entry_numbers: Mapping[str, int]) -> int:
    return -1 if divergence is None else entry_numbers.get(cell_details.entry_anchor(divergence), -1)


def _bits(table: Table) -> list[int]:
    """
    Return for each cell the number of its class of equal output bits, -1 where the file has no digest.

    Classes are numbered within a case by the order of its cells. The list is empty where no cell has a digest.
    """
    numbers: list[int] = []
    for row in table.rows:
        classes: dict[str, int] = {}
        for cell in row.cells:
            digest = cell.check_summary.digest
            numbers.append(-1 if digest is None else classes.setdefault(digest, len(classes)))
    return numbers if any(each >= 0 for each in numbers) else []


def _details(cells: Sequence[Cell], strings: Strings, entry_numbers: Mapping[str, int]) -> dict[str, list[object]]:
    """Return the details of as many cells as there is room for, by the index of the cell."""
    limit = cell_details.log_limit(cells)
    details = {}
    size = 0
    for index in _by_priority(cells):
        cell = cells[index]
        if size >= (DETAIL if cell.detailed else GREEN):
            continue
        before = strings.size
        content = _detail(cell_details.detail(cell, limit), strings, entry_numbers)
        details[str(index)] = content
        size += len(json.dumps(content, separators=(",", ":"))) + 10 + strings.size - before
    return dict(sorted(details.items(), key=lambda item: int(item[0])))


def _by_priority(cells: Sequence[Cell]) -> list[int]:
    """
    Return the indices of the cells, those first whose details matter most.

    Red cells come first: one of each way to fail, then the second of each, and so on. Diverging cells follow in the
    same order, then the others by margin, the largest first.
    """
    counts: Counter[tuple[str, Column, str]] = Counter()
    priority: dict[int, tuple[int, int, int]] = {}
    margins: dict[int, float] = {}
    for index, cell in enumerate(cells):
        if cell.detailed:
            way = (cell.kind.name, cell.column, cell_details.summary(cell)[:60])
            priority[index] = (0 if cell.kind.fails or cell.contradicts else 1, counts[way], index)
            counts[way] += 1
        else:
            margin = cell.margin
            margins[index] = margin if margin is not None and margin == margin else -1.0
    # Both sorts are stable: equal cells stay in the order of the table.
    return [*sorted(priority, key=priority.__getitem__), *sorted(margins, key=margins.__getitem__, reverse=True)]


def _detail(detail: cell_details.Detail, strings: Strings, entry_numbers: Mapping[str, int]) -> list[object]:
    checks = [
        [
            strings(check.name),
            _NUMBER[check.kind],
            strings(check.message),
            strings.pairs(check.numbers),
            strings.pairs(check.facts),
            entry_numbers.get(check.entry, -1),
        ]
        for check in detail.checks
    ]
    crash = detail.crash
    ended = (
        [strings.pairs(crash.facts), [strings(each) for each in crash.notes], strings(crash.stderr)] if crash else None
    )
    more = (strings.pairs(detail.steps), strings(detail.reproduce), strings.pairs(detail.others))
    return [strings(detail.summary), checks, ended, *more, entry_numbers.get(detail.entry, -1)]


def margins(table: Table) -> dict[tuple[str, str], list[float]]:
    """Return the margins of the conforming cells of each column and dtype, for the tables and plots of numerics."""
    margins_of: dict[tuple[str, str], list[float]] = defaultdict(list)
    labels = {column: column.label for column in table.columns}
    for cell in table.cells:
        if cell.kind.name == "conforms" and cell.margin is not None and cell.record.dtype:
            margins_of[labels[cell.column], text.head(cell.record.dtype, 40)].append(cell.margin)
    return margins_of
