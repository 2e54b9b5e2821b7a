"""A results file is read back as it was written, even if it was cut. Faults name file and line."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.results import FAILING, NO_RESULTS, OUTCOMES, ResultsError, Run, Writer, finite, read
from conformance.results.record import CellRecord, FooterRecord, HeaderRecord, ImplementationRecord
from tests.support.records import cell_record

HEADER = '{"type": "header", "schema": 1, "cells": 3}'
CELL = '{"type": "cell", "case": "a", "implementation": "torch", "device": "cpu", "outcome": "conforms", "checks": []}'
FOOTER = '{"type": "footer", "counts": {"conforms": 1}, "complete": true}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def a_cell(outcome: str = "conforms", **more: Any) -> CellRecord:
    return cell_record({"outcome": outcome, **more})


def written(outcomes: list[str], complete: bool = True, cells: int | None = None) -> str:
    stream = io.StringIO()
    writer = Writer(stream)
    writer.header(HeaderRecord(started="2026-01-02T03:04:05Z", cells=len(outcomes) if cells is None else cells))
    writer.implementation(ImplementationRecord(implementation="torch", versions={"torch": "2.13.0"}))
    for outcome in outcomes:
        writer.cell(a_cell(outcome))
    writer.footer(complete=complete, seconds=1.5)
    return stream.getvalue()


def test_a_written_file_is_read_back(file: Path) -> None:
    file.write_text(written(["conforms", "violates"]), encoding="utf-8")
    assert read(file) == Run(
        path=str(file),
        header=HeaderRecord(started="2026-01-02T03:04:05Z", cells=2),
        implementations=(ImplementationRecord(implementation="torch", versions={"torch": "2.13.0"}),),
        cells=(a_cell("conforms"), a_cell("violates")),
        footer=FooterRecord(
            counts={**dict.fromkeys(OUTCOMES, 0), "conforms": 1, "violates": 1}, complete=True, seconds=1.5
        ),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)  # a busy machine is no fault
@given(JSON)
def test_any_content_survives_on_one_line(content: Any) -> None:
    stream = io.StringIO()
    Writer(stream).cell(a_cell(observed=content))
    line, rest = stream.getvalue().split("\n", 1)
    assert rest == ""
    assert json.loads(line, parse_constant=_no_constant)["observed"] == finite(content)


def _no_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@settings(deadline=None)  # a busy machine is no fault
@given(JSON)
def test_finite_changes_nothing_the_second_time(content: Any) -> None:
    once = finite(content)
    assert finite(once) == once
    assert not [each for each in _leaves(once) if isinstance(each, float) and not math.isfinite(each)]


def _leaves(content: Any) -> Iterator[Any]:
    if isinstance(content, dict | list):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _leaves(each)
    else:
        yield content


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        ((1.5, math.nan, [math.inf]), [1.5, "nan", ["inf"]]),
        ({"margin": math.inf, 3: 0.1}, {"margin": "inf", "3": 0.1}),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (0.1 + 0.2, 0.30000000000000004),
        (2**70, 2**70),
        (True, True),
    ],
)
def test_numbers_that_are_not_finite_are_strings_and_all_others_are_exact(
    file: Path, number: object, stored: object
) -> None:
    with file.open("w", encoding="utf-8") as stream:
        writer = Writer(stream)
        writer.header(HeaderRecord(cells=1))
        writer.cell(a_cell(observed=number))
    observed = read(file).cells[0].rest["observed"]
    assert observed == stored
    assert repr(observed) == repr(stored)


def test_the_footer_names_every_outcome_and_adds_up_to_the_cells(file: Path) -> None:
    file.write_text(written([*OUTCOMES, "conforms", "conforms"]), encoding="utf-8")
    run = read(file)
    assert run.footer is not None
    assert list(run.footer.counts) == list(OUTCOMES)
    assert run.footer.counts == run.counts == {**dict.fromkeys(OUTCOMES, 1), "conforms": 3}
    assert sum(run.counts.values()) == run.header.cells == 9


def test_cells_without_a_line_count_as_not_run(file: Path) -> None:
    file.write_text(written(["conforms", "crashed"], complete=False, cells=10), encoding="utf-8")
    run = read(file)
    assert run.counts == {**dict.fromkeys(OUTCOMES, 0), "conforms": 1, "crashed": 1, "not_run": 8}
    assert sum(run.counts.values()) == run.header.cells


def test_more_lines_than_announced_are_all_counted(file: Path) -> None:
    file.write_text(written(["conforms", "not_run"], cells=1), encoding="utf-8")
    assert read(file).counts == {**dict.fromkeys(OUTCOMES, 0), "conforms": 1, "not_run": 1}


def test_every_failing_outcome_is_an_outcome_and_the_worst_come_first() -> None:
    assert OUTCOMES[: len(FAILING)] == FAILING


def test_every_line_is_flushed_before_the_next(file: Path) -> None:
    with file.open("w", encoding="utf-8") as stream:
        writer = Writer(stream)
        for number in range(3):
            writer.header(HeaderRecord(cells=3)) if number == 0 else writer.cell(a_cell())
            assert file.read_text(encoding="utf-8").count("\n") == number + 1
        run = read(file)
    assert len(run.cells) == 2
    assert run.footer is None
    assert not run.complete


@pytest.mark.parametrize("complete", [True, False])
def test_a_run_is_complete_only_with_a_complete_footer(file: Path, complete: bool) -> None:
    file.write_text(written(["conforms"], complete=complete), encoding="utf-8")
    assert read(file).complete is complete


def test_a_file_cut_at_any_byte_reads_as_far_as_its_last_whole_line(file: Path) -> None:
    whole = written(["conforms", "violates", "not_run"]).encode()
    header = whole.index(b"\n")
    for end in range(header, len(whole)):
        file.write_bytes(whole[:end])
        run = read(file)
        lines = whole[:end].count(b"\n") + (whole[end : end + 1] == b"\n")
        assert 1 + len(run.implementations) + len(run.cells) + (run.footer is not None) == lines
        assert run.complete == (lines == 6)
        assert sum(run.counts.values()) == 3


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_blank_lines_and_the_newlines_of_other_systems_are_read(file: Path, newline: str) -> None:
    file.write_bytes(newline.join([HEADER, "", CELL, "  ", FOOTER, ""]).encode())
    run = read(file)
    assert len(run.cells) == 1
    assert run.complete


def test_separators_of_lines_inside_a_string_do_not_end_a_line(file: Path) -> None:
    with file.open("w", encoding="utf-8") as stream:
        writer = Writer(stream)
        writer.header(HeaderRecord(cells=1))
        writer.cell(a_cell(reason="\u2028\u2029\x85\r\n\x0b\x0c\x1c"))
    assert read(file).cells[0].reason == "\u2028\u2029\x85\r\n\x0b\x0c\x1c"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([], f":1: {NO_RESULTS}"),
        ([CELL], f":1: {NO_RESULTS}"),
        (["{"], f":1: {NO_RESULTS}"),
        (["{", CELL], f":1: {NO_RESULTS}"),
        ([HEADER, "", "not json", CELL], ":3: not JSON"),
        ([HEADER, CELL[:-1], CELL], ":2: not JSON"),
        ([HEADER, CELL + CELL, FOOTER], ":2: not JSON"),
        ([HEADER, "[]"], ":2: not a record of a results file"),
        ([HEADER, "null", CELL], ":2: not a record of a results file"),
        ([HEADER, '{"type": "sell"}'], ":2: not a record of a results file"),
        ([HEADER, '{"case": "a"}'], ":2: not a record of a results file"),
        ([HEADER, '{"type": ["cell"]}'], ":2: not a record of a results file"),
        (['{"type": "header", "schema": 2}', CELL], ":1: schema 2, but this version reads schema 1"),
        (['{"type": "header"}'], ":1: no schema, but this version reads schema 1"),
        ([HEADER, '{"type": "cell"}'], ":2: not a record of a results file: Object missing required field `case`"),
        ([HEADER, CELL.replace('"cpu"', "1")], ":2: not a record of a results file: device: Expected `str`, got `int`"),
        (
            [HEADER, CELL.replace("[]", "{}")],
            ":2: not a record of a results file: checks: Expected `array`, got `object`",
        ),
        (
            [HEADER, CELL.replace("[]", "[{}]")],
            ":2: not a record of a results file: checks[0]: Object missing required field `check`",
        ),
        (
            [HEADER, CELL.replace("[]", "[1]")],
            ":2: not a record of a results file: checks[0]: Expected `object`, got `int`",
        ),
        *(
            ([HEADER, CELL.replace("[]", f"[], {more}")], f":2: not a record of a results file: {fault}")
            for more, fault in (
                ('"question": true', "question: Expected `object | null`, got `bool`"),
                ('"crash": "SIGABRT"', "crash: Expected `object | null`, got `str`"),
                ('"crash": {"step": "output"}', "crash: Object missing required field `reason`"),
                ('"row": 3', "row: Expected `str`, got `int`"),
                ('"seconds": "long"', "seconds: Expected `float`, got `str`"),
            )
        ),
        *(
            (
                [HEADER, CELL.replace("[]", f'[{{"check": "output", "outcome": "violates", {more}}}]')],
                f":2: not a record of a results file: {fault}",
            )
            for more, fault in (
                ('"margin": "large"', "checks[0].margin: Invalid enum value 'large'"),
                ('"margin": true', "checks[0].margin: Expected `float | str | null`, got `bool`"),
                (f'"margin": {10**400}', "checks[0].margin: Number out of range"),
                ('"message": null', "checks[0].message: Expected `str`, got `null`"),
                ('"raised": {"message": "m"}', "checks[0].raised: Object missing required field `type`"),
                ('"raised": []', "checks[0].raised: Expected `object | null`, got `array`"),
            )
        ),
        (
            ['{"type": "header", "schema": 2, "cells": "n"}', '{"type": "new"}'],
            ":1: schema 2, but this version reads schema 1",
        ),
        (
            [HEADER, '{"type": "implementation"}'],
            ":2: not a record of a results file: Object missing required field `implementation`",
        ),
        ([HEADER.replace("3", '"3"')], ":1: not a record of a results file: cells: Expected `int`, got `str`"),
        ([HEADER.replace("3", "-3")], ":1: not a record of a results file: cells: Expected `int` >= 0"),
        ([HEADER, HEADER], ":2: a second header: a results file is of one run"),
        ([HEADER, FOOTER, CELL], ":3: a line after the footer: a results file is of one run"),
        ([HEADER, f'{{"type": "footer", "facts": {"[" * 70}{"]" * 70}}}', CELL], ":2: nested more than 64 deep"),
        (
            [HEADER, CELL.replace("conforms", "excels")],
            ":2: not a record of a results file: outcome: Invalid enum value 'excels'",
        ),
    ],
)
def test_a_fault_of_a_file_is_reported_with_file_and_line(file: Path, lines: list[str], fault: str) -> None:
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ResultsError) as error:
        read(file)
    assert str(error.value) == f"{file}{fault}"


def test_half_a_surrogate_pair_becomes_the_replacement_character(file: Path) -> None:
    """Earlier versions wrote the escape of the half itself; a whole pair, and a backslash before `ud800`, stay."""
    with file.open("w", encoding="utf-8") as stream:
        writer = Writer(stream)
        writer.header(HeaderRecord(cells=2))
        writer.cell(a_cell(reason="\ud800"))
        stream.write(CELL[:-1] + r', "reason": "\udfff \\ud800 \ud83d\ude00"}' + "\n")
    assert [each.reason for each in read(file).cells] == ["\ufffd", "\ufffd \\ud800 \U0001f600"]


def test_a_missing_or_binary_file_is_reported_with_its_name(file: Path) -> None:
    with pytest.raises(ResultsError, match="No such file or directory") as error:
        read(file)
    assert str(error.value).startswith(f"{file}: ")
    file.write_bytes(HEADER.encode() + b"\n\xff\n" + CELL.encode() + b"\n")
    with pytest.raises(ResultsError, match=":2: not UTF-8") as error:
        read(file)
    assert str(error.value).startswith(f"{file}:2: ")
