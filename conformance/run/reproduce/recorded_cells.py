"""
Cells of a results file by name: the record, its case and its question.

A record holds the canonical form of its case. All numbers follow from it, so that no table is needed. The form is
validated like a row of the table, because a results file is untrusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import msgspec

from conformance.adapters.registry import Implementation, RegistryError, select
from conformance.checks import references
from conformance.checks.question import Question
from conformance.checks.state import StateIndependent
from conformance.reference.lanes.draws import NoDraw
from conformance.results import CellRecord, Run, part_of, plain, read
from conformance.results.record import CellName, QuestionRecord
from conformance.run.instruction_set import NAMES, with_limit
from conformance.run.reproduce.row import row_fields
from conformance.run.reproduce.symptom import NotReproducible
from conformance.run.reproduce.writer import script
from conformance.table.case import Case, Expect
from conformance.table.loader import TableError, read_rows

#: The most similar names that an error lists.
_MOST_SIMILAR: Final = 3
#: The most draws to try for the one at which a cell failed.
_MOST_DRAWS: Final = 100


class NoSuchCell(LookupError):
    """A results file has no cell of a name, or several; the message is one line with similar names."""


def reproduce(cell: str, results: Path, check: str | None = None) -> str:
    """
    Return the script for the cell of a results file, named `DEVICE/IMPLEMENTATION/CASE` or `IMPLEMENTATION/CASE`.

    It is written anew from the question, because a script in the file is untrusted. Of several draws, the one whose
    script equals the script in the file is the one at which the cell failed.

    Raises:
        NoSuchCell: the file has no such cell.
        NotReproducible: no check of the cell fails, or the given one does not.
        ResultsError: the file cannot be read.
    """
    run = read(results)
    record = find(cell, run)
    draws, limit = min(run.header.selection.draws, _MOST_DRAWS), run.header.selection.cpu_isa
    if record.question is None:
        raise NotReproducible(f"{cell} was not run: {record.reason or record.outcome}")
    implementation = with_limit(_implementation(record.implementation), limit if limit in NAMES else None)
    try:
        case = case_of(record.question)
        checks = tuple(each.check for each in record.checks)
        # Only a row that names this check has its steps.
        if StateIndependent.name in checks:
            case = replace(case, checks=checks)
        for index in range(draws):
            question = question_of(case, _device(record), index)
            text = script(record, question, case=case, implementation=implementation, check=check)
            if draws == 1 or (check is None and text == record.reproduce):
                return text
    except NotReproducible:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The record is of another program or of a later version: no row of a table is like it.
        fault = str(error.faults[0].message) if isinstance(error, TableError) else repr(error)
        raise NotReproducible(f"the question of {cell} is invalid: {fault}") from None
    raise NotReproducible(f"{cell} has {draws} draws, and the file does not say which of them failed")


def find(cell: str, run: Run) -> CellRecord:
    """
    Return the record of a cell.

    Raises:
        NoSuchCell: there is none of that name, or there are several.
    """
    records = {each.cell: each for each in run.cells}
    matching = [name for name in records if cell in (str(name), name.without_device)]
    if len(matching) == 1:
        return records[matching[0]]
    if matching:
        raise NoSuchCell(f"{cell} ran on several devices; name one of: {', '.join(map(str, matching))}")
    raise NoSuchCell(f"{run.path} has no cell {cell!r}{_similar(cell, list(records))}")


def _similar(cell: str, names: Sequence[CellName]) -> str:
    names_by_text = {name.without_device: str(name) for name in names} | {str(name): str(name) for name in names}
    similar = get_close_matches(cell, names_by_text, n=_MOST_SIMILAR, cutoff=0.5)
    similar = list(dict.fromkeys(names_by_text[each] for each in similar))
    return f"; similar: {', '.join(similar)}" if similar else ""


def _implementation(name: str) -> Implementation:
    try:
        return select([name])[0]
    except RegistryError as error:
        raise NotReproducible(str(error)) from None


def _device(record: CellRecord) -> str:
    if record.device not in ("cpu", "gpu"):
        raise ValueError(f"unknown device {record.device!r}")
    return record.device


def case_of(question: QuestionRecord) -> Case:
    """
    Return the case of a canonical form: everything that its numbers follow from, without texts and expectations.

    Raises:
        TableError: it is not valid as a row of a table.
        ValueError: the row for it has another canonical form.
    """
    row = row_fields(plain(_with_numbers(question)))
    if question.lane == "special":
        row["expect"] = {"nonfinite": True}
    (case,) = read_rows([row], "question").cases
    if part_of(case.question, QuestionRecord) != question:
        raise ValueError("the row for it has another canonical form")
    return case


def question_of(case: Case, device: str, index: int = 0) -> Question | None:
    """Return the question of a case at one of its draws, None if no values can be drawn for it."""
    if case.expect.error:
        return references.question(case, device)
    for nonfinite in (False, True):
        with suppress(NoDraw, NotImplementedError):
            return references.question(replace(case, expect=Expect(nonfinite=nonfinite)), device, index)
    return None


def _with_numbers(question: QuestionRecord) -> QuestionRecord:
    """Return a question whose data holds numbers where a results file has strings such as "inf"."""
    if question.data is None:
        return question
    return msgspec.structs.replace(question, data={name: _parsed(values) for name, values in question.data.items()})


def _parsed(value: object) -> object:
    if isinstance(value, list):
        return [_parsed(each) for each in value]
    return float(value) if isinstance(value, str) else value
