"""The ledger's files: what entries become and cover, and every way one can be wrong planted once, with its place."""

from __future__ import annotations

import ast
import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.adapters import protocol
from conformance.ledger import Behaviour, Instead, LedgerError, Refusal, load_ledger
from conformance.ledger.behaviour import Documentation, Exactly, of_implementation
from conformance.ledger.distributions import DISTRIBUTIONS
from conformance.ledger.predicate import Predicate
from conformance.reference import Deviation
from conformance.table.yaml_document import Fault
from tests.support.deviations import deviation
from tests.support.ledgers import GOOD, behaviours_of, ledger_of


def faults_of(content: str | bytes) -> list[str]:
    Path("known.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        load_ledger([Path("known.yaml")])
    except LedgerError as error:
        return [str(fault).removeprefix("known.yaml:") for fault in error.faults]
    return []


def test_an_entry_is_read_whole() -> None:
    more = {
        "evidence": "Seen on two machines.",
        "seen_with": '{keras: "3.15.1"}',
        "sometimes": "processor",
        "isolates": "true",
    }
    (behaviour,) = behaviours_of(GOOD | more)
    assert behaviour == Behaviour(
        id="keras-float64-products",
        implementations=("keras-*",),
        when=Predicate(step={"dtype": "float64"}, layers={"use_bias": True}),
        instead=Instead(deviation=Deviation(products_in="float32")),
        documentation=Documentation(
            kind="bug",
            why="Keras computes products of float64 operands in float32.",
            link="https://github.com/keras-team/keras/issues/23704",
            evidence="Seen on two machines.",
            seen_with={"keras": "3.15.1"},
        ),
        sometimes="processor",
        isolates=True,
        file="known.yaml",
        line=3,
        column=5,
    )
    assert behaviour.where == "known.yaml:3"
    with pytest.raises(FrozenInstanceError):
        behaviour.id = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        (
            "{refuses: {type: ValueError, message: ['rank  1', found]}}",
            Instead(refuses=Refusal(type="ValueError", message=("rank  1", "found"))),
        ),
        (
            "{refuses: {type: E, message: [a], by_adapter: true}}",
            Instead(refuses=Refusal(type="E", message=("a",), by_adapter=True)),
        ),
        ("{crashes: [SIGABRT, SIGSEGV]}", Instead(crashes=("SIGABRT", "SIGSEGV"))),
        ("{casts: {x: float32}}", Instead(deviation=Deviation(casts={"x": "float32"}))),
        ("{loses_bias: true}", Instead(deviation=Deviation(loses_bias=True))),
        ("{sums_in: {db: float16}}", Instead(deviation=Deviation(sums_in={"db": "float16"}))),
        ("{rounds_toward_zero: [output]}", Instead(deviation=Deviation(rounds_toward_zero=frozenset({"output"})))),
        ("{functions_in: own}", Instead(deviation=deviation(functions_in="own"))),
        ("{error: {absolute: 2}}", Instead(deviation=deviation(error={"absolute": 2.0}))),
        (
            "{computes_in: float32, dtypes: {output: float32}}",
            Instead(deviation=Deviation(computes_in="float32"), dtypes={"output": "float32"}),
        ),
        ("{shape: fed}", Instead(shape="fed")),
        ("{infers: reversed_positions}", Instead(infers="reversed_positions")),
        ("{undefined: [dx, dW]}", Instead(undefined=frozenset({"dx", "dW"}))),
        (
            "{exactly: {case: 4-3-exact, step: output, elements: {'0,2': 1.5}}}",
            Instead(exactly=Exactly(case="4-3-exact", step="output", elements={(0, 2): 1.5})),
        ),
    ],
)
def test_what_a_step_may_do_instead(instead: str, expected: Instead) -> None:
    assert behaviours_of(GOOD | {"instead": instead})[0].instead == expected


@pytest.mark.parametrize(
    ("instead", "widens", "ends"),
    [
        ("{sums_in: {db: float16}}", True, False),
        ("{error: {relative: 4}}", True, False),
        ("{sums_in: {db: float16}, dtypes: {weights: float16}}", False, False),
        ("{products_in: float32}", False, False),
        ("{loses_bias: true}", False, False),
        ("{refuses: {type: E, message: [a]}}", False, True),
        ("{crashes: [SIGABRT]}", False, True),
    ],
)
def test_what_leaves_room_for_the_right_answer_and_what_for_none(instead: str, widens: bool, ends: bool) -> None:
    (behaviour,) = behaviours_of(GOOD | {"instead": instead})
    assert (behaviour.instead.widens_only, behaviour.instead.ends) == (widens, ends)


def test_a_behaviour_is_one_of_the_implementations_that_its_globs_match_from_end_to_end() -> None:
    own, other = behaviours_of(GOOD, GOOD | {"id": "other", "implementations": "[torch, 'Flax?']"})
    names = {"keras-jax": (own,), "keras": (), "tf-keras-jax": (), "torch": (other,), "torch:compile": ()}
    names |= {"Flax2": (other,), "flax2": ()}
    assert {name: of_implementation((own, other), name) for name in names} == names


@pytest.mark.parametrize(
    ("type_name", "message", "raised"),
    [
        ("ValueError", "min_ndim=2,\nfound ndim=1", True),
        ("ValueError", "found ndim=1, min_ndim=2", False),
        ("ValueError", "min_ndim=2", False),
        ("TypeError", "min_ndim=2, found ndim=1", False),
    ],
)
def test_a_refusal_is_known_by_its_type_and_the_parts_of_its_message_in_order(
    type_name: str, message: str, raised: bool
) -> None:
    refusal = Refusal(type="ValueError", message=("min_ndim=", "ndim=1"))
    assert refusal.is_raised(type_name, message) is raised


def test_a_part_of_a_message_is_text_and_no_pattern() -> None:
    refusal = Refusal(type="ValueError", message=("(2, 3)", "a.b?"))
    assert refusal.is_raised("ValueError", "of (2, 3): a.b?")
    assert not refusal.is_raised("ValueError", "of 2, 3: axb")


WAY = "3:5"
FAULTS = [
    ({"implementation": "[a]"}, "10:5", "unknown field \"implementation\"; did you mean 'implementations'?"),
    ({"cases": "['*']"}, "10:5", 'unknown field "cases"'),
    ({"id": "Keras"}, "3:9", "id must be small letters, digits, - and ."),
    ({"id": ""}, WAY, "id must be small letters"),
    ({"implementations": "keras"}, "4:22", "implementations must be a list of globs, not"),
    ({"implementations": "[]"}, "4:22", "implementations must be a list of globs, not []"),
    ({"implementations": "['']"}, "4:23", "blank"),
    ({"implementations": "['*', a, '?*']"}, None, ""),
    ({"implementations": "['*', '**']"}, "4:22", "implementations match everything"),
    ({"when": "float64"}, "5:11", "when must be a mapping"),
    ({"when": "{dtpye: float64}"}, "5:12", "did you mean 'dtype'?"),
    ({"when": "{dtype: float63}"}, "5:19", 'no such dtype: "float63"'),
    ({"when": "{dtype: {not: float63}}"}, "5:19", 'no such dtype: "float63"'),
    ({"when": "{call: [forward, backward]}"}, "5:18", 'no such call: "backward"'),
    ({"when": "{activation: rleu}"}, "5:24", "no such activation"),
    ({"when": "{units: {more: 3}}"}, "5:19", "a mapping has min, max, odd, not"),
    ({"when": "{units: {min: many}}"}, "5:19", "min is a number"),
    ({"when": "{units: {odd: 1}}"}, "5:19", "odd is true or false"),
    ({"when": "{units: []}"}, "5:19", "an empty list matches nothing"),
    ({"when": "{fed: {smaples: 0}}"}, "5:18", "did you mean 'samples'?"),
    ({"when": "{fed: {layout: sideways}}"}, "5:26", "no such layout"),
    ({"when": "{input_shape: [3]}"}, "5:25", "input_shape must be a mapping of rank, last, positions"),
    ({"when": "{versions: {keras: '3.15 or so'}}"}, "5:30", "is not a range of versions, such as '<2.22'"),
    ({"when": "{versions: 3}"}, "5:22", "versions must be distributions"),
    ({"instead": "{}"}, "6:14", "instead is empty: say what these steps do"),
    ({"instead": "slower"}, "6:14", "instead must be a mapping"),
    ({"instead": "{margin: [1, 2]}"}, "6:15", 'unknown field "margin"'),
    ({"instead": "{computes_in: float8}"}, "6:28", 'no such dtype: "float8"'),
    ({"instead": "{casts: {weights: float32}}"}, "6:32", "no such operand"),
    ({"instead": "{sums_in: {output: 16}}"}, "6:33", "sums_in must be results with dtypes"),
    ({"instead": "{loses_bias: false}"}, "6:27", "loses_bias must be true"),
    ({"instead": "{crashes: [SIGKILL]}"}, "6:25", "crashes must be a list of signals"),
    ({"instead": "{crashes: []}"}, "6:24", "crashes must be a list of signals"),
    ({"instead": "{refuses: {type: E}}"}, "6:24", "message is missing"),
    ({"instead": "{refuses: {type: E, mesage: [a]}}"}, "6:34", "did you mean 'message'?"),
    ({"instead": "{refuses: {type: E, message: []}}"}, "6:43", "message must be a list of texts"),
    ({"instead": "{refuses: {type: E, message: ['']}}"}, "6:44", "message must be a list of texts"),
    ({"instead": "{accepts: broadcast}"}, "5:11", "only a call can accept an input: write call: forward"),
    ({"instead": "{accepts: all}"}, "6:24", 'no such way of accepting: "all"'),
    ({"instead": "{formula: fast}"}, "6:24", 'no such formula: "fast"'),
    (
        {"when": "{activation: relu}", "instead": "{formula: exp_overflows}"},
        "6:14",
        "relu does not have the formula exp_overflows",
    ),
    (
        {"when": "{activation: relu}", "instead": "{constants: {slope: 2}}"},
        "6:14",
        "relu has none of the constants slope",
    ),
    (
        {"when": "{activation: gelu}", "instead": "{constants: {root: 1, slope: 2}}"},
        "6:14",
        "no activation of this entry has a constant slope",
    ),
    ({"instead": "{dtypes: {outputs: float32}}"}, "6:33", "no such result"),
    ({"instead": "{undefined: [y]}"}, "6:27", "no such result"),
    ({"instead": "{error: {absolute: 0}}"}, "6:33", "absolute must be a number more than 0"),
    ({"instead": "{exactly: {case: a, step: b}}"}, "6:24", "elements is missing"),
    ({"kind": "numerik"}, "7:11", "no such kind: \"numerik\"; did you mean 'numeric'?"),
    ({"kind": "5"}, "7:11", "kind must be one of by_design, bug, numeric"),
    ({"why": "' '"}, "8:10", "blank"),
    ({"why": ""}, "8:5", "why must be text, not null"),
    ({"link": "github.com/x"}, "9:11", "is not an http or https link"),
    ({"link": "''"}, "9:11", "is not an http or https link"),
    ({"evidence": "''"}, "10:15", "blank"),
    ({"seen_with": "{keras: 3.15}"}, "10:24", "distributions with versions in quotes"),
    ({"sometimes": "''"}, "10:16", "blank"),
    ({"isolates": "false"}, "10:15", "isolates must be true"),
]


@pytest.mark.parametrize(
    ("change", "where", "message"), FAULTS, ids=[f"{message[:30]} {i}" for i, (_, _, message) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_the_only_one_and_is_found_where_it_is(
    change: dict[str, str], where: str | None, message: str
) -> None:
    faults = faults_of(ledger_of(GOOD | change))
    if where is None:
        assert faults == []
        return
    (fault,) = faults
    found, _, said = fault.partition(": ")
    assert (found, message in said) == (where, True), fault


@pytest.mark.parametrize("name", ["id", "implementations", "instead", "kind", "why"])
def test_a_field_that_is_missing(name: str) -> None:
    entry = {key: value for key, value in GOOD.items() if key != name}
    assert faults_of(ledger_of(entry)) == [f"3:5: {name} is missing"]


def test_an_entry_needs_a_link_or_evidence() -> None:
    without = {key: value for key, value in GOOD.items() if key != "link"}
    assert faults_of(ledger_of(without)) == ["3:5: an entry needs a link, or else evidence"]
    assert behaviours_of(without | {"evidence": "Two lines of code."})[0].documentation.link is None


def test_two_entries_of_one_id_are_a_fault_that_names_the_other_place() -> None:
    Path("first.yaml").write_text(ledger_of(GOOD), encoding="utf-8")
    Path("second.yaml").write_text(ledger_of(GOOD | {"id": "other"}, GOOD), encoding="utf-8")
    with pytest.raises(LedgerError) as error:
        load_ledger([Path("first.yaml"), Path("second.yaml")])
    said = "the id keras-float64-products is taken by first.yaml:3"
    assert error.value.faults == (Fault("second.yaml", 10, 9, said),)


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("", "1:1", "empty file"),
        ("divergences:\n", "1:1", "divergences must be a list of entries"),
        ("divergences: 5\n", "1:14", "divergences must be a list of entries, each a mapping, not 5"),
        ("divergences: [5]\n", "1:15", "divergences must be a list of entries, each a mapping, not 5"),
        ("divergence: []\n", "1:1", "did you mean 'divergences'?"),
        ("divergences: []\nrows: []\n", "2:1", 'unknown field "rows"'),
        ("divergences: []\nreview: 2027-05-22\n", "2:1", 'unknown field "review"'),
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


def test_a_folder_has_its_ledgers_and_all_faults_are_reported_at_once() -> None:
    Path("cases/divergences").mkdir(parents=True)
    assert load_ledger([Path("cases")]) == ()
    Path("cases/rows.yaml").write_text("rows: [\n", encoding="utf-8")
    Path("cases/a.yaml").write_text(ledger_of(GOOD), encoding="utf-8")
    Path("cases/divergences/b.yaml").write_text(ledger_of(GOOD | {"id": "other"}), encoding="utf-8")
    found = load_ledger([Path("cases")])
    assert [each.where for each in found] == ["cases/a.yaml:3", "cases/divergences/b.yaml:3"]
    Path("cases/a.yaml").write_text(ledger_of(GOOD | {"kind": "bag"}), encoding="utf-8")
    Path("cases/divergences/b.yaml").write_text("divergences: [\n", encoding="utf-8")
    with pytest.raises(LedgerError) as error:
        load_ledger([Path("missing.yaml"), Path("cases")])
    assert [(fault.file, fault.line, fault.column) for fault in error.value.faults] == [
        ("cases/a.yaml", 7, 11),
        ("cases/divergences/b.yaml", 2, 1),
        ("missing.yaml", 1, 1),
    ]


@given(
    values=st.dictionaries(
        st.sampled_from([*GOOD, "seen_with", "sometimes"]), st.sampled_from(["", "[]", "{}", "5", "[a]", "{a: {b: 1}}"])
    )
)
@settings(max_examples=100, deadline=None)
def test_any_entry_gives_an_entry_or_faults(values: dict[str, str]) -> None:
    for fault in faults_of(ledger_of(values or {"x": "y"})):
        line, column, message = fault.split(":", 2)
        assert int(line) >= 1
        assert int(column) >= 1
        assert message.isprintable()


@given(content=st.text().map(str.encode) | st.binary())
@settings(max_examples=100, deadline=None)
def test_any_other_file_gives_a_fault(content: bytes) -> None:
    assert faults_of(content)


@pytest.mark.parametrize(
    ("change", "place"),
    [({"seen_with": '{tensorlow: "2.21.0"}'}, "seen_with"), ({"when": '{versions: {tensorlow: "<2"}}'}, "when")],
)
def test_a_distribution_that_nobody_reports_is_a_fault(change: dict[str, str], place: str) -> None:
    """A version that no implementation reports is never another one, and one that is wanted is never refused."""
    (fault,) = faults_of(ledger_of(GOOD | change))
    assert fault.endswith("no such distribution: \"tensorlow\"; did you mean 'tensorflow'?")
    assert not faults_of(ledger_of(GOOD | {name: text.replace("tensorlow", "clang") for name, text in change.items()}))


def test_every_distribution_that_an_adapter_names_may_stand_in_an_entry() -> None:
    """Read from the sources of the adapters, whose frameworks are not all installed everywhere."""
    parts: list[ast.AST] = []
    for path in Path(protocol.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "versions":
                parts.append(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                is_named = target.lower().endswith("distributions")
                parts += (node.value.values if isinstance(node.value, ast.Dict) else [node.value]) if is_named else []
    texts = [each.value for part in parts for each in ast.walk(part) if isinstance(each, ast.Constant)]
    named = {each for each in texts if isinstance(each, str) and re.fullmatch("[a-z][a-z0-9_-]+", each)}
    assert {"torch", "clang", "jaxlib", "ai-edge-litert", "onnxscript", "openvino"} <= named
    assert named <= set(DISTRIBUTIONS)
