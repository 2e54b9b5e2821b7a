"""An adapter that does not load is one line and exit code 2, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.adapters.registry import Implementation, select
from conformance.commands.cli import main
from conformance.run.selection import Selection, SelectionError
from conformance.sandbox.sandbox import Limits
from tests.support.runs import EXACT, conformance, table

MODULES = {
    "broken": "import os\n\nimport no_such_module\n",
    "script": "import sys\nsys.exit('usage: script FILE')\n",
    "syntax": "class Adapter\n",
    "mine": """\
from tests.support.faulty_adapters import Exact

class NumPyAdapter:
    def __init__(self):
        self.inner = Exact()
    def __getattr__(self, name):
        return getattr(self.inner, name)

class Layer:
    def __init__(self, in_features, out_features):
        pass

class Empty:
    pass

class Fails:
    def __init__(self):
        raise RuntimeError("no licence\\nfor this\\x1b machine")

class TextForDevices(NumPyAdapter):
    def devices(self):
        return "cpu"

class NumbersForDevices(NumPyAdapter):
    def devices(self):
        return [0]

class Aborts(NumPyAdapter):
    def devices(self):
        import os
        os.abort()

number = 3
""",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    (tmp_path / "rows.yaml").write_text(table({"input_shape": [4], "units": 3}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def fault(name: str) -> str:
    with pytest.raises(SelectionError) as caught:
        Selection().check_adapters(select([name]), Limits())
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:NumpyAdapter", "the module mine has no 'NumpyAdapter'; did you mean 'NumPyAdapter'?"),
        ("mine:Layer", "mine:Layer is no adapter, missing a required argument: 'in_features': an adapter is a class,"),
        ("mine:Empty", "mine:Empty is no adapter, it has no method versions or settings or devices or build: "),
        ("mine:number", "mine:number is no adapter: an adapter is a class, called without arguments, with the methods"),
        ("mine:Fails", "RuntimeError: no licence for this\N{REPLACEMENT CHARACTER} machine ("),
        ("mine:Fails", "mine.py:18)"),
        ("mine:TextForDevices", "devices() returned 'cpu': it must be a list of names, such as ['cpu']"),
        ("mine:NumbersForDevices", "devices() returned [0]: it must be a list of names, such as ['cpu']"),
        ("mine:nothing@numpy", "has no attribute 'nothing'"),
        ("broken:Adapter", "ModuleNotFoundError: No module named 'no_such_module' ("),
        ("broken:Adapter", "broken.py:3)"),
        ("script:Adapter", "SystemExit: usage: script FILE ("),
        ("syntax:Adapter", "SyntaxError: expected ':' (syntax.py, line 1)"),
        ("tests.no_such_module:Adapter", "No module named 'tests.no_such_module'"),
    ],
)
def test_an_adapter_that_raises_as_it_is_loaded_is_a_fault_of_the_command(
    folder: Path, name: str, message: str
) -> None:
    found = fault(name)
    assert found.startswith(f"{name} cannot be loaded: ")
    assert message in found
    assert "\n" not in found


def test_each_faulty_adapter_is_reported(folder: Path) -> None:
    with pytest.raises(SelectionError) as caught:
        Selection().check_adapters(select(["mine:Empty", "mine:NumPyAdapter", "broken:A"]), Limits())
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["mine:Empty", "broken:A"]


def test_built_in_missing_or_dying_adapters_are_outcomes_of_their_cells(folder: Path) -> None:
    # An adapter of the suite that breaks is no fault of the command, and none of them is started here.
    broken = Implementation(name="x", adapter="conformance.adapters.no_such_module:Adapter", packages=())
    missing = Implementation(name="y", adapter="no_such_module:Adapter", packages=("no_such_module",))
    Selection().check_adapters([broken, missing, *select(["mine:NumPyAdapter", "mine:Aborts"])], Limits())


def test_a_third_party_is_loaded_in_its_own_environment(folder: Path) -> None:
    (folder / "wants.py").write_text(
        "import os\nos.environ['SWITCH']\nfrom tests.support.faulty_adapters import Exact\n"
    )
    offered = Implementation(name="offered", adapter="wants:Exact", packages=(), environment={"SWITCH": "1"})
    Selection().check_adapters([offered], Limits())
    without = Implementation(name="offered", adapter="wants:Exact", packages=())
    with pytest.raises(SelectionError, match="offered cannot be loaded: KeyError: 'SWITCH'"):
        Selection().check_adapters([without], Limits())


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_ends_before_anything_runs(folder: Path, workers: str) -> None:
    chosen = ("-i", EXACT, "-i", "mine:NumpyAdapter")
    done = conformance("run", "rows.yaml", *chosen, "-n", workers, "-o", "out", cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert line.startswith("error: mine:NumpyAdapter cannot be loaded: AttributeError: the module mine has no")
    assert not (folder / "out").exists()


def test_a_search_ends_before_its_first_question(folder: Path) -> None:
    done = CliRunner().invoke(main, ["search", "-i", "mine:NumpyAdapter", "--budget", "1s"])
    assert (done.exit_code, "mine:NumpyAdapter cannot be loaded" in done.output) == (2, True), done.output
