"""Faults of whole files and of several rows: planted once each, with the place at which it must be found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conformance.table.loader import (
    Fault,
    TableError,
    lint,
    load,
)
from tests.support.tables import cases_of, faults_of, table_of


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("", "1:1", "empty file"),
        ("rows: [\n", "2:1", "not YAML"),
        (b"rows:\n  - \xff", "2:5", "not UTF-8"),
        ("rows:\n\t- a: 1\n", "2:1", "a tab"),
        ("a: &a [x]\nb: [*a, *a]\nrows: []\n", "1:4", "an anchor"),
        ("rows: !!python/object:os.system []\n", "1:7", "a tag"),
        ("rows: []\n---\nrows: []\n", "2:1", "a second document"),
        ("rows: []\n", "1:7", "rows must be a list of rows, each a mapping, not []"),
        ("rows:\n", "1:1", "rows must be a list of rows"),
        ("rows: {a: 1}\n", "1:7", "rows must be a list of rows"),
        ("rows: [1]\n", "1:8", "rows must be a list of rows, each a mapping, not 1"),
        ("description: x\n", "1:1", "rows is missing"),
        ("- a\n", "1:1", "this must be a mapping"),
        ("text\n", "1:1", "this must be a mapping"),
        ("rowz:\n  - input_shape: [3]\n    units: 4\n", "1:1", "did you mean 'rows'?"),
        (table_of("input_shape: [3]\nunits: 4", head="default: {}\n"), "2:1", "did you mean 'defaults'?"),
        (table_of("input_shape: [3]\nunits: 4", head="defaults: []\n"), "2:11", "defaults must be a mapping"),
        (table_of("input_shape: [3]\nunits: 4", head="defaults:\n"), "2:1", "empty"),
        (table_of("input_shape: [3]\nunits: 4", head="defaults: {id: x}\n"), "2:12", "id belongs to one row"),
        (
            table_of("input_shape: [3]\nunits: 4", head="defaults: {each: {batch: [1]}}\n"),
            "2:12",
            "each belongs to one",
        ),
        (
            table_of("input_shape: [3]\nunits: 4", "input_shape: [5]\nunits: 4", head="defaults: {teir: full}\n"),
            "2:12",
            "'tier'",
        ),
        (
            table_of("input_shape: [3]\nunits: 4", "input_shape: [5]\nunits: 4", head="defaults: {tier: ful}\n"),
            "2:18",
            "'full'",
        ),
        ("description: 5\nrows:\n  - {input_shape: [3], units: 4}\n", "1:14", "description must be text"),
        ("description: ''\nrows:\n  - {input_shape: [3], units: 4}\n", "1:14", "blank"),
    ],
)
def test_a_file_that_is_no_table(content: str | bytes, where: str, message: str) -> None:
    (fault,) = faults_of(content)
    assert fault.startswith(f"{where}: "), fault
    assert message in fault


def test_two_rows_with_the_same_question() -> None:
    first = "input_shape: [3]\nunits: [4]\nactivation: [relu]\nid: a\nwhy: The first.\ntier: quick"
    second = "input_shape: [3]\nunits: 4\nactivation: relu\nchecks: [output]"
    assert faults_of(table_of(first, second)) == ["9:5: has the same question as t.yaml:3"]


def test_rows_that_differ_in_one_way_are_not_duplicates() -> None:
    rows = ["units: 4", "units: 1", "units: 4\nuse_bias: false", "units: 4\nbatch: 1", "units: 4\nbatch: [1]"]
    rows += ["units: 4\nfeed_shape: [3, 1]", "units: true\nexpect: {error: true}"]
    cases = cases_of(*[f"input_shape: [1]\n{row}\nid: id{index}" for index, row in enumerate(rows)])
    assert len(cases) == 2 * len(rows) - 1


def test_two_files_with_the_same_question(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text(table_of("input_shape: [3]\nunits: 4"), encoding="utf-8")
    assert lint([Path("b.yaml"), Path("a.yaml")]) == (Fault("a.yaml", 3, 5, "has the same question as b.yaml:3"),)
    assert lint([Path("a.yaml"), Path("./a.yaml"), tmp_path / "a.yaml"]) == ()


def test_two_questions_of_one_id() -> None:
    rows = ["input_shape: [3]\nunits: 4\nid: a", "input_shape: [5]\nunits: 4\nid: a\nvalues: exact"]
    assert faults_of(table_of(*rows)) == ["6:5: the id a-exact is taken by t.yaml:3"]
    rows = ["input_shape: [3]\nunits: 4", "input_shape: [5]\nunits: 4\nid: 3-4\nvalues: exact"]
    assert faults_of(table_of(*rows)) == ["5:5: the id 3-4-exact is taken by t.yaml:3"]


def test_all_faults_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    Path("a.yaml").write_text(table_of("input_shape: [3]\nunits: -4\ntier: ful\nwhy: ''", "input_shape: [3]"), "utf-8")
    Path("b.yaml").write_text("rows: [\n", encoding="utf-8")
    Path("c.yaml").write_text(table_of("input_shape: [3]\nunits: 4\nunits: 5\nexpect: {parameters: [17]}"), "utf-8")
    with pytest.raises(TableError) as error:
        load([Path("c.yaml"), Path("missing.yaml"), Path("a.yaml"), Path("b.yaml")])
    places = [(fault.file, fault.line, fault.column) for fault in error.value.faults]
    assert places == [
        *[("a.yaml", line, column) for line, column in ((4, 12), (5, 11), (6, 10), (7, 5))],
        ("b.yaml", 2, 1),
        *[("c.yaml", line, column) for line, column in ((5, 5), (6, 27))],
        ("missing.yaml", 1, 1),
    ]
    assert str(error.value).splitlines() == list(map(str, error.value.faults))
    assert error.value.faults == lint([Path(f"{name}.yaml") for name in ("a", "b", "c", "missing")])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ("[" * 27 + "1" + "]" * 27, "the row needs [2, 2]"),
        ("[" * 60 + "1" + "]" * 60, "nested more than 32 deep"),
        ("[" + "1, " * 200_000 + "1]", "x has the shape [200001], the row needs [2, 2]"),
        ("[" + "[], " * 100_000 + "[1]]", "the lists of an array are not of one length"),
        ("1e999", None),
        ("[[.nan, -.inf], [1, 2]]", None),
        ("9" * 400, "an integer of more than"),
        ("nan", '"nan" is not a number'),
    ],
    ids=["deep", "deeper", "long", "ragged", "too large", "not finite", "digits", "word"],
)
def test_the_fault_of_a_hostile_array_is_one_short_line_after_a_short_time(array: str, message: str | None) -> None:
    started = time.process_time()
    faults = faults_of(table_of(f"input_shape: [2]\nunits: 3\ndata: {{x: {array}, kernel: 1, bias: 1}}"))
    assert time.process_time() - started < 20.0
    if message is None:
        # What is not finite is a number: whether the answer may be is for its values to show.
        assert faults == []
    else:
        (fault,) = faults
        assert message in fault
        assert len(fault) < 300
