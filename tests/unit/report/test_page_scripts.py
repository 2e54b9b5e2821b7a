"""The page's scripts: joined as they stand, small, and without a way for content to become markup."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

import conformance.report
from conformance.report import render, scripts

FOLDER = Path(conformance.report.__file__).parent / "assets"
IMPORT = re.compile(r"^import \{ ([\w, ]+) \} from \"\./(\w+\.js)\";$", re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function|const) (\w+)", re.MULTILINE)
SOURCES = {name: (FOLDER / name).read_text(encoding="utf-8") for name in scripts.MODULES}
#: Ways by which text becomes markup or code, or by which something leaves the page.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    r"|createContextualFragment|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\("
    r"|localStorage|\.cookie|Date\.now|new Date|Math\.random"
)


def test_every_module_beside_the_page_is_in_it() -> None:
    assert {path.name for path in FOLDER.glob("*.js")} == set(scripts.MODULES)
    assert {path.name for path in FOLDER.glob("vendor/*.js")} == {scripts.VENDOR}


@pytest.mark.parametrize("name", scripts.MODULES)
def test_a_module_imports_what_earlier_ones_export_and_uses_it(name: str) -> None:
    source = SOURCES[name]
    earlier = scripts.MODULES[: scripts.MODULES.index(name)]
    assert source.count("\nimport ") + source.startswith("import ") == len(IMPORT.findall(source))
    for names, module in IMPORT.findall(source):
        assert module in earlier
        for each in names.split(", "):
            assert each in EXPORT.findall(SOURCES[module])
            assert len(re.findall(rf"\b{each}\b", source)) > 1, f"{each} is imported and not used"


@pytest.mark.parametrize("name", scripts.MODULES)
def test_a_module_is_short_says_why_it_is_there_and_has_no_way_to_markup(name: str) -> None:
    source = SOURCES[name]
    assert source.startswith("// ")
    assert source.count("\n") <= 400
    assert not FORBIDDEN.search(source)
    assert max(map(len, source.splitlines())) <= 160


def test_what_is_exported_is_used() -> None:
    for name, source in SOURCES.items():
        others = "".join(each for other, each in SOURCES.items() if other != name)
        for each in EXPORT.findall(source):
            assert re.search(rf"import \{{[^}}]*\b{each}\b", others), f"{name}: {each}"


def test_the_joined_script_imports_and_exports_nothing_and_ends_no_element() -> None:
    joined = scripts.own()
    assert not re.search(r"^(import|export) ", joined, re.MULTILINE)
    for each in (joined, scripts.vendor()):
        assert "</script" not in each.lower()
        assert "<!--" not in each


def test_the_entry_of_the_recipe_names_what_the_scripts_use_of_d3() -> None:
    entry = (FOLDER / "vendor" / "recipe" / "entry.js").read_text(encoding="utf-8")
    exports = re.findall(r"^export \{ ([\w, ]+) \} from \"[\w-]+\";$", entry, re.MULTILINE)
    assert len(exports) == entry.count("export")
    named = [each for names in exports for each in names.split(", ")]
    used = {each for source in SOURCES.values() for each in re.findall(r"\bd3\s*\.(\w+)", source)}
    assert sorted(named) == sorted(used)
    assert not re.search(r"\bd3\b(?!\s*\.)", re.sub(r"//.*", "", "".join(SOURCES.values()))), (
        "d3 is used by its parts alone"
    )


def test_what_is_vendored_is_small_and_what_the_recipe_gives_with_the_licences() -> None:
    sums = (FOLDER / "vendor" / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    named = {name: digest for digest, _, name in (line.partition("  ") for line in sums)}
    assert set(named) == {scripts.VENDOR, scripts.LICENCES}
    for name, expected in named.items():
        assert hashlib.sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == expected
    licences = (FOLDER / "vendor" / scripts.LICENCES).read_text(encoding="utf-8")
    assert licences in scripts.vendor()
    assert len(scripts.vendor()) < 32_000
    pinned = json.loads((FOLDER / "vendor" / "recipe" / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())
    bundled = re.findall(r"^(\S+) (\S+): Copyright", licences, re.MULTILINE)
    assert sorted(bundled) == sorted(each for each in pinned.items() if each[0] != "esbuild")


def test_a_page_without_cells_is_small() -> None:
    assert len(render([]).encode()) < 120_000


def test_scripts_have_one_place() -> None:
    with pytest.raises(ValueError, match="exactly one place"):
        scripts.put("<p></p>", "{}")
    with pytest.raises(ValueError, match="exactly one place"):
        scripts.put(scripts.PLACE * 2, "{}")
