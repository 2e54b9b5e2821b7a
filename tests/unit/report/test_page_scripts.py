"""The page's script: bundled from its modules, small, and without a way to turn content into markup."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

import conformance.report
from conformance.report import render, scripts

FOLDER = Path(conformance.report.__file__).parent / "assets"
BUNDLE = FOLDER / "bundle"
IMPORT = re.compile(r"^import \{ ([\w, ]+) \} from \"(\./\w+\.js|d3-[a-z-]+)\";$", re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function|const) (\w+)", re.MULTILINE)
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.js"))}
#: Ways by which text becomes markup or code, or by which something leaves the page.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    r"|createContextualFragment|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\("
    r"|localStorage|\.cookie|Date\.now|new Date|Math\.random"
)


def test_the_bundle_is_made_of_the_modules_and_the_recipe_as_they_are() -> None:
    lines = (BUNDLE / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    recipe = {f"bundle/recipe/{path.name}" for path in (BUNDLE / "recipe").iterdir()}
    assert set(sums) == {*SOURCES, *recipe, "bundle/page.min.js", "bundle/LICENSE"}
    stale = [name for name, each in sums.items() if hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() != each]
    assert not stale, "make bundle, with npm, after a change of the page's modules"


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_uses_what_it_imports(name: str) -> None:
    source = SOURCES[name]
    assert source.count("\nimport ") == len(IMPORT.findall(source))
    for names, _ in IMPORT.findall(source):
        for each in names.split(", "):
            assert len(re.findall(rf"\b{each}\b", source)) > 1, f"{each} is imported and not used"


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_state_changes_while_the_page_is_open(name: str) -> None:
    assert not re.search(r"^(?:export )?(?:let|var) ", SOURCES[name], re.MULTILINE), "what changes belongs to state.js"


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_is_short_states_its_purpose_and_writes_no_markup(name: str) -> None:
    source = SOURCES[name]
    assert source.startswith("// ")
    assert source.count("\n") <= 350
    assert not FORBIDDEN.search(source)
    assert max(map(len, source.splitlines())) <= 160


def test_what_is_exported_is_used() -> None:
    for name, source in SOURCES.items():
        others = "".join(each for other, each in SOURCES.items() if other != name)
        for each in EXPORT.findall(source):
            assert re.search(rf"import \{{[^}}]*\b{each}\b", others), f"{name}: {each}"


def test_the_script_is_small_and_ends_no_element() -> None:
    script = scripts.script()
    assert len(script) < 70_000
    assert "</script" not in script.lower()
    assert "<!--" not in script


def test_the_licences_are_of_the_pinned_packages() -> None:
    licences = (BUNDLE / "LICENSE").read_text(encoding="utf-8")
    assert licences in scripts.script()
    pinned = json.loads((BUNDLE / "recipe" / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())
    bundled = re.findall(r"^(\S+) (\S+): Copyright", licences, re.MULTILINE)
    assert sorted(bundled) == sorted(each for each in pinned.items() if each[0] != "esbuild")


def test_a_page_without_cells_is_small() -> None:
    assert len(render([]).encode()) < 90_000


def test_scripts_have_one_place() -> None:
    with pytest.raises(ValueError, match="exactly one place"):
        scripts.put("<p></p>", "{}")
    with pytest.raises(ValueError, match="exactly one place"):
        scripts.put(scripts.PLACE * 2, "{}")
