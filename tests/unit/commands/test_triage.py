"""Drafts of ledger entries: completed they hold, and they name the entries to narrow or remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from conformance.adapters.registry import select
from conformance.checks.cell import cell_of
from conformance.commands.cli import main
from conformance.commands.triage.command import NOTHING, drafts
from conformance.commands.triage.common_fields import Facts, distinction, facts
from conformance.ledger import Behaviour, LedgerError, load_ledger
from conformance.results import FAILING, CellRecord, Run, part_of
from conformance.results.record import QuestionRecord
from conformance.run.cell_runner import Runner
from conformance.table.case import Case, Expect, Layer
from tests.support.records import cell_record, read_back

CASE = Case(input_shape=(4,), layers=(Layer(units=3),), lane="exact")
GONE = {
    "id": "adds-in-float16",
    "where": "cases/divergences/jax.yaml:5",
    "why": "Sums are float16.",
    "seen_with": {"jax": "0.10.2"},
}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(*cells: dict[str, Any] | CellRecord, **versions: str) -> Run:
    names = {cell_record(each).implementation for each in cells}
    said = [{"implementation": name, "versions": versions} for name in names]
    return read_back(Path("r.jsonl"), *cells, implementations=said)


def cell(outcome: str = "violates", case: Case = CASE, name: str = "torch", **more: Any) -> dict[str, Any]:
    named = {"case": case.id, "implementation": name, "device": "cpu", "outcome": outcome}
    return {**named, "checks": [], "question": dict(case.question), **more}


def violation(check: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "outcome": "violates", "message": "is off", **more}


def entries(text: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = yaml.safe_load(text)["divergences"]
    return content


def completed(text: str) -> Sequence[Behaviour]:
    """Return the behaviours of drafts in which a person filled in why and link."""
    filled = text.replace("why: ''", "why: It gives up.").replace("link: ''", "link: https://example.org")
    Path("ledger.yaml").write_text(filled, encoding="utf-8")
    return load_ledger([Path("ledger.yaml")])


def records_of(name: str, *cases: Case, behaviours: Sequence[Behaviour] = ()) -> list[CellRecord]:
    implementation = select([f"tests.support.faulty_adapters:{name}"])[0]
    runner = Runner(behaviours=behaviours)
    try:
        return [runner.run(cell_of(case, implementation, "cpu")) for case in cases]
    finally:
        runner.close()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["Raises", "Aborts", "Float64Output"])
def test_a_draft_is_valid_once_why_and_link_are_filled_in(name: str) -> None:
    """Completed drafts make the same cells diverge."""
    cases = (CASE, replace(CASE, input_shape=(2, 3)))
    red = records_of(name, *cases)
    assert {each.outcome for each in red} <= set(FAILING)
    behaviours = completed(drafts(written(*red)))
    assert [each.outcome for each in records_of(name, *cases, behaviours=behaviours)] == ["diverges"] * 2


def test_a_draft_with_a_blank_why_is_refused() -> None:
    Path("ledger.yaml").write_text(drafts(written(*records_of("Raises", CASE))), encoding="utf-8")
    with pytest.raises(LedgerError) as error:
        load_ledger([Path("ledger.yaml")])
    assert "blank" in str(error.value)


def test_cells_of_one_exception_are_one_draft_without_numbers() -> None:
    def raised(units: int) -> dict[str, Any]:
        message = f"expected a positive integer. Received: units={units}\nand a trace"
        return {"stage": "build", "step": "build", "type": "ValueError", "message": message, "module": "keras.x"}

    cells = [
        cell(
            name=name,
            case=replace(CASE, layers=(Layer(units=units),)),
            checks=[violation(check, raised=raised(units)) for check in ("output", "gradients")],
        )
        for name in ("keras-jax", "keras-torch")
        for units in (0, 7)
    ]
    (entry,) = entries(drafts(written(*cells, keras="3.15.1")))
    assert entry == {
        "id": "keras-jax-raises-valueerror",
        "implementations": ["keras-jax", "keras-torch"],
        "when": {"call": "build"},
        "instead": {"refuses": {"type": "ValueError", "message": ["expected a positive integer. Received: units="]}},
        "kind": "bug",
        "why": "",
        "link": "",
        "seen_with": {"keras": "3.15.1"},
    }


def test_when_has_the_fields_that_failing_cells_share_and_others_lack() -> None:
    wide = [replace(CASE, input_shape=(width,), lane="uniform") for width in (2, 3, 4)]
    red = [replace(each, dtype="float64", layers=(Layer(units=3, activation="tanh"),)) for each in wide]
    right = [*wide, *(replace(each, dtype="float64") for each in wide), replace(wide[0], layers=red[0].layers)]
    cells = [cell(case=each, checks=[violation("output", margin=7.0)]) for each in red]
    cells += [cell("conforms", each) for each in right]
    text = drafts(written(*cells))
    (entry,) = entries(text)
    assert entry["when"] == {"call": "forward", "dtype": "float64", "activation": "tanh"}
    assert entry["instead"] == {}
    assert "# Wrong values. `instead` can say: casts, computes_in, products_in" in text
    assert "# 3 cells: cpu/torch/2-3-tanh-float64-uniform" in text


@pytest.mark.parametrize(
    ("check", "instead", "comment"),
    [
        (violation("output_dtype", expected="float32", observed="float64"), {"dtypes": {"output": "float64"}}, ""),
        (
            violation("gradients", expected={"dx": "int8"}, observed={"dx": "float32"}),
            {"dtypes": {"dx": "float32"}},
            "",
        ),
        (
            violation("parameters", facts={"parameters": [{"dtype": "float64"}] * 2}),
            {"dtypes": {"parameters": "float64"}},
            "",
        ),
        (violation("parameters", facts={"parameters": [{"dtype": "float32"}]}), {}, "No field of `instead` follows"),
        (violation("output_shape", expected=[2, 3], observed=[3]), {}, "`instead` can say: shape, infers"),
        (violation("gradients", margin="inf"), {}, "`instead` can say: casts"),
    ],
)
def test_each_kind_of_finding_has_its_draft(check: dict[str, Any], instead: dict[str, Any], comment: str) -> None:
    text = drafts(written(cell(checks=[check])))
    assert entries(text)[0]["instead"] == instead
    assert comment in text


def test_a_crash_and_an_accepted_illegal_case_have_their_drafts() -> None:
    crash = {"step": "gradients", "reason": "SIGABRT", "stderr": ""}
    (entry,) = entries(drafts(written(cell("crashed", crash=crash))))
    assert (entry["when"], entry["instead"]) == ({"call": "gradient"}, {"crashes": ["SIGABRT"]})
    units = replace(CASE, layers=(Layer(units=True),), expect=Expect(error=True))
    accepted = violation("refusal", expected="refused", observed={"shape": [2, 1]})
    (entry,) = entries(drafts(written(cell(case=units, checks=[accepted]))))
    assert (entry["when"], entry["instead"]) == ({"call": "forward"}, {"accepts": "int_units"})


def test_declared_findings_get_no_draft_and_near_behaviours_are_named() -> None:
    near = [{"id": "adds", "where": "x.yaml:1"}]
    checks = [
        {"check": "output", "outcome": "diverges", "message": "is off", "margin": 3.0, "divergence": GONE},
        violation("gradients", margin=9.0, near=near),
    ]
    crash = {"step": "infer", "reason": "SIGABRT"}  # as declared, since the cell violates
    text = drafts(written(cell(checks=checks, crash=crash)))
    assert [each["id"] for each in entries(text)] == ["torch-gradients-values"]
    assert "# declared for this cell, but not what was seen: adds (x.yaml:1)" in text


def test_consequences_of_wrong_values_get_no_draft() -> None:
    values = [violation(name, margin=9.0) for name in ("output", "weights_live", "memory_layouts")]
    assert [each["id"] for each in entries(drafts(written(cell(checks=values))))] == ["torch-output-values"]
    alone = entries(drafts(written(cell(checks=values[1:2]))))
    assert [each["id"] for each in alone] == ["torch-weights-live-values"]


def test_a_cell_that_timed_out_gets_no_draft() -> None:
    crash = {"step": "output", "reason": "no answer within 60 s"}
    assert "divergences" not in drafts(written(cell("timed_out", crash=crash)))


def test_a_green_run_has_no_drafts() -> None:
    assert drafts(written(cell("conforms"))) == NOTHING


def test_triage_advises_to_remove_or_narrow_behaviours_that_are_gone() -> None:
    everywhere = drafts(written(cell("conforms", gone=[GONE]), jax="0.11.0"))
    assert everywhere.splitlines() == [
        "# Known behaviours that are gone. Narrow or remove their entries:",
        "# - adds-in-float16 (cases/divergences/jax.yaml:5): gone from 1 cell of torch",
        "#   seen with jax 0.10.2; if the new version fixes it, add to when: {versions: {jax: <0.11.0}}",
        "#   no cell needs it any more: remove the entry, or narrow it to the old versions",
    ]
    half = replace(CASE, dtype="float16")
    cells = [cell("conforms", gone=[GONE]), cell("diverges", half, behaviours=[GONE["id"]])]
    assert "#   1 cell still needs it; what these have in common: {dtype: float16}" in drafts(written(*cells))


def test_a_message_of_a_framework_is_escaped_in_a_draft() -> None:
    hostile = "\x1b[31m\u202e'\"\n- id: x\nwhy: y"
    raised = {"stage": "call", "step": "output", "type": "E: {", "message": hostile, "module": "m"}
    text = drafts(written(cell(checks=[violation("output", raised=raised, message=hostile)], name="a:\n#b")))
    assert all(each.isprintable() or each == "\n" for each in text)
    (entry,) = entries(text)
    assert entry["instead"]["refuses"]["type"] == "E: {"
    assert entry["implementations"] == ["a:\n#b"]


def test_the_command_prints_it() -> None:
    run = written(cell("conforms", gone=[GONE]))
    done = CliRunner().invoke(main, ["triage", run.path])
    assert (done.exit_code, done.output) == (0, drafts(run))


def facts_of_case(case: Case) -> Facts:
    return facts(part_of(case.question, QuestionRecord))


def test_a_distinction_has_as_few_fields_as_possible() -> None:
    one, other = facts_of_case(CASE), facts_of_case(replace(CASE, dtype="float64", batch=7))
    assert distinction([one], [other]) == {"dtype": "float32"}
    assert distinction([one], [one]) == {}
    assert distinction([one], []) == {}
    assert distinction([], [other]) == {}
    switched = facts_of_case(replace(CASE, environment=(("SWITCH", "1"),)))
    assert distinction([switched], [one]) == {"environment": {"SWITCH": "1"}}
    fed = facts_of_case(replace(CASE, batch=0))
    assert distinction([fed], [one]) == {"fed": {"samples": 0}}
