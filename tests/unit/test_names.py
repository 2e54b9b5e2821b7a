"""Names of modules, classes, fields, constants, functions, tests and parameters are words of the field."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

#: A word that no name contains -> what to write instead.
INSTEAD = {
    "ask": "request, query, or the name of what is computed",
    "asked": "requested, or the noun: question, case, cell",
    "asking": "requesting",
    "asks": "requests",
    "apart": "different, separate, distance",
    "beside": "next to, besides, with",
    "conduct": "behaviour, measured facts",
    "conducts": "behaviours, measured facts",
    "held": "checked, stored",
    "hold": "store, contain, or occurs for a behaviour",
    "holds": "stores, contains, or occurs for a behaviour",
    "keep": "store, leave, retain",
    "keeps": "stores, leaves, retains",
    "kept": "stored, left, retained",
    "mend": "fix",
    "mended": "fixed",
    "nought": "zero",
    "owed": "missing, expected",
    "owes": "lacks, needs",
    "said": "message, text, reported",
    "say": "report, print",
    "says": "reports, prints, names",
    "seen": "found, detected, observed",
    "shown": "printed, drawn, reported",
    "tell": "report, distinguish",
    "tells": "reports, distinguishes",
    "told": "reported, message",
}
#: Fields that contain such a word, since the YAML or JSON file they describe does.
ALLOWED = {
    "Documentation.seen_with",
    "EntryFields.seen_with",
    "EntryRecord.seen_with",
    "FactsRecord.asked",
    "ValueFactsRecord.conduct",
}
FOLDERS = ("conformance", "tests", "tools", "benchmarks")


def words(name: str) -> list[str]:
    """Return the words of a name in snake_case or CamelCase, in lower case."""
    return re.split(r"[_.]", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def assigned(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Yield the names that the statements of a module or a class assign, with their lines."""
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for node in (each for target in targets for each in ast.walk(target)):
                if isinstance(node, ast.Name):
                    yield node.lineno, node.id


def names(source: str) -> Iterator[tuple[int, str]]:
    """Yield the names of all classes, fields, constants, functions and parameters with their lines."""
    tree = ast.parse(source)
    yield from assigned(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        if isinstance(node, ast.ClassDef):
            yield from ((line, f"{node.name}.{field}") for line, field in assigned(node.body))


def faults(folder: Path, root: Path) -> list[str]:
    """Return a line for each name below `folder` with a word of INSTEAD; its place is relative to `root`."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(root)
        for line, name in [(1, path.stem), *sorted(names(path.read_text(encoding="utf-8")))]:
            bad = [] if name in ALLOWED else sorted(INSTEAD.keys() & set(words(name)))
            found += [f"{place}:{line}: {name}: instead of '{word}' write {INSTEAD[word]}" for word in bad]
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_name_contains_a_word_of_the_list(folder: str) -> None:
    found = faults(ROOT / folder, ROOT)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", INSTEAD)
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (2, "\nclass {title}Layer: ..."),
        (1, "def {word}_of(): ..."),
        (3, "class Layer:\n\n    def _is_{word}(self): ..."),
        (2, "\nasync def test_the_bias_is_{word}(): ..."),
        (1, "def layer(*, {word}_units=1): ..."),
        (1, "layer = lambda {word}: 1"),
        (2, "\nMOST_{word} = 1"),
        (2, "class Layer:\n    {word}: int = 1"),
        (2, "class Layer:\n    units, bias_{word} = 1, 2"),
    ],
)
def test_a_planted_name_is_reported_with_its_file_and_line(tmp_path: Path, word: str, line: int, code: str) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "layer.py").write_text(code.format(word=word, title=word.title()) + "\n", encoding="utf-8")
    (found,) = faults(package, tmp_path)
    assert re.fullmatch(
        rf"package/layer\.py:{line}: [\w.]+: instead of '{word}' write {re.escape(INSTEAD[word])}", found
    )


def test_a_planted_module_is_reported_and_an_allowed_name_is_not(tmp_path: Path) -> None:
    allowed = "class EntryFields:\n    seen_with: str\n\ndef of(withheld, household): ...\n"
    (tmp_path / "told.py").write_text(allowed, encoding="utf-8")
    assert faults(tmp_path, tmp_path) == [f"told.py:1: told: instead of 'told' write {INSTEAD['told']}"]
