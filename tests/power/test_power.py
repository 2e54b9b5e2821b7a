"""Every planted fault is caught by some cell of the table, open ones are still open, and the document lists all."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from conformance.table.loader import default_cases, load
from tests.power.faults import EVERY
from tests.support.fault_matrix import CaseQuestion, first_killer, questions_of, red_checks
from tests.support.faulty_adapters import Exact
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "power.md"
KILLERS = ROOT / "tests" / "power" / "killers.json"

CLOSED = sorted(name for name, fault in EVERY.items() if fault.open is None)
OPEN = sorted(name for name, fault in EVERY.items() if fault.open is not None)


@pytest.fixture(scope="module")
def cells() -> Mapping[str, CaseQuestion]:
    """Return every question of the default table, cheapest first, those the exact adapter must pass."""
    return questions_of(load([default_cases()]).cases)


@pytest.fixture(scope="module")
def likely() -> Mapping[str, list[str]]:
    """Return the cells that caught each fault when the document was written."""
    found: dict[str, list[str]] = json.loads(KILLERS.read_text(encoding="utf-8"))
    return found


def test_there_are_faults_of_every_family() -> None:
    assert len(CLOSED) >= 60
    assert len({fault.family for fault in EVERY.values()}) >= 15


def test_the_adapter_without_a_fault_is_caught_nowhere(cells: Mapping[str, CaseQuestion]) -> None:
    assert len(cells) > 100
    assert {identity for identity, asked in cells.items() if red_checks(Exact(), asked)} == set()


@pytest.mark.parametrize("name", CLOSED)
def test_a_fault_is_caught(name: str, cells: Mapping[str, CaseQuestion], likely: Mapping[str, list[str]]) -> None:
    assert first_killer(EVERY[name].make, cells, likely.get(name, [])) is not None


@pytest.mark.parametrize("name", OPEN)
def test_an_open_fault_is_not_caught_yet(name: str, cells: Mapping[str, CaseQuestion]) -> None:
    """One that is caught is no longer open: take `open_because` off it."""
    assert first_killer(EVERY[name].make, cells, []) is None


def test_the_document_lists_every_fault_and_counts_todays_cells(cells: Mapping[str, CaseQuestion]) -> None:
    """A row that was added since is not in the matrix: `make power` asks the faults its question too."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in EVERY if f"`{name}`" not in text] == []
    assert f"{len(CLOSED)} faults, {len(cells)} cells." in text
