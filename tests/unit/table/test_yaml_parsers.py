"""Two parsers, one reading: what libyaml is asked for is what the parser in Python says, mark for mark."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.table import yaml_document
from conformance.table.yaml12 import UnlikeError, events, quick_events
from conformance.table.yaml_document import Document, Place, read
from tests.support.paths import ROOT
from tools.fuzz import changed, seeds

SEEDS = sorted(each for each in set(seeds()) if each[:1] != b"R")

PARTS: tuple[str, ...] = (
    "a",
    "b",
    "1",
    "é",
    "😀",
    "-1.5",
    "null",
    "a" * 130,
    "''",
    "[]",
    "{}",
    "{a: b}",
    '"a"',
    "'b':b",
    '"a":',
    ":a",
    "\n",
    "\r\n",
    "\r",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n-",
    " ",
    "\n? ",
    "\n: ",
    "\n\n",
    "- ",
    "? ",
    ": ",
    "b:\n",
    "a: ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    ",",
    "'",
    '"',
    "|\n",
    ">-\n",
    ">+2\n",
    "|1\n",
    "#",
    "# c\n",
    "\\",
    "\\x41",
    "\\\n",
    "\\/",
    "\\L",
    "=",
    "<<",
    "%",
    "@",
    "`",
    "&a ",
    "*a",
    "!t ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
)


def told(parsed: Iterable[Any]) -> list[object]:
    """Return what each event says, marks included."""
    names = ("value", "implicit", "anchor", "tag", "explicit", "version", "flow_style")
    return [
        (
            type(event).__name__,
            [getattr(event, name, None) for name in names],
            getattr(event, "style", None) or None,  # libyaml's word for plain is empty
            [(mark.line, mark.column) for mark in (event.start_mark, event.end_mark)],
        )
        for event in parsed
    ]


def compared(text: str) -> bool:
    """Return whether `text` is one for libyaml, and hold that it then says what the other parser says."""
    try:
        quick = told(quick_events(text))
    except UnlikeError:
        return False
    assert quick == told(events(text))
    return True


@pytest.mark.parametrize("path", sorted((ROOT / "cases").glob("*.yaml")), ids=lambda path: path.name)
def test_the_table_is_read_by_libyaml_and_read_alike(path: Path) -> None:
    assert yaml.__with_libyaml__
    assert compared(path.read_text(encoding="utf-8"))


@given(parts=st.lists(st.sampled_from(PARTS), max_size=16))
@settings(max_examples=500, deadline=None)
def test_whatever_libyaml_takes_is_read_alike(parts: list[str]) -> None:
    compared("".join(parts) + "\n")


@given(start=st.sampled_from(SEEDS), seed=st.integers(0, 2**32), times=st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_a_changed_file_is_read_alike(
    start: bytes, seed: int, times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    for _ in range(times):
        start = changed(start, chance, SEEDS)
    path = tmp_path_factory.getbasetemp() / "changed.yaml"
    path.write_bytes(start[1:])
    with pytest.MonkeyPatch.context() as patch:
        quick = read(path)
        patch.setattr(yaml_document, "quick_events", _unlike)
        slow = read(path)
    assert _everything(quick) == _everything(slow)


def _unlike(_text: str) -> Iterable[Any]:
    raise UnlikeError


def _everything(found: Document) -> object:
    return repr(found.data), _places(found.place), found.faults


def _places(place: Place) -> object:
    keys = {key: (each.line, each.column) for key, each in place.keys.items()}
    return place.line, place.column, keys, {step: _places(each) for step, each in place.items.items()}


#: What libyaml is known to read in another way.
APART = (
    "|\n#\n",
    ">-\n---\n",
    "a: 1",
    "--- a\n",
    "a: 1\n...\n",
    "a:\n",
    "['a':b]\n",
    "a:\n|\n \n  \n",
    "%YAML 1.1\n---\na: 1\n",
    "a: &x 1\n",
    "a: !!str 1\n",
)


@pytest.mark.parametrize("text", APART)
def test_what_is_read_otherwise_is_not_for_libyaml(text: str) -> None:
    assert not compared(text)


def test_a_parser_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: marks one line down, as if a break had been counted twice."""
    real = yaml.parse
    monkeypatch.setattr(yaml, "parse", lambda text, Loader: real(re.sub("^", "\n", text), Loader=Loader))
    with pytest.raises(AssertionError):
        compared("a: [1]\n")


def test_what_is_built_without_libyaml_reads_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, {b: 2}]\n", encoding="utf-8")
    quick = _everything(read(path))
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert not compared(path.read_text(encoding="utf-8"))
    assert _everything(read(path)) == quick
