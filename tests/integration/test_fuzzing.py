"""
Whatever a row, a ledger or a results file holds, it is read or refused in a line: what a search found, and a short one.

The long search is `make fuzz`. What it found is here, each input as small as it may be; and so is what breaks parsers
by tradition, under a limit of memory.
"""

from __future__ import annotations

import random
import resource
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.ledger import load_ledger
from conformance.table.loader import lint
from conformance.table.yaml_document import DocumentError
from tests.support.runs import arguments, environment
from tools.fuzz import FAULT, answered, changed, seeds

SEEDS = sorted(set(seeds()))
ROW = "rows:\n  - input_shape: [3]\n    units: 4\n"
CELL = b'{"type": "cell", "case": "a", "implementation": "b", "device": "cpu", "outcome": "%s", "checks": [%s]%s}\n'
HEADER = b'{"type": "header", "schema": 1}\n'


@given(start=st.sampled_from(SEEDS), seed=st.integers(0, 2**32), times=st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_a_changed_real_file_is_read_or_refused(
    start: bytes, seed: int, times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    for _ in range(times):
        start = changed(start, chance, SEEDS)
    assert answered(start, tmp_path_factory.getbasetemp()) in ("read", "refused")


#: Found by `make fuzz`, in this order.
FOUND = (
    b'T%stier: "\\ud800"\n' % f"{ROW}    ".encode(),
    b'T"\\ud800": x\nrows: [{input_shape: [3], units: 4}]\n',
    b'L"\\ud800": x\ndivergences: []\n',
    b"R" + HEADER + b'{"type": "cell"}\n\n',
    b"R" + HEADER + CELL % (b"conforms", b"", b', "question": true'),
    b"R" + HEADER + CELL % (b"crashed", b"", b', "crash": {"step": "output"}'),
    b"R" + HEADER + CELL % (b"crashed", b"", b', "crash": "SIGABRT"'),
    b"R" + HEADER + CELL % (b"violates", b'{"check": "o", "outcome": "violates", "raised": {"type": "E"}}', b""),
    b"R" + HEADER + CELL % (b"violates", b'{"check": "o", "outcome": "violates", "margin": "x"}', b""),
    b"R" + HEADER + CELL % (b"violates", b'{"check": "o", "outcome": "violates", "margin": 1%s}' % (b"0" * 400), b""),
)


@pytest.mark.parametrize("data", FOUND, ids=range(len(FOUND)))
def test_inputs_of_earlier_findings_are_refused(data: bytes, tmp_path: Path) -> None:
    assert answered(data, tmp_path) == "refused"


def test_a_refused_file_has_a_line_for_each_fault(tmp_path: Path) -> None:
    """Planted: an answer in two lines, and one without a place."""
    assert FAULT.fullmatch("input.yaml:2:1: no")
    for wrong in ("input.yaml:2: no", "input.yaml:2:1: no\nno", "no", "input.yaml:0:1: no"):
        assert not FAULT.fullmatch(wrong)
    assert {answered(each, tmp_path) for each in (b"T" + ROW.encode(), b"T", b"Ldivergences: []", b"R" + HEADER)} == {
        "read",
        "refused",
    }


NINES = "9" * 10**4
#: A row or a whole file -> where the fault is and what it says.
NASTY: dict[str, tuple[str, str, str]] = {
    "billion laughs": ("a: &a [x, x]\nb: &b [*a, *a]\nrows: [*b, *b]\n", "1:4", "an anchor: write values out"),
    "alias of nothing": (f"{ROW}    batch: *a\n", "4:12", "an alias: write the value out"),
    "recursion": ("rows: &a [*a]\n", "1:7", "an anchor"),
    "merge key": (f"{ROW}    <<: {{batch: 3}}\n", "4:5", 'unknown field "<<"'),
    "merge key of an alias": (f"{ROW}    <<: *defaults\n", "4:9", "an alias"),
    "python object": (f"{ROW}    why: !!python/object/apply:os.system [x]\n", "4:10", "a tag: only plain data is read"),
    "binary": (f"{ROW}    why: !!binary aGk=\n", "4:10", "a tag"),
    "set": ("rows: !!set {a}\n", "1:7", "a tag"),
    "deep flow": (f"rows: {'[' * 10**5}\n", "1:38", "nested more than 32 deep"),
    "deep mapping": (f"rows: {'{a: ' * 10**5}\n", "1:131", "nested more than 32 deep"),
    "deep block": ("".join(f"{' ' * depth}a:\n" for depth in range(200)), "33:33", "nested more than 32 deep"),
    "huge float": (f"{ROW}    batch: 1e999999\n", "4:12", "batch must be an integer of 0 or more"),
    "minus infinity": (f"{ROW}    batch: -1e999999\n", "4:12", "batch must be an integer of 0 or more"),
    "million digits": (f"{ROW}    batch: {NINES * 100}\n", "4:12", "an integer of more than 18 digits"),
    "digits in hexadecimal": (f"{ROW}    batch: 0x{NINES}\n", "4:12", "an integer of more than 18 digits"),
    "digits of a fraction": (f"{ROW}    batch: 0.{NINES}\n", "4:12", "batch must be an integer of 0 or more"),
    "2**63": (f"rows: [{{input_shape: [{2**63}], units: 1}}]\n", "1:23", "an integer of more than 18 digits"),
    "2**59": (f"rows: [{{input_shape: [{2**59}], units: 1}}]\n", "1:22", "would take more than 1024 MiB"),
    "a product past 2**64": (f"rows: [{{id: a, input_shape: {[2**40] * 8}, units: 1}}]\n", "1:29", "would take more"),
    "a kernel past 2**64": (f"rows: [{{input_shape: [1], units: [{2**50}, {2**50}]}}]\n", "1:35", "would take more"),
    "a batch past memory": (f"rows: [{{input_shape: [4], units: 1, batch: {2**40}}}]\n", "1:22", "would take more"),
    "a million cases": (
        f"rows: [{{input_shape: [3], each: {{units: {list(range(1000))}, batch: {list(range(1000))}}}}}]\n",
        "1:33",
        "each makes 1000000 rows of one, more than 1000",
    ),
    "more cases than an int holds": (
        "rows: [{each: {"
        + ", ".join(f"{name}: {[0] * 2000}" for name in ("input_shape", "units", "batch", "dtype", "layout", "tier"))
        + "}}]\n",
        "1:15",
        f"each makes {2000**6} rows of one, more than 1000",
    ),
    "NUL": (f"{ROW}    why: a\0b\n", "4:11", "a character that is not allowed: U+0000"),
    "NUL, escaped": (f'{ROW}    why: "a\\0b"\n', "4:10", "a character that is not allowed: U+0000"),
    "BOM inside": (f"{ROW}    why: \ufeffb\n", "4:10", "a character that is not allowed: U+FEFF"),
    "surrogate, escaped": (f'{ROW}    why: "\\ud800"\n', "4:13", "not YAML: found invalid Unicode character"),
    "past the last character": (f'{ROW}    why: "\\U00110000"\n', "4:13", "not YAML"),
    "a return alone": ("rows:\r  - {input_shape: [3], unit: 4}\r", "2:24", "did you mean 'units'?"),
    "returns and line feeds": ("rows:\r\n  - {input_shape: [3],\r\n     unit: 4}\r\n", "3:6", "did you mean 'units'?"),
    "duplicate key": (f"{ROW}    units: 4\n", "4:5", "duplicate key 'units', first on line 3"),
    "duplicate key, quoted": (f"{ROW}    'units': 4\n", "4:5", "duplicate key 'units', first on line 3"),
    "duplicate key of the file": (f"{ROW}rows: []\n", "4:1", "duplicate key 'rows', first on line 1"),
    "a long key": (f"{ROW}    {'k' * 900}: 1\n", "4:5", 'unknown field "kkk'),
    "a long word": (f"{ROW}    tier: {'k' * 10**4}\n", "4:11", 'no such tier: "kkk'),
    "many faults of one kind": (
        f"{ROW}    tags: [{', '.join(['1'] * 10**3)}]\n",
        "4:12",
        "tags must be a list of words",
    ),
    "many layers": (f"rows: [{{input_shape: [3], units: {[1] * 10**4}}}]\n", "1:8", "makes an id of 200"),
}


@pytest.mark.parametrize("name", NASTY)
def test_inputs_that_break_parsers_are_one_fault_in_a_line(name: str, tmp_path: Path) -> None:
    content, where, said = NASTY[name]
    (tmp_path / "rows.yaml").write_bytes(content.encode("utf-8"))
    (fault,) = lint([tmp_path / "rows.yaml"])
    assert (f"{fault.line}:{fault.column}", said in fault.message) == (where, True), str(fault)[-400:]
    assert len(fault.message) <= 200
    assert str(fault).isprintable()


def test_a_file_may_begin_with_a_mark_of_byte_order_and_end_its_lines_as_windows_does(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_bytes(b"\xef\xbb\xbf" + ROW.replace("\n", "\r\n").encode())
    assert lint([tmp_path / "rows.yaml"]) == ()


def test_inputs_that_break_parsers_are_refused_by_the_ledger_too(tmp_path: Path) -> None:
    for number, (content, _, _) in enumerate(NASTY.values()):
        if len(content) > 10**5:
            continue
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(b"divergences: []\n" + content.encode("utf-8"))
        with pytest.raises(DocumentError) as error:
            load_ledger([path])
        assert all(FAULT.fullmatch(str(each)) and str(each).isprintable() for each in error.value.faults)


def test_all_of_it_together_stays_within_a_gibibyte(tmp_path: Path) -> None:
    for number, (content, _, _) in enumerate(NASTY.values()):
        (tmp_path / f"{number}.yaml").write_bytes(content.encode("utf-8"))
    (tmp_path / "open.yaml").write_text("[" * 2**20, encoding="utf-8")
    (tmp_path / "wide.yaml").write_text(f"rows: [{'1,' * 2**14}]", encoding="utf-8")
    done = subprocess.run(
        arguments("lint", tmp_path),
        cwd=tmp_path,
        env=environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)),
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    faulty = {line.partition(".yaml:")[0] for line in done.stdout.splitlines()}
    assert len(faulty) == len(NASTY) + 2
