"""What the caller's surroundings and an earlier run have to do with a run: nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from tests.support.runs import EXACT, conformance, environment, outcomes, table

ROW = table({"input_shape": [2], "units": 3, "values": "exact"})
OTHER = table({"input_shape": [2], "units": 3, "values": "exact", "implementations": ["other"]})
WORDS = ("run", "rows.yaml", f"-i{EXACT}", "-o", "out")

#: Runs the command with a fault planted in the suite itself.
BROKEN = """
import sys
import conformance.{module} as target
def planted(*args, **kwargs): raise RuntimeError("planted")
target.{name} = planted
from conformance.commands.cli import main
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a row, and with the results and the page of an earlier run."""
    (tmp_path / "rows.yaml").write_text(ROW, encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.jsonl").write_text("results of an earlier run\n", encoding="utf-8")
    (tmp_path / "out" / "index.html").write_text("page of an earlier run", encoding="utf-8")
    return tmp_path


def page(folder: Path) -> str | None:
    file = folder / "out" / "index.html"
    return file.read_text(encoding="utf-8") if file.exists() else None


@pytest.mark.parametrize("workers", ["0", "1"])
def test_no_variable_of_pytest_steers_a_run(folder: Path, workers: str) -> None:
    """Any of these ends a run of pytest itself before its first test, or in another way."""
    variables = {
        "PYTEST_ADDOPTS": "--collect-only",
        "PYTEST_PLUGINS": "no_such_plugin",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_XDIST_AUTO_NUM_WORKERS": "none",
        "PYTEST_DEBUG": "1",
    }
    done = conformance(*WORDS, "-n", workers, cwd=folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(outcomes(folder / "out" / "results.jsonl").values()) == {"conforms"}
    assert EXACT in (page(folder) or "")
    assert "pytestdebug.log" not in {each.name for each in folder.iterdir()}


def test_no_other_installed_plugin_affects_a_run(folder: Path) -> None:
    """Plant a plugin that deselects every test, as a distribution on the path offers it."""
    site = folder / "site"
    (site / "deselects-1.dist-info").mkdir(parents=True)
    (site / "deselects.py").write_text(
        "def pytest_collection_modifyitems(config, items):\n    items.clear()\n", encoding="utf-8"
    )
    (site / "deselects-1.dist-info" / "METADATA").write_text("Name: deselects\nVersion: 1\n", encoding="utf-8")
    (site / "deselects-1.dist-info" / "entry_points.txt").write_text("[pytest11]\nit = deselects\n", encoding="utf-8")
    path = f"{environment()['PYTHONPATH']}:{site}"
    words = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", str(Path(__file__))]
    plain = subprocess.run(words, env=environment(PYTHONPATH=path), capture_output=True, text=True, check=False)
    assert plain.returncode == 5, plain.stdout + plain.stderr
    done = conformance(*WORDS, "-n", "0", cwd=folder, PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_in_which_nothing_ran_leaves_no_page_of_another(folder: Path) -> None:
    (folder / "rows.yaml").write_text(OTHER, encoding="utf-8")
    done = conformance(*WORDS, "-n", "0", cwd=folder)
    assert done.returncode == 3, done.stdout + done.stderr
    assert page(folder) is None
    assert "page: out/index.html is removed" in done.stdout


@pytest.mark.parametrize(
    ("row", "option"), [("rows: [{input_shape: [4], untis: 3}]", "--draws=1"), (ROW, "--shard=5/4")]
)
def test_a_fault_of_the_command_leaves_results_and_page_as_they_were(folder: Path, row: str, option: str) -> None:
    (folder / "rows.yaml").write_text(row, encoding="utf-8")
    done = conformance(*WORDS, "-n", "0", option, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert page(folder) == "page of an earlier run"
    assert (folder / "out" / "results.jsonl").read_text(encoding="utf-8") == "results of an earlier run\n"


def test_a_page_that_cannot_be_written_leaves_none_of_another_run(folder: Path) -> None:
    script = BROKEN.format(module="commands.run", name="write_page").replace("RuntimeError", "OSError")
    words = [sys.executable, "-c", script, *WORDS, "-n", "0"]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: planted\n")
    assert page(folder) is None


@pytest.mark.parametrize(
    ("module", "name"),
    [("run.tally", "Tally.take"), ("run.selection", "Selection.table"), ("commands.run", "_workers")],
)
def test_an_error_of_the_suite_has_exit_code_4(folder: Path, module: str, name: str) -> None:
    words = [sys.executable, "-c", BROKEN.format(module=module, name=name), *WORDS, "-n", "0"]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "RuntimeError: planted" in done.stdout + done.stderr
    assert (page(folder) is None) == (name == "Tally.take")  # the results of the others were never opened


def test_a_run_of_pytest_that_is_green_without_results_ran_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No option is known that does it; one is planted."""
    monkeypatch.chdir(folder)
    script = "import pytest; pytest.main = lambda words: 0\nfrom conformance.commands.cli import main; main()"
    words = [sys.executable, "-c", script, *WORDS, "-n", "0"]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert page(folder) == "page of an earlier run"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "-n", "-3"), "Invalid value for '-n': '-3' is not auto, logical, or an integer of 0 or more."),
        (("run", "-n", "two"), "Invalid value for '-n': 'two' is not auto, logical, or an integer of 0 or more."),
        (("run", "--tier", "fast"), "Invalid value for '--tier': 'fast' is not one of 'quick', 'full', 'nightly'."),
        (("run", "--device", "tpu"), "Invalid value for '--device': 'tpu' is not one of 'cpu', 'gpu', 'auto'."),
        (("run", "-o", "rows.yaml"), "Invalid value for '-o': Directory 'rows.yaml' is a file."),
        (("run", "-o", ""), "Invalid value for '-o': it is empty: name a folder."),
        (("run", "--seed", "3"), "--seed is the seed of random cases, and there are none: add --random N"),
        (("run", "--no-ledger", "--strict-ledger"), "--no-ledger and --strict-ledger exclude each other"),
        (("history", ".", "torch/4-3-exact", "--last", "3"), "--last has no effect with CELL"),
        (("rnu",), "No such command 'rnu'."),
    ],
)
def test_a_bad_option_is_one_error_of_one_form(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    first, *rest = done.output.splitlines()
    assert first.startswith(f"error: {message}")
    assert all(each.startswith("options: ") for each in rest)
