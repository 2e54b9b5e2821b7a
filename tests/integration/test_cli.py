"""The command `conformance`, from the checkout and from a wheel in an empty environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.commands.lint import inspection
from conformance.commands.triage.command import drafts
from conformance.reference.lanes.draws import NoDraw
from conformance.results import read
from conformance.table.case import Case
from tests.support.paths import ROOT
from tests.support.runs import conformance

ROW = "rows:\n  - {input_shape: [4], units: 3}\n"


def run_on(tmp_path: Path, implementation: str, row: str = ROW, *options: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "rows.yaml").write_text(row, encoding="utf-8")
    return conformance("run", "rows.yaml", "-i", implementation, "-o", "out", "-n", "0", *options, cwd=tmp_path)


def test_run_writes_results_and_page_and_exits_0(tmp_path: Path) -> None:
    done = run_on(tmp_path, "tests.support.faulty_adapters:Exact")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read(tmp_path / "out" / "results.jsonl").complete
    assert "tests.support.faulty_adapters:Exact" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "page: out/index.html" in done.stdout


def test_a_violation_exits_1_and_still_writes_the_page(tmp_path: Path) -> None:
    done = run_on(tmp_path, "tests.support.faulty_adapters:DropsBias")
    assert done.returncode == 1
    assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.parametrize(
    ("implementation", "row", "options", "message"),
    [
        ("tests.support.faulty_adapters:Exact", "rows: [{input_shape: [4], untis: 3}]", (), "rows.yaml:1:27: "),
        ("torhc", ROW, (), "did you mean 'torch'"),
        ("tests.support.faulty_adapters:Exact", ROW, ("--device", "gpu"), "no GPU is visible"),
        ("tests.support.faulty_adapters:Exact", ROW, ("--shard", "5/4"), "within 1 to N"),
    ],
)
def test_a_fault_of_table_or_command_exits_2(
    tmp_path: Path, implementation: str, row: str, options: tuple[str, ...], message: str
) -> None:
    done = run_on(tmp_path, implementation, row, *options)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_run_without_a_matching_cell_exits_3(tmp_path: Path) -> None:
    row = "rows:\n  - {input_shape: [4], units: 3, implementations: [other]}\n"
    assert run_on(tmp_path, "tests.support.faulty_adapters:Exact", row).returncode == 3


def test_collect_only_estimates_a_run_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("conformance.sandbox.process.subprocess.Popen", None)
    (tmp_path / "rows.yaml").write_text(ROW, encoding="utf-8")
    options = ["run", "--collect-only", "-i", "torch", "-i", "numpy", "--device", "auto", "-o", "out"]
    done = CliRunner().invoke(main, [*options, "rows.yaml"])
    assert done.exit_code == 0, done.output
    counted = {line.split()[0]: line.split()[1] for line in done.output.splitlines()}
    assert counted == {"cpu/torch": "2", "gpu/torch": "2", "cpu/numpy": "2", "gpu/numpy": "2", "all": "8"}
    assert done.output.splitlines()[-1].endswith("one process after the other")
    assert not (tmp_path / "out").exists()
    assert CliRunner().invoke(main, [*options, "none.yaml"]).exit_code == 2


def test_the_current_folder_has_no_influence(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text("raise SystemExit('read')\n", encoding="utf-8")
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')\n", encoding="utf-8")
    done = run_on(tmp_path, "tests.support.faulty_adapters:Exact")
    assert done.returncode == 0, done.stdout + done.stderr


LEDGER = """\
divergences:
  - id: computes-in-float32
    implementations: [torch]
    when: {dtype: float64}
    instead: {computes_in: float32}
    kind: bug
    why: It computes in float32.
    evidence: A test.
    seen_with: {torch: "2.13.0"}
"""


def test_lint_prints_the_scope_of_each_behaviour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of one row in place of the default one, of which `make lint` says it."""
    monkeypatch.setattr(inspection, "default_cases", lambda: tmp_path)
    (tmp_path / "rows.yaml").write_text("rows: [{input_shape: [4], units: 3, dtype: float64}]\n", encoding="utf-8")
    (tmp_path / "divergences").mkdir()
    (tmp_path / "divergences" / "torch.yaml").write_text(LEDGER, encoding="utf-8")
    done = CliRunner().invoke(main, ["lint"])
    assert done.exit_code == 0, done.output
    told, last = done.output.splitlines()
    assert re.fullmatch(r"\S+torch\.yaml:2: computes-in-float32: 2 cells, width \S+", told), told
    assert last == "1 row, 2 cases, 1 behaviour, no faults"


def test_lint_counts_rows_and_cases_without_faults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ROW, encoding="utf-8")
    done = CliRunner().invoke(main, ["lint", str(tmp_path)])
    assert (done.exit_code, done.output) == (0, "1 row, 2 cases, no faults\n")
    (tmp_path / "b.yaml").write_text("rows: [{input_shape: [5], units: 1, each: {batch: [1, 3]}}]\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["lint", str(tmp_path)])
    assert (done.exit_code, done.output) == (0, "2 rows, 6 cases, no faults\n")


def test_lint_prints_every_fault_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rows:\n  - {input_shape: [4], untis: 3}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("rows:\n  - {input_shape: [4], units: -3}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["lint", str(tmp_path)])
    assert done.exit_code == 2
    assert "a.yaml:2:" in done.output
    assert "did you mean" in done.output
    assert "b.yaml:2:" in done.output


LITERAL = "{input_shape: [1], units: 1, batch: 1, data: {x: 2, kernel: 3, bias: 1}"


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        (f"{LITERAL}, expect: {{output: 8}}}}", 95, "the output given[0, 0] = 8.0, expected 7.0"),
        (f"{LITERAL}, expect: {{nonfinite: true}}}}", 50, "the answer is finite"),
        (LITERAL.replace("x: 2", "x: .inf") + "}", 50, "the answer is not finite"),
        (LITERAL.replace("x: 2", "x: 1e39") + "}", 50, "the answer is not finite"),
        ("{input_shape: [0], units: 3, values: special, expect: {nonfinite: true}}", 42, "the answer is finite"),
        ("{input_shape: [8], units: 1, batch: 1, activation: relu, data: {x: 1, kernel: 1, bias: 1}}", None, ""),
    ],
)
def test_lint_checks_rows_against_drawn_values(tmp_path: Path, row: str, column: int | None, message: str) -> None:
    (tmp_path / "a.yaml").write_text(f"rows:\n  - {row}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["lint", str(tmp_path / "a.yaml")])
    assert done.exit_code == (0 if column is None else 2), done.output
    faults = [line for line in done.output.splitlines() if "a.yaml:" in line]
    assert len(faults) == (column is not None), done.output
    assert all(f"a.yaml:2:{column}: " in line and message in line for line in faults), done.output


def test_lint_names_the_row_of_each_case_that_cannot_be_drawn(tmp_path: Path, monkeypatch: Any) -> None:
    """No row of a table is known to have no draw, so one is refused here."""

    def refused(case: Case) -> None:
        if case.lane == "exact":
            raise NoDraw("no exact draw exists")

    monkeypatch.setattr(inspection, "draws", refused)
    (tmp_path / "a.yaml").write_text("rows:\n  - {input_shape: [4], units: 3, values: exact}\n", encoding="utf-8")
    (fault,) = inspection.inspect([str(tmp_path / "a.yaml")]).faults
    assert (fault.line, fault.column, fault.message) == (2, 42, "4-3-exact: no exact draw exists")


def test_lint_draws_no_values_of_large_cases(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rows:\n  - {input_shape: [8192], units: 16384}\n", encoding="utf-8")
    started = time.monotonic()
    assert inspection.inspect([str(tmp_path / "a.yaml")]).faults == ()
    assert time.monotonic() - started < 2.0


def test_list_names_implementations_cases_and_checks() -> None:
    listed = {"implementations": "tensorflow-v1", "cases": "784x1-4-10-linear-exact", "checks": "weights_live"}
    listed["divergences"] = "Keras's Dense needs an input of two axes or more."
    for what, expected in listed.items():
        assert expected in CliRunner().invoke(main, ["list", what]).output


def test_a_results_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("{}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["report", str(tmp_path / "r.jsonl"), "-o", str(tmp_path / "x.html")])
    assert done.exit_code == 2
    assert "r.jsonl:1:" in done.output


def test_triage_of_a_green_run_prints_no_draft(tmp_path: Path) -> None:
    run_on(tmp_path, "tests.support.faulty_adapters:Exact")
    assert drafts(read(tmp_path / "out" / "results.jsonl")).startswith("# nothing to triage")


def test_the_wheel_works_in_an_empty_environment_outside_the_checkout(tmp_path: Path) -> None:
    """Build the wheel, unpack it where nothing else of the project is, run one row on a stranger's adapter."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    tell = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(tell, capture_output=True, text=True, check=True).stdout.strip())
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True)
    # The dependencies are those of this environment; the checkout itself is not on the path.
    here = Path(pytest.__file__).parent.parent
    (site / "dependencies.pth").write_text(f"{here}\n", encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    (work / "my_rows.yaml").write_text(ROW, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    script = (
        f"import conformance as c; from conformance.commands.cli import main; assert '{site}' in c.__file__; main()"
    )
    words = [str(python), "-c", script, "run", "my_rows.yaml", "-i", "torch", "-n", "0"]
    done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first = (work / "reports" / "results.jsonl").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(first)["cells"] == 2
    words = [str(python), "-c", script, "list", "cases"]
    listed = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert "784x1-4-10-linear-softmax-uniform" in listed.stdout, listed.stderr
