"""Each term of the project is defined once, in docs/glossary.md, and is a term that something uses."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
REQUIRED = {
    "row", "case", "implementation", "adapter", "cell", "question", "step", "reply", "reference", "bound", "check",
    "finding", "outcome", "margin", "behaviour", "ledger", "tier", "lane", "draw", "units", "kernel", "position",
    "twin", "shard", "night", "width", "decisive", "gone",
}  # fmt: skip
#: Term -> number of definitions.
DEFINED = Counter(re.findall(r"^- \*\*(.+?)\*\*: ", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE))
DOCUMENTS = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "cases").glob("*.md"))


def docstrings(source: str) -> Iterator[str]:
    """Yield the docstrings of a module and of its public classes and functions."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if isinstance(node, ast.Module) or not node.name.startswith("_"):
            yield ast.get_docstring(node) or ""


def prose() -> str:
    """Return every document but the glossary, and every public docstring."""
    documents = [each.read_text(encoding="utf-8") for each in DOCUMENTS if each != GLOSSARY]
    sources = [each.read_text(encoding="utf-8") for each in sorted((ROOT / "conformance").rglob("*.py"))]
    return "\n".join([*documents, *(text for source in sources for text in docstrings(source))])


def test_each_required_term_is_defined() -> None:
    assert REQUIRED - DEFINED.keys() == set()


def test_no_term_is_defined_twice() -> None:
    assert {term: number for term, number in DEFINED.items() if number > 1} == {}


def test_each_term_is_used_outside_the_glossary() -> None:
    text = prose()
    forms = {term: rf"\b({term}s?|{term[:-1]}ies)\b" for term in DEFINED}
    assert [term for term, form in forms.items() if not re.search(form, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_the_glossary_is_linked(name: str) -> None:
    assert "glossary.md)" in (ROOT / name).read_text(encoding="utf-8")
