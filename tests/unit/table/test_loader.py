"""Files and folders of tables, the schema for editors, and whatever else a file may hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conformance
from conformance.table import files
from conformance.table.case import MAX_BYTES
from conformance.table.loader import (
    MAX_CASES,
    SCHEMA,
    Fault,
    default_cases,
    lint,
    load,
    schema,
    write_schema,
)
from conformance.table.yaml_document import read
from tests.support.paths import ROOT
from tests.support.tables import cases_of, faults_of, ids, table_of

TABLES = [path for path in sorted((ROOT / "cases").glob("*.yaml")) if not files.is_ledger(path)]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_its_tables_by_name_without_the_ledger(tmp_path: Path) -> None:
    Path("cases").mkdir()
    Path("cases/inner").mkdir()
    for name, units in (("b.yaml", 5), ("a.yml", 4), ("c.txt", 6), ("inner/d.yaml", 7)):
        Path("cases", name).write_text(table_of(f"input_shape: [3]\nunits: {units}\nvalues: exact"), encoding="utf-8")
    Path("cases/known.yaml").write_text("description: x\ndivergences: [\n", encoding="utf-8")
    Path("cases/flow.yaml").write_text("{divergences: []}\n", encoding="utf-8")
    assert [case.row for case in load([Path("cases")]).cases] == ["cases/a.yml:3", "cases/b.yaml:3"]
    assert load([tmp_path / "cases"]).cases[0].row == f"{tmp_path}/cases/a.yml:3"
    # A shell's *.yaml names the ledger too.
    assert len(load([Path("cases/known.yaml"), Path("cases/b.yaml")]).cases) == 1


def test_where_there_are_no_rows(tmp_path: Path) -> None:
    Path("empty").mkdir()
    Path("ledger").mkdir()
    Path("ledger/known.yaml").write_text("divergences: []\n", encoding="utf-8")
    os.mkfifo("pipe.yaml")
    for path in ("empty", "ledger", "ledger/known.yaml"):
        (fault,) = lint([Path(path)])
        assert (fault.file, fault.line, fault.column) == (path, 1, 1)
        assert fault.message.startswith("no rows here")
    assert lint([Path("none")]) == (Fault("none", 1, 1, "cannot be read: No such file or directory"),)
    Path("loop.yaml").symlink_to("loop.yaml")
    assert "cannot be read" in str(lint([Path("loop.yaml")]))
    assert "embedded null" in str(lint([Path("a\0b")]))
    assert lint([Path("pipe.yaml")]) == (Fault("pipe.yaml", 1, 1, "not a file"),)


@pytest.mark.integration
def test_a_file_of_families_ends_somewhere() -> None:
    row = f"input_shape: [3]\neach:\n  units: {list(range(30))}\n  batch: {list(range(30))}"
    content = table_of(*[f"{row}\nuse_bias: false\nvalues: exact\ntags: [t{index}]" for index in range(40)])
    assert any(f"more than {MAX_CASES} cases in one file" in fault for fault in faults_of(content))


def test_the_table_that_comes_with_the_package() -> None:
    assert default_cases() == ROOT / "cases"
    started = time.process_time()
    cases = load([default_cases()]).cases
    assert time.process_time() - started < 2
    assert {case.row.split(":")[0] for case in cases} >= {"cases/seed.yaml", "cases/shapes.yaml", "cases/edges.yaml"}
    assert "784x1-4-10-linear-softmax-uniform" in ids(list(cases))
    assert all(case.why for case in cases)
    assert len({case.id for case in cases}) == len({case.digest for case in cases}) == len(cases)


def test_an_installed_package_has_its_table_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "conformance"
    (package / "cases").mkdir(parents=True)
    (package / "cases" / "seed.yaml").write_text(table_of("input_shape: [3]\nunits: 4"), encoding="utf-8")
    monkeypatch.setattr(conformance, "__file__", str(package / "__init__.py"))
    assert default_cases() == package / "cases"
    assert load([default_cases()]).cases[0].row == "cases/seed.yaml:3"


def test_the_committed_schema_is_current(tmp_path: Path) -> None:
    write_schema(tmp_path / "schema.json")
    committed, current = (json.loads(path.read_text("utf-8")) for path in (SCHEMA, tmp_path / "schema.json"))
    assert committed == current, "run python -m conformance.table.loader"
    jsonschema.Draft202012Validator.check_schema(committed)


VALIDATOR = jsonschema.Draft202012Validator(schema())


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_the_files_of_the_table_follow_the_schema(path: Path) -> None:
    VALIDATOR.validate(read(path).data)
    assert path.read_text("utf-8").startswith("# yaml-language-server: $schema=../conformance/table/case.schema.json\n")


@pytest.mark.parametrize(
    "row",
    [
        {"unit": 3},
        {"units": -1},
        {"units": True},
        {"activation": "sofmax"},
        {"expect": {"eror": True}},
        {"each": {"id": ["a"]}},
        {"id": "a b"},
        {"source": "ftp://a"},
    ],
)
def test_the_schema_refuses_what_the_table_refuses(row: dict[str, Any]) -> None:
    good = {"rows": [{"input_shape": [3], "units": 4}]}
    VALIDATOR.validate(good)
    VALIDATOR.validate({"rows": [{"input_shape": [3], "units": -1.5, "expect": {"error": True}}]})
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({"rows": [good["rows"][0] | row]})


def test_reading_the_table_imports_no_framework() -> None:
    code = "import sys, conformance.table.loader; print(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not loaded & {"keras", "tensorflow", "tf_keras", "torch", "jax", "flax", "numpy", "pytest"}


VALUES = st.recursive(
    st.sampled_from(
        [
            *("3", "-1", "2.5", "true", "null", "relu", "exact", "'x y'", "error", "[]", "{}", str(10**17), ".nan"),
            *(".inf", "literal", "special", "cancelling", "int8", "[[1, 2], [3]]", "[1, null]"),
            "{x: 1, kernel: 1, bias: 1}",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(
            st.sampled_from(
                [
                    *("error", "parameters", "output_shape", "dtype", "units", "batch", "id"),
                    *("x", "kernel", "bias", "dy", "nonfinite", "output"),
                ]
            ),
            inner,
            max_size=3,
        ).map(lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}")
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "input_shape",
        "units",
        "activation",
        "use_bias",
        "dtype",
        "batch",
        "values",
        "layout",
        "feed_shape",
        "expect",
        "implementations",
        "checks",
        "tier",
        "id",
        "why",
        "source",
        "tags",
        "each",
        "unit",
        "rows",
        "data",
        "input_dtype",
    ]
)


@pytest.mark.integration
@given(
    rows=st.lists(st.dictionaries(FIELDS, VALUES, max_size=6), max_size=3),
    defaults=st.dictionaries(FIELDS, VALUES, max_size=2),
)
@settings(max_examples=300, deadline=None)
def test_any_rows_give_cases_or_faults(rows: list[dict[str, str]], defaults: dict[str, str]) -> None:
    written = ["\n".join(f"{key}: {value}" for key, value in row.items()) or "{}" for row in rows]
    head = "defaults: {" + ", ".join(f"{key}: {value}" for key, value in defaults.items()) + "}\n"
    content = table_of(*written, head=head)
    lines = content.count("\n") + 1
    for fault in faults_of(content):
        line, column, message = fault.split(":", 2)
        assert 1 <= int(line) <= lines
        assert int(column) >= 1
        assert message.isprintable()


@pytest.mark.integration
@given(content=st.text().map(str.encode) | st.binary())
@settings(max_examples=200, deadline=None)
def test_any_other_file_gives_a_fault(content: bytes) -> None:
    assert faults_of(content)


def test_arrays_of_the_largest_size_are_allowed() -> None:
    assert MAX_BYTES == 2**30
    assert cases_of(f"input_shape: [{2**27}]\nunits: 1")
    assert faults_of(table_of(f"input_shape: [{2**27 + 1}]\nunits: 1"))
    assert cases_of(f"input_shape: [{2**28}]\nunits: 1\ndtype: bfloat16")
