"""The list of checks is written once, and the files that are written from it are current."""

from __future__ import annotations

from conformance.checks.catalogue import CHECKS
from conformance.table.check_names import CHECKS as NAMES
from tools.name_lists import NAMES as NAMES_FILE
from tools.name_lists import README, names_module, readme


def test_the_names_that_rows_may_have_are_current() -> None:
    assert NAMES_FILE.read_text(encoding="utf-8") == names_module(CHECKS), "run `make schema`"
    assert tuple(each.name for each in CHECKS) == NAMES


def test_the_list_of_checks_in_the_documents_is_current() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == readme(text, CHECKS), "run `make schema`"
    assert all(f"| `{each.name}` | {each.description} |\n" in text for each in CHECKS)


def test_names_and_descriptions_are_distinct() -> None:
    for values in ([each.name for each in CHECKS], [each.description for each in CHECKS]):
        assert len({*values}) == len(CHECKS)
