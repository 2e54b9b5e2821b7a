"""
Cells of a results file, by name: the record, the case it was about, and the question that was asked.

A record holds the canonical form of its case, from which all numbers follow, so that no table is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from conformance.adapters.registry import Implementation, UnknownImplementation, select
from conformance.case import Case, Data, Expect, Layer
from conformance.instruction_set import NAMES, limited
from conformance.question import Question, question, refusal
from conformance.reproduce.symptom import NotShown, Record
from conformance.reproduce.writer import script
from conformance.results import Run, opened
from conformance.values import NoDraw

#: Near names that an error shows, at most.
_MOST_NEAR: Final = 3


class NoSuchCell(LookupError):
    """A name that is no cell of a results file, or of several; one line that says which are near."""


def reproduce(cell: str, results: Path, check: str | None = None) -> str:
    """
    Return the script for the cell of a results file, named `DEVICE/IMPLEMENTATION/CASE` or `IMPLEMENTATION/CASE`.

    Raises:
        NoSuchCell: the file has no such cell.
        NotShown: nothing of the cell fails, or the check named does not.
        ResultsError: the file cannot be read.
    """
    run = opened(results)
    record = find(cell, run)
    if check is None and isinstance(record.get("reproduce"), str):
        return str(record["reproduce"])
    selection = run.header.get("selection", {})
    if selection.get("draws", 1) > 1:
        raise NotShown(f"{cell} was asked several times, and the file does not say which of them failed")
    if "question" not in record:
        raise NotShown(f"{cell} has no record of its own: {record.get('reason', record['outcome'])}")
    limit = selection.get("cpu_isa")
    implementation = limited(_implementation(record["implementation"]), limit if limit in NAMES else None)
    try:
        case = case_of(record["question"])
        return script(record, asked(case, record["device"]), case=case, implementation=implementation, check=check)
    except NotShown:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A record somebody else wrote, or a later version: no row of a table is like it.
        raise NotShown(f"{cell} has a question that is none: {error!r}") from None


def find(cell: str, run: Run) -> Record:
    """
    Return the record of a cell.

    Raises:
        NoSuchCell: there is none of that name, or there are several.
    """
    named = {_name(each): each for each in run.cells}
    if cell in named:
        return named[cell]
    found = [each for name, each in named.items() if name.partition("/")[2] == cell]
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchCell(f"{cell} is there on several devices: {', '.join(map(_name, found))}")
    raise NoSuchCell(f"{run.path} has no cell {cell!r}{_near(cell, list(named))}")


def _near(cell: str, names: Sequence[str]) -> str:
    short = {name.partition("/")[2]: name for name in names}
    near = get_close_matches(cell, [*names, *short], n=_MOST_NEAR, cutoff=0.5)
    near = list(dict.fromkeys(short.get(each, each) for each in near))
    return f"; near: {', '.join(near)}" if near else ""


def _name(record: Record) -> str:
    return f"{record['device']}/{record['implementation']}/{record['case']}"


def _implementation(name: str) -> Implementation:
    try:
        return select([name])[0]
    except UnknownImplementation as error:
        raise NotShown(str(error)) from None


def case_of(question: Record) -> Case:
    """Return the case of a canonical form: all that decides its numbers, without words and expectations."""
    layers = zip(question["units"], question["activation"], question["use_bias"], strict=True)
    batch, data = question["batch"], question.get("data")
    return Case(
        input_shape=tuple(question["input_shape"]),
        layers=tuple(Layer(units=units, activation=name, use_bias=bias) for units, name, bias in layers),
        dtype=question["dtype"],
        batch=tuple(batch) if isinstance(batch, list) else batch,
        input_dtype=question.get("input_dtype"),
        lane=question["lane"] or "uniform",
        data=None if data is None else _data(data),
        layout=question["layout"],
        environment=tuple(question.get("environment", {}).items()),
        feed_shape=None if question["feed_shape"] is None else tuple(question["feed_shape"]),
        expect=Expect(error=question["error"]),
    )


def _data(given: Record) -> Data:
    return Data(
        x=_frozen(given["x"]),
        kernels=tuple(map(_frozen, given["kernels"])),
        biases=tuple(map(_frozen, given["biases"])),
        dy=_frozen(given["dy"]),
    )


def _frozen(value: Any) -> Any:
    """Return lists as tuples, and numbers that a results file writes as strings as numbers."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return float(value) if isinstance(value, str) else value


def asked(case: Case, device: str) -> Question | None:
    """Return the question of a case, None where no values can be drawn for it."""
    if case.expect.error:
        return refusal(case, device)
    for nonfinite in (False, True):
        try:
            return question(replace(case, expect=Expect(nonfinite=nonfinite)), device)
        except (NoDraw, NotImplementedError):
            continue
    return None
