"""The end of a run says what is wrong, in full and once, and what to type next; and how far it is, on the way."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.results import CellRecord
from conformance.run import progress
from conformance.run.progress import Progress
from conformance.run.summary import IN_FULL, NAMED, summarise
from conformance.run.tally import Tally
from tests.support.paths import ROOT
from tests.support.records import cell_record

QUESTION = {
    "input_shape": [784, 1],
    "units": [4, 10],
    "activation": ["linear", "softmax"],
    "use_bias": [True, False],
    "dtype": "float32",
    "batch": 2,
    "lane": "uniform",
    "layout": "strided",
    "feed_shape": None,
    "environment": {"JAX_ENABLE_X64": "1"},
}
WRONG = {
    "check": "output",
    "outcome": "violates",
    "message": "output[1, 2] = 3.0, expected 1.0",
    "where": "output",
    "worst": [1, 2],
    "got": 3.0,
    "exact": 1.0,
    "allowed": 0.5,
    "margin": 4.0,
    "line": "proven",
}


def cell(case: str = "c", outcome: str = "violates", name: str = "torch", **content: Any) -> CellRecord:
    checks = [WRONG] if outcome == "violates" else []
    record = {"case": case, "implementation": name, "device": "cpu", "outcome": outcome, "checks": checks}
    return cell_record({**record, "seconds": 0.5, "row": "cases/a.yaml:4", "question": QUESTION, **content})


def text(*records: CellRecord, results: str | None = "out/r.jsonl") -> str:
    return "\n".join(line for line, _ in summarise(Tally(records), results=results))


def test_a_violation_is_printed_with_question_expected_observed_worst_element_and_line() -> None:
    said = text(cell(why="It was so."))
    for words in (
        "violates: cpu/torch/c  (cases/a.yaml:4)",
        "samples of shape (784, 1), batch 2; Dense(4), Dense(10, softmax, no bias); float32",
        "environment {'JAX_ENABLE_X64': '1'}; layout strided; values uniform",
        "output[1, 2] = 3.0, expected 1.0",
        "worst element output[1, 2]: expected 1.0, observed 3.0",
        "allowed error 0.5, by the line proven; the error is 4 times as large",
        "It was so.",
    ):
        assert words in said


def test_shapes_are_printed_as_expected_and_observed() -> None:
    shape = {"check": "output_shape", "outcome": "violates", "message": "m", "expected": [[None, 4]], "observed": [[2]]}
    assert "expected [[None, 4]], observed [[2]]" in text(cell(checks=[shape]))


def test_each_implementation_is_printed_before_one_is_printed_again_and_the_rest_is_counted() -> None:
    records = [cell(f"c{number}") for number in range(20)] + [cell("d", name="haiku")]
    said = text(*records)
    assert [line for line in said.splitlines() if line.startswith("violates: ")][:2] == [
        "violates: cpu/torch/c0  (cases/a.yaml:4)",
        "violates: cpu/haiku/d  (cases/a.yaml:4)",
    ]
    assert said.count("worst element") == IN_FULL
    assert f"and {21 - IN_FULL - NAMED} more red cells" in said


def test_consequences_of_a_crash_or_an_exception_are_printed_once() -> None:
    reached = {"check": "gradients", "outcome": "violates", "message": "never reached", "unreached": True}
    crash = {"step": "output", "reason": "SIGABRT", "stderr": "\n".join(f"line {n}" for n in range(50))}
    said = text(cell(outcome="crashed", checks=[reached], crash=crash, reason="output: SIGABRT"))
    assert "never reached" not in said
    assert "output: SIGABRT" in said
    assert "line 49" in said
    assert "line 4 " not in said
    raised = [{"check": each, "outcome": "violates", "message": "no evidence: E"} for each in ("output", "gradients")]
    assert text(cell(checks=raised)).count("no evidence: E") == 1


KNOWN = {
    "id": "adds-in-float16",
    "where": "cases/divergences/jax.yaml:5",
    "why": "Sums are float16.",
    "seen_with": {"jax": "0.10.2"},
}


def news(*records: CellRecord, **more: Any) -> list[str]:
    """Return the lines of a summary that say what is new."""
    lines = [line for line, _ in summarise(Tally(records), results=None, **more)]
    return [each for each in lines if each.startswith(("new: ", "gone: ", "without power: ", "not needed: "))]


def test_new_failures_and_gone_behaviours_are_separate_lines() -> None:
    names: dict[str, Any] = {"covered": [KNOWN["id"]]}
    gone = cell(outcome="conforms", name="flax-nnx", gone=[KNOWN], **names)
    assert news(cell(outcome="conforms")) == []
    assert news(cell()) == ["new: 1 cell is red, neither as the rule says nor as declared"]
    assert news(cell(), cell("d"), gone, versions={"flax-nnx": {"jax": "0.11.0", "numpy": "2"}}) == [
        "new: 2 cells are red, neither as the rule says nor as declared",
        "gone: 1 known behaviour is gone with jax 0.11.0: adds-in-float16 (cases/divergences/jax.yaml:5)",
    ]
    # Of versions that are those it was seen with nothing is said.
    same = news(gone, versions={"flax-nnx": {"jax": "0.10.2"}})
    assert same == ["gone: 1 known behaviour is gone: adds-in-float16 (cases/divergences/jax.yaml:5)"]
    said = "\n".join(line for line, _ in summarise(Tally([gone]), results="r.jsonl"))
    assert "which entries to narrow or remove: conformance triage r.jsonl" in said


@pytest.mark.parametrize(("strict", "style"), [(False, "yellow"), (True, "bold red")])
def test_a_gone_behaviour_is_red_if_it_fails_the_run(strict: bool, style: str) -> None:
    lines = dict(summarise(Tally([cell(outcome="conforms", gone=[KNOWN])]), results=None, strict=strict))
    assert [each for line, each in lines.items() if line.startswith("gone: ")] == [style]


def test_cells_without_power_and_behaviours_that_nothing_needs_are_counted() -> None:
    names: dict[str, Any] = {"covered": ["seen", "never"]}
    seen = [cell(str(number), "diverges", behaviours=["seen"], powerless=True, **names) for number in range(2)]
    assert news(*seen, cell(outcome="conforms", covered=["never"])) == [
        "without power: 2 of the diverging cells rest on bounds as wide as the answer",
        "not needed: without 1 behaviour nothing fails here: never (0 of 3 cells)",
    ]
    many = [cell(outcome="conforms", covered=[f"b{number}" for number in range(9)])]
    assert news(*many)[0].endswith("b5 (0 of 1 cell) and 3 more")


def test_a_new_check_is_printed_in_full_and_a_known_one_in_a_line_after_it() -> None:
    known = {**WRONG, "outcome": "diverges", "message": "is as declared", "divergence": KNOWN}
    near = [{"id": "other", "where": "x.yaml:1"}]
    new = {**WRONG, "check": "gradients", "where": "dx", "near": near, "under": "dx is off by 2"}
    said = text(cell(checks=[known, new, {**new, "check": "weights_live", "message": "and so is this"}]))
    assert said.index("worst element dx[1, 2]") < said.index("as declared           output: adds-in-float16")
    assert "is as declared" not in said
    beside = "declared for this cell, but not what was seen: other (x.yaml:1); with it applied: dx is off by 2"
    assert said.count(beside) == 1
    assert said.count("worst element") == 1


def test_the_next_commands_are_valid_in_a_shell() -> None:
    said = text(cell("a'b"), results="my runs/r.jsonl")
    assert """conformance reproduce 'cpu/torch/a'"'"'b' 'my runs/r.jsonl'""" in said
    assert "conformance triage 'my runs/r.jsonl'" in said
    green = text(cell(outcome="conforms"))
    assert "reproduce" not in green
    assert "triage" not in green
    assert "conformance report out/r.jsonl" in green
    assert "reproduce" not in text(cell(), results=None)


def test_text_of_a_framework_has_no_control_characters() -> None:
    hostile = "\x1b[31mred\x07\u202etxet\x00\nsecond line" + "x" * 10**6
    said = text(cell(checks=[{**WRONG, "message": hostile}], why=hostile, crash={"stderr": hostile}))
    assert not set("\x1b\x07\u202e\x00") & set(said)
    assert max(map(len, said.splitlines())) < 500


@pytest.mark.parametrize(("outcome", "style"), [("violates", "red"), ("conforms", "green"), ("not_run", "yellow")])
def test_a_row_of_the_table_has_the_colour_of_its_worst_outcome(outcome: str, style: str) -> None:
    lines = dict(summarise(Tally([cell(outcome="conforms"), cell("d", outcome)]), results=None))
    assert [each for line, each in lines.items() if line.startswith("cpu/torch ")] == [style]


def test_without_a_terminal_a_run_prints_ten_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr("conformance.run.progress.time.monotonic", lambda: float(next(clock)))
    written = io.StringIO()
    shown = Progress(written, lambda: 1000, live=False)
    for number in range(1000):
        shown.take("violates" if number == 0 else "conforms")
    lines = written.getvalue().splitlines()
    assert len(lines) == progress.PARTS
    assert re.fullmatch(r"100 of 1000 cells, 1 red, about \d+ (s|min) left", lines[0])
    assert "left" not in lines[-1]


ROWS = "rows:\n  - {input_shape: [4], units: 3, values: exact}\n"
COMMAND = [
    sys.executable,
    "-m",
    "conformance",
    "run",
    "-i",
    "tests.support.faulty_adapters:Exact",
    "-i",
    "tests.support.faulty_adapters:DropsBias",
]


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "NO_COLOR"))}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "120", **variables}


@pytest.mark.integration
@pytest.mark.parametrize("workers", ["0", "2"])
def test_piped_a_run_is_plain_text_without_dots(tmp_path: Path, workers: str) -> None:
    (tmp_path / "rows.yaml").write_text(ROWS, encoding="utf-8")
    command = [*COMMAND, str(tmp_path / "rows.yaml"), "-o", str(tmp_path / "out"), "-n", workers]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert re.search(r"^2 of 2 cells, 1 red, \d+ s$", done.stdout, re.MULTILINE)
    assert "allowed error 0.0, by the line exact" in done.stdout
    assert "conformance reproduce cpu/tests.support.faulty_adapters:DropsBias/4-3-exact" in done.stdout
    assert "page: " in done.stdout
    assert not re.search(r"^[.F]+$", done.stdout, re.MULTILINE), "pytest's letters"
    assert "= FAILURES =" not in done.stdout, "the summary shows what failed"


@pytest.mark.integration
@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_sees_a_bar_and_colour_unless_it_wants_none(tmp_path: Path, no_colour: bool) -> None:
    (tmp_path / "rows.yaml").write_text(ROWS, encoding="utf-8")
    command = [*COMMAND, str(tmp_path / "rows.yaml"), "-o", str(tmp_path / "out"), "-n", "0"]
    ours, theirs = pty.openpty()
    written = b""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(**({"NO_COLOR": "1"} if no_colour else {})), stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # what the end of a terminal is on Linux
                break
            if not chunk:
                break
            written += chunk
        assert process.wait(timeout=120) == 1, written.decode()
    os.close(ours)
    said = written.decode()
    assert ("\x1b[" in said) is not no_colour, said
    assert ("━" in said) is not no_colour
    assert "1 red" in said
    assert "cpu/tests.support.faulty_adapters:DropsBias/4-3-exact" in said
