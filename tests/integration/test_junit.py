"""A JUnit file says of every cell what the results file says: the same verdict, its reason, outcome and margin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.command_process import run_module
from tests.support.paths import ROOT
from tests.support.runs import environment

ROWS = """\
rows:
  - {input_shape: [4], units: 3, values: exact, implementations: ["tests.*"]}
  - {input_shape: [2, 4], units: 3, values: exact, implementations: ["tests.*"], needs: arm}
  - {input_shape: [5], units: 3, values: exact, implementations: [numpy], checks: [parameters]}
  - {input_shape: [16], units: 8, batch: 4, input_dtype: bool, implementations: [torch]}
"""
IMPLEMENTATIONS = (
    "tests.support.faulty_adapters:Exact",
    "tests.support.faulty_adapters:DropsBias",
    "tests.support.faulty_adapters:NaNOutput",
    "numpy",
    "torch",
)


def ran(tmp_path: Path, *words: str, implementations: tuple[str, ...]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return by cell what the JUnit file and the results file of a run say of it; `words` is the command."""
    (tmp_path / "rows.yaml").write_text(ROWS, encoding="utf-8")
    chosen = [f"--implementation={each}" for each in implementations]
    written = f"--junit-xml={tmp_path / 'junit.xml'}"
    done = run_module(*words, *chosen, written, cwd=ROOT, environment=environment())
    assert done.returncode == 1, done.stdout + done.stderr
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    records = [each for each in map(json.loads, lines) if each["type"] == "cell"]
    cases = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    by_name = {str(each.get("name")): each for each in cases}
    named = {f"{each['device']}/{each['implementation']}/{each['case']}": each for each in records}
    assert set(by_name) == {f"test_dense[{name}]" for name in named}
    return {name: (by_name[f"test_dense[{name}]"], record) for name, record in named.items()}


def verdict(case: Any) -> tuple[str, str]:
    """Return what became of a test case in JUnit's words, and what is said about it."""
    for each in case:
        if each.tag in ("failure", "error", "skipped"):
            kind = "xfail" if each.get("type") == "pytest.xfail" else each.tag
            return kind, f"{each.get('message')}\n{each.text}"
    return "passed", ""


KINDS = {
    "conforms": "passed",
    "diverges": "xfail",
    "violates": "failure",
    "crashed": "failure",
    "unsupported": "skipped",
    "not_run": "skipped",
}


def check_testcase(case: Any, record: dict[str, Any]) -> None:
    """Hold one test case to the record of its cell."""
    kind, said = verdict(case)
    assert kind == KINDS[record["outcome"]], (record["case"], said)
    if record["outcome"] in ("unsupported", "not_run"):
        assert record["reason"] in said
    for check in record["checks"]:
        if check["outcome"] not in ("conforms", "unsupported"):
            assert check["check"] in said
            assert check["message"].splitlines()[0][:60] in said
    if record["outcome"] == "diverges":
        assert next(each["divergence"]["why"] for each in record["checks"] if "divergence" in each) in said
    told = {each.get("name"): each.get("value") for each in case.iter("property")}
    for name in ("outcome", "implementation", "case", "device"):
        assert told[name] == record[name]
    margins = [float(each["margin"]) for each in record["checks"] if "margin" in each]
    assert ("margin" in told) == bool(margins)
    assert not margins or float(told["margin"]) == max(margins)


def test_conformance_run_writes_every_outcome_as_junit_knows_it(tmp_path: Path) -> None:
    words = ("conformance", "run", str(tmp_path / "rows.yaml"), "-n", "0", "-o", str(tmp_path))
    found = ran(tmp_path, *words, implementations=IMPLEMENTATIONS)
    for case, record in found.values():
        check_testcase(case, record)
    outcomes = {record["outcome"] for _, record in found.values()}
    assert outcomes == {"conforms", "diverges", "violates", "unsupported", "not_run"}


def test_pytest_with_workers_writes_the_same(tmp_path: Path) -> None:
    words = ("pytest", "tests/test_dense.py", "-p", "no:cacheprovider", "-n", "2", f"--cases={tmp_path / 'rows.yaml'}")
    found = ran(tmp_path, *words, f"--results={tmp_path / 'results.jsonl'}", implementations=IMPLEMENTATIONS[:3])
    assert len(found) == 6
    for case, record in found.values():
        check_testcase(case, record)


def test_a_verdict_that_differs_from_the_record_is_found() -> None:
    """Plant a pass where the record violates: what holds the two to one another must not be blind."""
    record: dict[str, Any] = {"outcome": "violates", "case": "c", "implementation": "i", "device": "cpu", "checks": []}
    properties = "".join(f'<property name="{name}" value="{record[name]}"/>' for name in record if name != "checks")
    passed = ElementTree.fromstring(f'<testcase name="t"><properties>{properties}</properties></testcase>')
    with pytest.raises(AssertionError):
        check_testcase(passed, record)
    failed = ElementTree.fromstring(
        f'<testcase name="t"><properties>{properties}</properties><failure message="m"/></testcase>'
    )
    check_testcase(failed, record)
    with pytest.raises(AssertionError):
        check_testcase(failed, {**record, "checks": [{"check": "output", "outcome": "conforms", "margin": 0.5}]})
