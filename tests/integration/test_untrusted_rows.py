"""
Rows come from anywhere: nothing in one is run, leaves the output folder, or becomes markup, code or a terminal's order.

What a row may say is tried where it is read, and what it did say wherever it is shown, in one run whose cells all fail.
"""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from conformance.adapters.registry import registered
from conformance.checks.refusal import refusal
from conformance.run.reproduce import script
from conformance.table.case import SWITCHES, Case, Expect, Layer
from conformance.table.loader import lint
from conformance.table.schema import MAX_ID
from tests.support.parsed_page import Page
from tests.support.records import cell_record
from tests.support.runs import EXACT, cells, conformance

#: What YAML lets a row say; control characters it does not, see below.
HOSTILE = (
    "</script></td><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} {% raw %} ]]> --> "
    "\"\"\" ''' \\'; __import__('os').system('touch ran') # `touch ran` $(touch ran) [bold red] \\x1b[2J \\u202e @all"
)
LINK = "https://a.test/?q=1&b=2;touch+ran#javascript:alert(1)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../up", "id must be"),
        ("..", "id must be"),
        ("/etc/passwd", "id must be"),
        ("a/b", "id must be"),
        ("a\\\\b", "id must be"),
        ("a:b", "id must be"),
        ("a b", "id must be"),
        ("-rf", "id must be"),
        ("<b>", "id must be"),
        ("a'b", "id must be"),
        ("$(a)", "id must be"),
        ("a*", "id must be"),
        ("a\\0b", "a character that is not allowed: U+0000"),
        ("a\\e[2J", "a character that is not allowed: U+001B"),
        ("a\\u202eb", "a character that is not allowed: U+202E"),
        ("a\\nb", "id must be"),
        ("\\u0430", "id must be"),
        ("CON", "names no file on Windows"),
        ("nul.txt", "names no file on Windows"),
        ("Com1", "names no file on Windows"),
        ("a.", "names no file on Windows"),
        ("a" * (MAX_ID + 1), "id must be 1 to 100"),
        ("", "id must be"),
    ],
)
def test_an_id_is_a_safe_name_of_a_file_on_a_page_and_in_a_terminal(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "rows.yaml").write_text(f'rows:\n  - {{input_shape: [2], units: 3, id: "{name}"}}\n', encoding="utf-8")
    faults = lint([tmp_path / "rows.yaml"])
    assert any(message in each.message for each in faults), faults
    assert all(str(each).isprintable() for each in faults)
    assert {(each.line, each.column) for each in faults} == {(2, 38)}


@pytest.mark.parametrize("name", ["con1", "console", "a.b.c", "x" * MAX_ID, "COM10"])
def test_an_id_that_only_looks_like_a_device_is_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.yaml").write_text(f"rows:\n  - {{input_shape: [2], units: 3, id: {name}}}\n", encoding="utf-8")
    assert lint([tmp_path / "rows.yaml"]) == ()


@pytest.mark.parametrize(
    "variable",
    [
        *("PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "HOME", "TMPDIR"),
        *("XLA_FLAGS", "TF_XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "KERAS_HOME", "CONFORMANCE_PROCESS", "path"),
    ],
)
def test_a_row_sets_the_switches_of_a_list_alone(tmp_path: Path, variable: str) -> None:
    assert variable not in SWITCHES
    row = {"input_shape": [2], "units": 3, "environment": {variable: "/tmp/x"}}
    (tmp_path / "rows.yaml").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    (fault,) = lint([tmp_path / "rows.yaml"])
    assert f'no such switch: "{variable}"' in fault.message


def test_values_of_variables_are_text_without_control_characters(tmp_path: Path) -> None:
    for value, message in (("a\0b", "U+0000"), ("a\nLD_PRELOAD=x", "not safe everywhere"), (1, "environment")):
        row = {"input_shape": [2], "units": 3, "environment": {SWITCHES[0]: value}}
        (tmp_path / "rows.yaml").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
        faults = lint([tmp_path / "rows.yaml"])
        assert any(message in each.message for each in faults), faults


def test_an_implementation_named_by_a_row_is_a_filter_and_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()\n", encoding="utf-8")
    row = {"input_shape": [2], "units": 3, "implementations": ["evil:Class", "../evil*", "*evil*"]}
    (tmp_path / "rows.yaml").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    done = conformance("run", "rows.yaml", f"-i{EXACT}", "-n", "0", "-o", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stdout
    done = conformance("lint", "rows.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.count("no implementation is named")) == (2, 2), "the first may be a class"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        "rows: !!python/object/apply:os.system ['touch ran']\n",
        "rows:\n  - !!python/object/new:os.system {input_shape: [2], units: 3}\n",
        "rows:\n  - {input_shape: [2], units: !!python/name:os.system 3}\n",
        "%TAG ! tag:yaml.org,2002:python/\n---\nrows: !object/apply:os.system ['touch ran']\n",
        "rows:\n  - {input_shape: [2], units: 3, why: !!binary aGVsbG8=}\n",
    ],
)
def test_no_object_is_built_from_yaml(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.yaml").write_text(content, encoding="utf-8")
    (fault,) = lint([Path("rows.yaml")])
    assert fault.message.startswith("a tag: only plain data is read")
    assert not Path("ran").exists()


@pytest.fixture(scope="module")
def failed_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run rows whose words are hostile beside the same rows with harmless ones; every cell fails."""
    folder = tmp_path_factory.mktemp("shown")
    for name, words, link in (("hostile", HOSTILE, LINK), ("harmless", "harmless", "https://a.test/")):
        told = {"why": words, "source": link, "tags": [words]}
        rows = [{"input_shape": [2], "units": 3, "values": "exact", **told}]
        rows += [{"input_shape": [2], "units": words, "id": "word", "expect": {"error": True}, **told}]
        (folder / name).mkdir()
        content = json.dumps({"description": words, "rows": rows})
        (folder / name / "rows.yaml").write_text(content, encoding="utf-8")
        options = (
            "-itests.support.faulty_adapters:DropsBias",
            "-itests.support.faulty_adapters:Raises",
            "-n",
            "0",
            "-o",
            "out",
        )
        done = conformance("run", "rows.yaml", *options, "--junit-xml", "junit.xml", cwd=folder / name)
        assert done.returncode == 1, done.stdout + done.stderr
        if name == "hostile":
            first = done
    return folder, first


FailedRun = tuple[Path, subprocess.CompletedProcess[str]]


def test_the_terminal_shows_a_rows_words_and_obeys_none(failed_run: FailedRun) -> None:
    _, done = failed_run
    assert "alert(1)" in done.stdout, "they are shown"
    assert [each for each in done.stdout.replace("\n", "") if not each.isprintable()] == []
    assert max(map(len, done.stdout.splitlines())) < 2000


def test_the_page_has_the_elements_it_has_for_harmless_words(failed_run: FailedRun) -> None:
    folder, _ = failed_run
    pages = [(folder / name / "out" / "index.html").read_text(encoding="utf-8") for name in ("hostile", "harmless")]
    hostile, harmless = ([node.tag for node in Page(page).root.walk()] for page in pages)
    assert hostile == harmless
    assert "alert(1)" in pages[0]


def test_junit_has_the_text_of_a_row_escaped(failed_run: FailedRun) -> None:
    folder, _ = failed_run
    trees = [ElementTree.parse(folder / name / "junit.xml") for name in ("hostile", "harmless")]
    hostile, harmless = ([node.tag for node in tree.iter()] for tree in trees)
    assert hostile == harmless
    assert any("alert(1)" in (node.text or "") for node in trees[0].iter())


def test_a_draft_of_the_ledger_has_only_observations(failed_run: FailedRun) -> None:
    folder, _ = failed_run
    drafts = []
    for name in ("hostile", "harmless"):
        done = conformance("triage", "out/results.jsonl", cwd=folder / name)
        assert done.returncode == 0, done.stderr
        drafts.append(yaml.safe_load(done.stdout)["divergences"])
    keys = [[sorted(entry) for entry in draft] for draft in drafts]
    assert keys[0] == keys[1]


class _Bare(ast.NodeTransformer):
    """Makes all constants, and numbers with their sign, one constant."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant(value=0)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        return ast.Constant(value=0) if isinstance(node.operand, ast.Constant) else node


def shape_of(source: str) -> str:
    """Return what a script does, whatever its constants are."""
    return ast.dump(_Bare().visit(ast.parse(source)))


def test_a_script_is_the_same_code_whatever_a_rows_words_are(failed_run: FailedRun) -> None:
    """Words are comments of one line and literals, so that the scripts of twins differ in constants alone."""
    folder, _ = failed_run
    found = [
        [shape_of(each["reproduce"]) for each in cells(folder / name / "out" / "results.jsonl") if "reproduce" in each]
        for name in ("hostile", "harmless")
    ]
    assert found[0] == found[1]
    assert found[0]


#: One implementation of each adapter.
ONE_EACH = {known.adapter: name for name, known in registered().items() if not known.participation.by_name}


@pytest.mark.parametrize("name", sorted(ONE_EACH.values()))
def test_a_frameworks_script_is_the_same_code_whatever_a_word_is(name: str) -> None:
    """Units that are a word stand in the script of a framework that took them."""
    found = []
    for word in (HOSTILE, HOSTILE + "\nimport os", "harmless"):
        case = Case(input_shape=(2,), layers=(Layer(units=word),), expect=Expect(error=True), name=word, why=word)
        accepted = {"check": "refusal", "outcome": "violates", "message": f"accepted {word}"}
        record = cell_record({"case": word, "implementation": name, "outcome": "violates", "checks": [accepted]})
        found.append(shape_of(script(record, refusal(case, "cpu"), case=case, implementation=registered()[name])))
    assert found[0] == found[1] == found[2]


def test_nothing_of_it_ran_or_left_the_folder(failed_run: FailedRun) -> None:
    folder, _ = failed_run
    there = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
    assert there == [
        f"{name}/{each}"
        for name in ("harmless", "hostile")
        for each in ("junit.xml", "out/index.html", "out/results.jsonl", "rows.yaml")
    ]
