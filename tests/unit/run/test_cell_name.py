"""The cell of a test is looked up by the test's id, and never read out of it."""

from __future__ import annotations

from dataclasses import replace

from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell
from conformance.results.record import CellName
from conformance.run.cell_name import cells_of_tests
from conformance.table.case import Case, Layer

CASE = Case(input_shape=(3,), layers=(Layer(units=2),), lane="exact")
NAMES = ("numpy", "my/odd[name]:Class", "módulo:f")


def test_every_test_of_a_cell_has_its_name_whatever_is_in_it() -> None:
    cells = [
        Cell(case=CASE, implementation=Implementation(name=name, adapter="x:y", packages=()), device="cpu")
        for name in NAMES
    ]
    # As pytest writes them: in ASCII.
    ids = [f"tests/test_dense.py::test_dense[cpu/{name}/{CASE.id}]" for name in (*NAMES[:2], "m\\xf3dulo:f")]
    found = cells_of_tests(cells, [*ids, "tests/unit/test_a.py::test_a[cpu/numpy/x]", "a.py::test_dense"])
    assert found == dict(zip(ids, (CellName("cpu", name, CASE.id) for name in NAMES), strict=True))
    assert [str(each) for each in found.values()] == [each.id for each in cells]


def test_a_cell_of_another_run_has_none() -> None:
    cell = Cell(case=CASE, implementation=Implementation(name="a", adapter="x:y", packages=()), device="cpu")
    other = replace(cell, device="gpu")
    assert cells_of_tests([cell], [f"t.py::test_dense[{other.id}]"]) == {}
