"""The types of records name all fields of a run; fields of another version are read and written again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance.adapters.registry import select
from conformance.checks.cell import Cell
from conformance.results import plain, read
from conformance.results.codec import encode, record_of
from conformance.results.record import Part
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.table.case import Case, Layer

HEADER: dict[str, Any] = {"type": "header", "schema": 1, "cells": 3}
FOOTER: dict[str, Any] = {"type": "footer", "counts": {"conforms": 1}, "complete": True}
#: A cell of another version: fields that no type names, in every part of it.
LATER: dict[str, Any] = {
    "type": "cell",
    "case": "a",
    "implementation": "torch",
    "device": "cpu",
    "outcome": "violates",
    "seconds": 0.5,
    "checks": [{"check": "output", "outcome": "violates", "raised": {"type": "E", "message": "m", "x": 1}, "x": [2]}],
    "crash": {"reason": "SIGABRT", "stderr": "", "notes": [], "x": {"y": 3}},
    "question": {"dtype": "float8", "batch": None, "rest": 4},
    "gone": [{"id": "adds", "x": 5}],
    "rest": {"case": 6},
    "": 7,
}


def test_fields_of_another_version_are_read_and_written_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    lines = [HEADER | {"later": {"a": 1}}, LATER, FOOTER | {"seconds": 1.0, "later": None}]
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines), encoding="utf-8")
    run = read(file)
    (cell,) = run.cells
    assert cell.rest == {"rest": {"case": 6}, "": 7}
    assert cell.checks[0].rest == {"x": [2]}
    assert run.footer is not None
    again = [plain(run.header), plain(cell), plain(run.footer)]
    assert again[0].pop("selection") == {"draws": 1, "cpu_isa": None}
    assert again == lines


def test_a_field_that_does_not_fit_its_type_stays_in_rest(tmp_path: Path) -> None:
    """A page shows any record. An unknown outcome fails."""
    odd = {"type": "cell", "case": 3, "outcome": "excels", "checks": [7, {"check": "output", "margin": "large"}]}
    file = tmp_path / "results.jsonl"
    file.write_text(f"{json.dumps(HEADER)}\n{json.dumps(odd)}\n", encoding="utf-8")
    (cell,) = read(file, strict=False).cells
    assert (cell.case, cell.device, cell.outcome) == ("3", "", "violates")
    assert cell.rest == {"case": 3, "outcome": "excels"}
    (check,) = cell.checks
    assert (check.margin, check.outcome, check.rest) == (None, "violates", {"margin": "large", "outcome": None})
    assert plain(cell)["outcome"] == "excels"


def test_the_types_name_every_field_that_a_run_writes() -> None:
    """A field without a name in the types is one of another version."""
    runner = Runner(processes=ProcessOptions(in_process=True))
    for name in ("Exact", "DropsBias", "Raises"):
        (implementation,) = select([f"tests.support.faulty_adapters:{name}"])
        for lane in ("exact", "uniform"):
            case = Case(input_shape=(2, 4), layers=(Layer(units=3),), lane=lane)
            record = runner.run(Cell(case=case, implementation=implementation, device="cpu"))
            assert not list(unnamed(record)), f"{name}, {lane}"
            assert record_of(encode(record).encode()) == record
    runner.close()


def unnamed(part: object) -> Iterator[str]:
    """Yield the fields of a record and of its parts that their types do not name."""
    for each in part if isinstance(part, list) else [part]:
        if isinstance(each, Part):
            yield from each.rest
            for name in each.__struct_fields__:
                yield from unnamed(getattr(each, name))
