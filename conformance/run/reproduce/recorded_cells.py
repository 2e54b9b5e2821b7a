"""
Cells of a results file, by name: the record, the case it was about, and the question that was asked.

A record holds the canonical form of its case, from which all numbers follow, so that no table is needed. The form is
read as a row of the table is, with all that is refused there: a file may be anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from conformance.adapters.registry import Implementation, RegistryError, select
from conformance.checks.question import Question
from conformance.checks.references import question
from conformance.reference.lanes.draws import NoDraw
from conformance.results import CellRecord, Run, part_of, plain, read
from conformance.results.record import CellName, QuestionRecord
from conformance.run.instruction_set import NAMES, with_limit
from conformance.run.reproduce.row import row_fields
from conformance.run.reproduce.symptom import NotShown
from conformance.run.reproduce.writer import script
from conformance.table.case import Case, Expect
from conformance.table.loader import TableError, read_rows

#: Near names that an error shows, at most.
_MOST_NEAR: Final = 3
#: Draws that are looked through for the one that a cell failed at.
_MOST_DRAWS: Final = 100


class NoSuchCell(LookupError):
    """A name that is no cell of a results file, or of several; one line that says which are near."""


def reproduce(cell: str, results: Path, check: str | None = None) -> str:
    """
    Return the script for the cell of a results file, named `DEVICE/IMPLEMENTATION/CASE` or `IMPLEMENTATION/CASE`.

    It is written anew from the question. A script that the file holds may be anybody's, and says no more than which of
    several draws the cell failed at: the one whose script is the same.

    Raises:
        NoSuchCell: the file has no such cell.
        NotShown: nothing of the cell fails, or the check named does not.
        ResultsError: the file cannot be read.
    """
    run = read(results)
    record = find(cell, run)
    draws, limit = min(run.header.selection.draws, _MOST_DRAWS), run.header.selection.cpu_isa
    if record.question is None:
        raise NotShown(f"{cell} has no record of its own: {record.reason or record.outcome}")
    implementation = with_limit(_implementation(record.implementation), limit if limit in NAMES else None)
    try:
        case = case_of(record.question)
        for index in range(draws):
            posed = asked(case, _device(record), index)
            text = script(record, posed, case=case, implementation=implementation, check=check)
            if draws == 1 or (check is None and text == record.reproduce):
                return text
    except NotShown:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A record somebody else wrote, or a later version: no row of a table is like it.
        said = str(error.faults[0].message) if isinstance(error, TableError) else repr(error)
        raise NotShown(f"{cell} has a question that is none: {said}") from None
    raise NotShown(f"{cell} was asked several times, and the file does not say which of them failed")


def find(cell: str, run: Run) -> CellRecord:
    """
    Return the record of a cell.

    Raises:
        NoSuchCell: there is none of that name, or there are several.
    """
    named = {each.cell: each for each in run.cells}
    found = [name for name in named if cell in (str(name), name.without_device)]
    if len(found) == 1:
        return named[found[0]]
    if found:
        raise NoSuchCell(f"{cell} is there on several devices: {', '.join(map(str, found))}")
    raise NoSuchCell(f"{run.path} has no cell {cell!r}{_near(cell, list(named))}")


def _near(cell: str, names: Sequence[CellName]) -> str:
    spelled = {name.without_device: str(name) for name in names} | {str(name): str(name) for name in names}
    near = get_close_matches(cell, spelled, n=_MOST_NEAR, cutoff=0.5)
    near = list(dict.fromkeys(spelled[each] for each in near))
    return f"; near: {', '.join(near)}" if near else ""


def _implementation(name: str) -> Implementation:
    try:
        return select([name])[0]
    except RegistryError as error:
        raise NotShown(str(error)) from None


def _device(record: CellRecord) -> str:
    if record.device not in ("cpu", "gpu"):
        raise ValueError(f"no device is named {record.device!r}")
    return record.device


def case_of(question: QuestionRecord) -> Case:
    """
    Return the case of a canonical form: all that decides its numbers, without words and expectations.

    Raises:
        TableError: no row of a table asks it.
        ValueError: the row that asks it asks something else as well.
    """
    row = row_fields(plain(_with_numbers(question)))
    if question.lane == "special":
        row["expect"] = {"nonfinite": True}
    (case,) = read_rows([row], "question").cases
    if part_of(case.question, QuestionRecord) != question:
        raise ValueError("a row that asks it has another canonical form")
    return case


def asked(case: Case, device: str, index: int = 0) -> Question | None:
    """Return what is asked of a case at one of its draws, None where no values can be drawn for it."""
    if case.expect.error:
        return question(case, device)
    for nonfinite in (False, True):
        with suppress(NoDraw, NotImplementedError):
            return question(replace(case, expect=Expect(nonfinite=nonfinite)), device, index)
    return None


def _with_numbers(question: QuestionRecord) -> QuestionRecord:
    """Return a question with the numbers of its data that a results file writes as strings as numbers."""
    if question.data is None:
        return question
    return msgspec.structs.replace(question, data={name: _parsed(values) for name, values in question.data.items()})


def _parsed(value: Any) -> Any:
    if isinstance(value, list):
        return [_parsed(each) for each in value]
    return float(value) if isinstance(value, str) else value
