"""The ledger: what entries become and cover, and every way one can be wrong planted once, with its place."""

from __future__ import annotations

import math
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.document import Fault
from conformance.environment import cpu_features
from conformance.ledger import (
    Crash,
    Entry,
    Equals,
    LedgerError,
    Margin,
    Message,
    Raises,
    lint_scope,
    load_ledger,
)

GOOD = {
    "implementations": "[keras-*]",
    "cases": '["*nobatch*"]',
    "checks": "[output]",
    "kind": "by_design",
    "observed": "{equals: null}",
    "why": "Keras takes the first axis for the batch.",
    "link": "https://github.com/keras-team/keras/issues/10736",
}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ledger_of(*entries: dict[str, str]) -> str:
    """Return a ledger of entries whose fields are given as YAML: the first field is on line 3, column 5."""
    text = "description: Known.\ndivergences:\n"
    for entry in entries:
        lines = [f"{name}: {value}".rstrip() for name, value in entry.items()]
        text += "  - " + "\n    ".join(lines) + "\n"
    return text


def entries_of(*entries: dict[str, str]) -> tuple[Entry, ...]:
    Path("known.yaml").write_text(ledger_of(*entries), encoding="utf-8")
    return load_ledger([Path("known.yaml")])


def faults_of(content: str | bytes) -> list[str]:
    Path("known.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        load_ledger([Path("known.yaml")])
    except LedgerError as error:
        return [str(fault).removeprefix("known.yaml:") for fault in error.faults]
    return []


def test_an_entry_is_read_whole() -> None:
    more = {"devices": "[gpu]", "evidence": "Seen on two machines.", "since": "'3.5'"}
    (entry,) = entries_of(GOOD | more)
    assert entry == Entry(
        implementations=("keras-*",),
        cases=("*nobatch*",),
        devices=("gpu",),
        checks=("output",),
        kind="by_design",
        observed=Equals(value=None),
        why="Keras takes the first axis for the batch.",
        link="https://github.com/keras-team/keras/issues/10736",
        evidence="Seen on two machines.",
        since="3.5",
        file="known.yaml",
        line=3,
        column=5,
    )
    assert entry.where == "known.yaml:3"
    with pytest.raises(FrozenInstanceError):
        entry.why = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (
            "{raises: {stage: build, type: ValueError, message: 'rank  1'}}",
            Raises(stage="build", type="ValueError", message="rank  1"),
        ),
        ("{equals: [[null, 4], {a: 1.5}]}", Equals(value=[[None, 4], {"a": 1.5}])),
        ("{equals: inf}", Equals(value="inf")),
        ("{margin: [1e5, 1e9]}", Margin(low=1e5, high=1e9)),
        ("{margin: [inf, inf]}", Margin(low=math.inf, high=math.inf)),
        ("{message: 'is float32'}", Message(part="is float32")),
        ("{crash: SIGABRT}", Crash(reason="SIGABRT")),
    ],
)
def test_what_may_be_observed(observed: str, expected: object) -> None:
    assert entries_of(GOOD | {"observed": observed})[0].observed == expected


def test_a_process_that_ended_answers_no_check() -> None:
    bare = {name: value for name, value in GOOD.items() if name != "checks"} | {"observed": "{crash: SIGABRT}"}
    assert entries_of(bare)[0].checks == ()
    assert entries_of(bare | {"checks": "[]"})[0].checks == ()


@pytest.mark.parametrize(
    ("implementation", "case", "device", "covered"),
    [
        ("keras-jax", "5-3-nobatch-exact", "cpu", True),
        ("keras-torch", "5-3-nobatch-error", "gpu", True),
        ("keras", "5-3-nobatch-exact", "cpu", False),
        ("tf-keras-jax", "5-3-nobatch-exact", "cpu", False),
        ("keras-jax", "5-3-exact", "cpu", False),
    ],
)
def test_an_entry_covers_what_its_globs_match_from_end_to_end(
    implementation: str, case: str, device: str, covered: bool
) -> None:
    assert entries_of(GOOD)[0].covers(implementation=implementation, case=case, device=device) is covered


def test_a_glob_of_cases_begins_where_an_id_does() -> None:
    (entry,) = entries_of(GOOD | {"cases": '["5-3-*"]'})
    assert entry.covers(implementation="keras-jax", case="5-3-exact", device="cpu")
    assert not entry.covers(implementation="keras-jax", case="15-3-exact", device="cpu")


def test_a_name_is_not_its_modes_and_devices_are_names() -> None:
    (entry,) = entries_of(GOOD | {"implementations": "[torch, 'Flax?']", "cases": "['*']", "devices": "[gpu]"})
    assert entry.covers(implementation="torch", case="a\nb", device="gpu")
    assert entry.covers(implementation="Flax2", case="a", device="gpu")
    assert not entry.covers(implementation="torch:compile", case="a", device="gpu")
    assert not entry.covers(implementation="flax2", case="a", device="gpu")
    assert not entry.covers(implementation="torch", case="a", device="cpu")


FAULTS = [
    ({"implementation": "[a]"}, "10:5", "unknown field \"implementation\"; did you mean 'implementations'?"),
    ({"implementations": "keras"}, "3:22", "implementations must be a list of globs, not"),
    ({"implementations": "[]"}, "3:22", "implementations must be a list of globs, not []"),
    ({"implementations": "[1]"}, "3:23", "implementations must be a list of globs, not 1"),
    ({"cases": "['']"}, "4:13", "blank"),
    ({"checks": "[outptu]"}, "5:14", "no such check: \"outptu\"; did you mean 'output'?"),
    (
        {"checks": "[]"},
        "5:13",
        "checks may be left out only where a build that raises or a crash is observed",
    ),
    ({"kind": "numerik"}, "6:11", "no such kind: \"numerik\"; did you mean 'numeric'?"),
    ({"kind": "5"}, "6:11", "kind must be one of by_design, bug, numeric"),
    (
        {"observed": "{}"},
        "7:15",
        "one of raises, equals, margin, message, crash, not none",
    ),
    ({"observed": "{equals: 1, crash: SIGABRT}"}, "7:15", "not equals, crash"),
    ({"observed": "{timed_out: true}"}, "7:16", 'unknown field "timed_out"'),
    ({"observed": "{crash: }"}, "7:16", "empty"),
    ({"observed": "{margin: [1.0, 10]}"}, "7:24", "margin goes from more than 1"),
    ({"observed": "{margin: [1e5, 1e4]}"}, "7:24", "margin goes from more than 1"),
    ({"observed": "{margin: [.nan, 3]}"}, "7:24", "margin goes from more than 1"),
    ({"observed": "{margin: [3]}"}, "7:24", "a list of two numbers, or inf"),
    ({"observed": "{message: ''}"}, "7:25", "message must be text, not"),
    ({"observed": "{equals: .inf}"}, "7:24", "a number that is not finite is a string in results"),
    ({"observed": "{equals: [1, [.nan]]}"}, "7:24", "a number that is not finite is a string in results"),
    ({"observed": "{raises: {stage: build, type: E}}"}, "7:24", "message is missing"),
    ({"observed": "{raises: {stage: build, type: E, mesage: a}}"}, "7:48", "did you mean 'message'?"),
    ({"observed": "{raises: {stage: build, type: E, message: ''}}"}, "7:57", "message must be text, not"),
    ({"observed": "crash"}, "7:15", "observed must be a mapping with one of raises"),
    ({"why": "' '"}, "8:10", "blank"),
    ({"why": ""}, "8:5", "why must be text, not null"),
    ({"link": "github.com/x"}, "9:11", "is not an http or https link"),
    ({"since": "3.5"}, "10:12", "since must be text, a version in quotes, not 3.5"),
    ({"evidence": "''"}, "10:15", "blank"),
    ({"devices": "gpu"}, "10:14", "devices must be a list of devices"),
    ({"devices": "[]"}, "10:14", "devices must be a list of devices"),
    ({"implementations": "['*']", "cases": "['*']"}, "4:12", "both match everything"),
    ({"implementations": "[torch, '**']", "cases": "['?*']"}, "4:12", "both match everything"),
]


@pytest.mark.parametrize(
    ("change", "where", "message"), FAULTS, ids=[f"{message[:30]} {i}" for i, (_, _, message) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_the_only_one_and_is_found_where_it_is(
    change: dict[str, str], where: str, message: str
) -> None:
    (fault,) = faults_of(ledger_of(GOOD | change))
    found, _, said = fault.partition(": ")
    assert (found, message in said) == (where, True), fault


@pytest.mark.parametrize("name", ["implementations", "cases", "kind", "observed", "why"])
def test_a_field_that_is_missing(name: str) -> None:
    entry = {key: value for key, value in GOOD.items() if key != name}
    assert faults_of(ledger_of(entry)) == [f"3:5: {name} is missing"]


def test_an_entry_without_checks_or_link() -> None:
    for name, message in (("checks", "checks may be left out"), ("link", "an entry needs a link, or else evidence")):
        (fault,) = faults_of(ledger_of({key: value for key, value in GOOD.items() if key != name}))
        assert fault.startswith(f"3:5: {message}")
    without = {key: value for key, value in GOOD.items() if key != "link"}
    assert entries_of(without | {"evidence": "Two lines of code."})[0].link is None


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("", "1:1", "empty file"),
        ("divergences:\n", "1:1", "divergences must be a list of entries"),
        ("divergences: 5\n", "1:14", "divergences must be a list of entries, each a mapping, not 5"),
        ("divergences: [5]\n", "1:15", "divergences must be a list of entries, each a mapping, not 5"),
        ("divergence: []\n", "1:1", "did you mean 'divergences'?"),
        ("divergences: []\nrows: []\n", "2:1", 'unknown field "rows"'),
        ("divergences: *a\n", "1:14", "an alias"),
        ("- a\n", "1:1", "this must be a mapping"),
    ],
)
def test_a_file_that_is_no_ledger(content: str, where: str, message: str) -> None:
    (fault,) = faults_of(content)
    assert fault.startswith(f"{where}: "), fault
    assert message in fault


def test_an_empty_ledger_is_one() -> None:
    assert faults_of("divergences: []\n") == []


def test_a_folder_holds_the_ledgers_in_it_and_all_faults_are_said_at_once(tmp_path: Path) -> None:
    Path("cases").mkdir()
    assert load_ledger([Path("cases")]) == ()
    Path("cases/rows.yaml").write_text("rows: [\n", encoding="utf-8")
    Path("cases/a.yaml").write_text(ledger_of(GOOD, GOOD | {"cases": "[x]"}), encoding="utf-8")
    assert [entry.where for entry in load_ledger([Path("cases")])] == ["cases/a.yaml:3", "cases/a.yaml:10"]
    Path("cases/a.yaml").write_text(ledger_of(GOOD | {"kind": "bag"}, GOOD | {"why": "5"}), encoding="utf-8")
    Path("cases/b.yaml").write_text("divergences: [\n", encoding="utf-8")
    with pytest.raises(LedgerError) as error:
        load_ledger([Path("missing.yaml"), Path("cases")])
    assert [(fault.file, fault.line, fault.column) for fault in error.value.faults] == [
        ("cases/a.yaml", 6, 11),
        ("cases/a.yaml", 15, 10),
        ("cases/b.yaml", 2, 1),
        ("missing.yaml", 1, 1),
    ]


CELLS = [
    ("torch", "cpu", "5-3-exact", ("output_shape", "output")),
    ("torch", "gpu", "5-3-exact", ("output_shape", "output")),
    ("keras-jax", "cpu", "5-3-nobatch-exact", ("output",)),
    ("keras-jax", "cpu", "5-minus1-error", ("refusal",)),
]


def test_entries_that_can_be_seen_to_hold_are_in_scope() -> None:
    assert lint_scope(entries_of(GOOD, GOOD | {"devices": "[cpu]"}), iter(CELLS)) == ()
    assert lint_scope((), CELLS) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implementations": "[torhc]"}, "no cell of the table and the registry matches this entry"),
        ({"cases": "['*nobatch']"}, "no cell of the table and the registry matches this entry"),
        ({"devices": "[gpu]"}, "no cell of the table and the registry matches this entry"),
        ({"implementations": "[torch]"}, "no cell of the table and the registry matches this entry"),
        ({"checks": "[output, refusal]"}, "check refusal is asked of no cell that matches this entry"),
    ],
)
def test_entries_out_of_scope_are_faults(change: dict[str, str], message: str) -> None:
    assert lint_scope(entries_of(GOOD, GOOD | change), CELLS) == (Fault("known.yaml", 10, 5, message),)


@given(
    values=st.dictionaries(st.sampled_from([*GOOD, "devices", "since"]), st.sampled_from(["", "[]", "{}", "5", "[a]"]))
)
@settings(max_examples=100, deadline=None)
def test_whatever_an_entry_holds_the_answer_is_an_entry_or_faults(values: dict[str, str]) -> None:
    for fault in faults_of(ledger_of(values or {"x": "y"})):
        line, column, message = fault.split(":", 2)
        assert int(line) >= 1
        assert int(column) >= 1
        assert message.isprintable()


@given(content=st.text().map(str.encode) | st.binary())
@settings(max_examples=100, deadline=None)
def test_whatever_a_file_holds_the_answer_is_a_fault(content: bytes) -> None:
    assert faults_of(content)


def test_excepted_cases_are_not_covered() -> None:
    (entry,) = entries_of(GOOD | {"except_cases": '["*-jax_enable_x64-1-*"]'})
    assert entry.covers(implementation="keras-jax", case="5-3-nobatch-exact", device="cpu")
    assert not entry.covers(implementation="keras-jax", case="5-3-nobatch-jax_enable_x64-1-exact", device="cpu")


@pytest.mark.parametrize(
    ("versions", "covered"),
    [
        ({"tensorflow": "2.21.0"}, True),
        ({"tensorflow": "2.22.0"}, False),
        ({"tensorflow": "2.22.0.dev20261101"}, False),
        ({"keras": "3.15.1"}, True),
        (None, True),
    ],
)
def test_an_entry_lapses_with_versions_it_is_not_about(versions: dict[str, str] | None, covered: bool) -> None:
    (entry,) = entries_of(GOOD | {"versions": '{tensorflow: "<2.22"}'})
    found = entry.covers(implementation="keras-jax", case="5-3-nobatch-exact", device="cpu", versions=versions)
    assert found is covered


@pytest.mark.parametrize(
    ("features", "covered"), [({"avx2", "avx512_bf16"}, True), ({"avx2"}, False), (set[str](), False), (None, True)]
)
def test_an_entry_lapses_on_a_processor_it_is_not_about(features: set[str] | None, covered: bool) -> None:
    (entry,) = entries_of(GOOD | {"cpu": "[avx512_bf16]"})
    found = entry.covers(implementation="keras-jax", case="5-3-nobatch-exact", device="cpu", cpu=features)
    assert found is covered


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone names features")
def test_the_features_of_this_processor_are_known() -> None:
    assert cpu_features() & {"fpu", "fp"}


def test_a_day_of_review_is_the_entrys_or_else_the_files() -> None:
    Path("known.yaml").write_text("review: 2027-05-22\n" + ledger_of(GOOD, GOOD | {"review": "2026-12-01"}))
    assert [str(each.review) for each in load_ledger([Path("known.yaml")])] == ["2027-05-22", "2026-12-01"]


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("versions", '{tensorflow: "2.22 or so"}', "\"2.22 or so\" is not a range of versions, such as '<2.22'"),
        ("cpu", "avx512_bf16", "cpu must be a list of features"),
        ("cpu", "[]", "cpu must be a list of features"),
        ("versions", "2.22", "versions must be distributions, each with a range like '<2.22', not 2.22"),
        ("review", "next year", '"next year" is not a day, such as 2027-05-22'),
        ("except_cases", "[]", "except_cases must be a list of globs, not []"),
    ],
)
def test_a_bound_that_cannot_be_read_is_one_fault(field: str, value: str, fault: str) -> None:
    (found,) = faults_of(ledger_of(GOOD | {field: value}))
    assert found.startswith("10:")
    assert fault in found
