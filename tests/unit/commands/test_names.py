"""Errors for unknown names and globs of implementations, and for packages that are not installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.adapters import installation, registry
from conformance.adapters.builtin import BUILT_IN
from conformance.adapters.installation import missing_text
from conformance.adapters.registry import UnknownImplementation, fault_of_glob, select
from conformance.checks.cell import unknown_globs
from conformance.commands.cli import main
from conformance.commands.lint import inspection
from conformance.ledger import load_ledger
from conformance.run.selection import Selection, SelectionError
from tests.support.runs import table
from tests.support.tables import cases_of

KNOWN = {each.name: each for each in BUILT_IN}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "keras",
            "did you mean keras-tensorflow, keras-jax, keras-torch, keras-openvino; all of them: -i 'keras-*'",
        ),
        ("jax", "did you mean keras-jax, jax-numpy; all of them: -i '*jax*'"),
        ("flax", "did you mean flax-linen, flax-nnx; all of them: -i 'flax-*'"),
        ("onnxruntime", "did you mean onnxruntime:torch, onnxruntime:keras; all of them: -i '*onnxruntime*'"),
        ("torhc", "did you mean 'torch'?"),
        ("equin", "did you mean 'equinox'?"),
        ("torch:compil", "did you mean 'torch:compile'?"),
    ],
)
def test_an_unknown_name_lists_similar_names(name: str, hint: str) -> None:
    with pytest.raises(UnknownImplementation) as caught:
        select([name])
    assert str(caught.value) == f"no implementation is named {name!r}; {hint}"


def test_an_unknown_name_without_similar_names_does_not_list_all() -> None:
    with pytest.raises(UnknownImplementation, match="conformance list implementations") as caught:
        select(["zzz"])
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("glob", "is_known"),
    [
        ("*", True),
        ("keras-*", True),
        ("*:meta", True),
        ("torch:*", True),
        ("my_module:Adapter", True),
        ("my_*:f@torch", True),
        ("package.module:*", True),
        ("*@jax", True),
        ("keras-tensorlow", False),
        ("keras", False),
        ("kera-*", False),
        ("torch:foo*", False),
        ("keras-tensorlow:predict", False),
        ("*@jx", False),
    ],
)
def test_a_glob_that_can_match_nothing_is_a_fault(glob: str, is_known: bool) -> None:
    assert (fault_of_glob(glob, KNOWN) is None) is is_known


ROWS = """\
rows:
  - {input_shape: [4], units: 3, implementations: [torch, keras-tensorlow]}
  - {input_shape: [5], units: 3, implementations: ["*"], each: {batch: [2, 3]}}
"""
ENTRY = """\
divergences:
  - id: loses
    implementations: [torch, "keras-tensorlow:*"]
    when: {use_bias: true}
    instead: {loses_bias: true}
    kind: bug
    why: The bias is lost.
    evidence: A test.
"""
HINT = "; did you mean 'keras-tensorflow'?"


def test_lint_names_a_glob_of_a_row_that_matches_nothing_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.yaml").write_text(ROWS, encoding="utf-8")
    done = CliRunner().invoke(main, ["lint", "rows.yaml"])
    assert done.exit_code == 2
    fault, *_ = done.output.splitlines()
    assert fault == f"rows.yaml:2:59: no implementation is named 'keras-tensorlow'{HINT}"
    assert len(inspection.inspect(["rows.yaml"]).faults) == 1


def test_lint_names_a_glob_of_the_ledger_that_matches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.yaml").write_text(table({"input_shape": [4], "units": 3}), encoding="utf-8")
    (tmp_path / "ledger.yaml").write_text(ENTRY, encoding="utf-8")
    monkeypatch.setattr(inspection, "default_cases", lambda: tmp_path)
    (fault,) = (str(each) for each in inspection.inspect([]).faults)
    assert fault.partition("ledger.yaml")[2].startswith(":3:30: no implementation is named 'keras-tensorlow:*'")
    # A run takes the entry: it may be about something that is installed elsewhere.
    assert len(load_ledger([tmp_path])) == 1


def test_a_row_of_many_cases_is_named_once_for_each_glob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases = cases_of("input_shape: [4]\nunits: 3\nimplementations: [torch, torhc, nummpy]\neach: {batch: [2, 3]}")
    assert [(number, text.split("'")[1]) for _, number, text in unknown_globs(cases)] == [(1, "torhc"), (2, "nummpy")]


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (["torch"], "torch (pip install 'dense-conformance[torch]')"),
        (["keras", "jax"], "keras, jax (pip install 'dense-conformance[keras,flax]')"),
        (["tf_keras"], "tf_keras (pip install 'dense-conformance[keras]')"),
        (["ai_edge_litert", "haiku"], "ai_edge_litert, haiku (pip install 'dense-conformance[more]')"),
        (["clang"], "clang"),
        (["my_module"], "my_module"),
    ],
)
def test_a_missing_package_is_reported_with_its_install_command(missing: Sequence[str], text: str) -> None:
    assert missing_text(missing) == text


def test_every_package_of_an_implementation_is_in_an_extra() -> None:
    known = {each for implementation in BUILT_IN for each in implementation.packages} - {"numpy"}
    assert [each for each in sorted(known) if installation._distribution(each) not in installation._extras()] == []


def test_an_implementation_that_is_not_installed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(
        SelectionError, match=r"^torch is not installed: torch \(pip install 'dense-conformance\[torch\]'\)$"
    ):
        Selection(implementations=("torch",)).chosen()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("no_such_module:IMPLEMENTATION", "does not load: ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:dumsp", "does not load: AttributeError"),
        ("json:dumps", "is function: it must be an Implementation, or a list of them"),
        ("tests.unit.commands.test_names:KNOWN", "is dict: it must be"),
    ],
)
def test_a_broken_entry_point_is_one_line(value: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    points: Any = [EntryPoint("mine", value, registry.ENTRY_POINTS)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    with pytest.raises(SelectionError) as caught:
        Selection().chosen()
    assert str(caught.value).startswith(f"the entry point mine = {value} of a distribution {text}")
    for command in (["list", "implementations"], ["lint"]):
        done = CliRunner().invoke(main, command)
        assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
        assert text in done.output
