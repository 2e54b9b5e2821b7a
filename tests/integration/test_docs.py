"""What the documents show is what the program prints, and their code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from conformance.adapters.registry import select
from conformance.checks.cell import Cell
from conformance.commands.explain.text import explain
from conformance.ledger import load_ledger
from conformance.ledger.behaviour import ACCEPTANCES, SHAPES
from conformance.reference.deviation import PADDINGS
from conformance.reference.enclosure import DECLARED_ULPS
from conformance.run.cell_runner import Runner
from conformance.run.implementation_process import ProcessOptions
from conformance.run.runner import explanation
from conformance.table.case import ACTIVATIONS
from conformance.table.check_names import CHECKS
from conformance.table.loader import default_cases, load
from tests.support.paths import ROOT
from tests.support.runs import cells, conformance

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """Return what the README shows between the marks of a name, without its fences."""
    found = re.search(rf"<!-- {name} -->\n```text\n(.*?)```\n<!-- /{name} -->", README, re.DOTALL)
    assert found is not None, name
    return found.group(1)


def test_the_readme_shows_what_explain_prints() -> None:
    whole = explain([(784,), (784, 1)], [4, 10], ["linear", "softmax"], width=100)
    command, *shown = block("explain").split("\n", 1)
    assert command.startswith("$ conformance explain --input-shape 784 --input-shape 784,1 --units 4 --units 10")
    for part in "".join(shown).split("...\n"):
        assert part.strip("\n") in whole


def test_the_readme_shows_a_failure_as_it_is_printed() -> None:
    case = next(each for each in load([default_cases()]).cases if each.id == "784x1-4-10-linear-exact")
    implementation = select(["tests.support.faulty_adapters:DropsBias"])[0]
    runner = Runner(processes=ProcessOptions(in_process=True))
    told = explanation(runner.run(Cell(case=case, implementation=implementation, device="cpu")))
    runner.close()
    for line in block("failure").rstrip("\n").split("\n"):
        assert line in told.split("\n") or line == "..."


def test_the_framework_of_the_readme_conforms_with_the_command_of_the_readme(tmp_path: Path) -> None:
    shown = re.search(
        r"as\s+`(my_numpy\.py)`:\n\n```python\n(.*?)```\n\n    conformance (run .*?)\n", README, re.DOTALL
    )
    assert shown is not None
    name, code, command = shown.groups()
    (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "cases").symlink_to(ROOT / "cases")
    done = conformance(*command.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = cells(tmp_path / "reports" / "results.jsonl")
    assert [each["outcome"] for each in found] == ["conforms"] * 12


@pytest.mark.parametrize("function", DECLARED_ULPS["float32"])
def test_the_contracts_are_those_of_the_code(function: str) -> None:
    name = {"divide": "division"}.get(function, function)
    ulps = [f"{DECLARED_ULPS[dtype][function]:g}" for dtype in ("float64", "float32", "float16")]
    text = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
    assert f"| {name} | {' | '.join(ulps)} | float32's, rounded once |" in text


def test_every_activation_has_its_line() -> None:
    numerics = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
    table = (ROOT / "cases" / "README.md").read_text(encoding="utf-8")
    told = re.findall(r"^(?:\| )?(\w+)\b", numerics, re.MULTILINE)
    assert [name for name in ACTIVATIONS if name not in told] == ["linear", "relu"]  # which round nothing
    assert [name for name in ACTIVATIONS if f"`{name}`" not in table] == []


def test_every_field_of_a_row_has_a_line() -> None:
    from conformance.table.schema import Row

    text = (ROOT / "cases" / "README.md").read_text(encoding="utf-8")
    assert [name for name in Row.model_fields if f"`{name}`" not in text] == []
    assert [name for name in CHECKS if name not in text] == []


def test_every_field_of_the_ledger_has_a_line() -> None:
    from conformance.ledger.fields import EntryFields, InsteadFields, WhenFields

    text = (ROOT / "cases" / "README.md").read_text(encoding="utf-8")
    for model in (EntryFields, WhenFields, InsteadFields):
        assert [name for name in model.model_fields if f"`{name}`" not in text] == []
    parts = [name for each in ("fed", "input_shape") for name in _parts_of(WhenFields, each)]
    assert [name for name in parts if f"`{name}`" not in text] == []
    assert [name for name in (*ACCEPTANCES, *SHAPES, *PADDINGS) if f"`{name}`" not in text] == []


def _parts_of(model: type[BaseModel], name: str) -> list[str]:
    """Return the fields of the mapping that a field takes."""
    types = (each for each in get_args(model.model_fields[name].annotation) if isinstance(each, type))
    return list(next(each for each in types if issubclass(each, BaseModel)).model_fields)


def test_the_entry_that_the_documents_show_is_one(tmp_path: Path) -> None:
    text = (ROOT / "cases" / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^    - id: .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert shown is not None
    (tmp_path / "ledger.yaml").write_text(f"divergences:\n{shown.group()}\n", encoding="utf-8")
    (behaviour,) = load_ledger([tmp_path / "ledger.yaml"])
    assert behaviour.id == "keras-torch-float64-products"


def test_the_files_the_readme_names_are_there() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = "|".join(sorted(each.name for each in (ROOT / "conformance").iterdir() if each.is_dir()))
    named = set(re.findall(rf"`(?:conformance/)?((?:{rooms})/[\w./-]*)`", text))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / "conformance" / name).exists()] == []
