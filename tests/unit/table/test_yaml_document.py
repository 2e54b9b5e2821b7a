"""Reading one file: every way it can be wrong is planted once, with the exact place it must be found at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.table.core_schema import dump
from conformance.table.yaml_document import MAX_BYTES, MAX_DEPTH, Document, DocumentError, Fault, Place, read
from tests.support.paths import ROOT

Reading = Callable[[str | bytes], Document]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """Return a function that writes a file and reads it."""

    def reading(content: str | bytes) -> Document:
        path = tmp_path / "file.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read(path, "file.yaml")

    return reading


def test_quoted_scalars_are_strings(reading: Reading) -> None:
    document = reading("""a: "1"\nb: 'true'\nc: ''\nd: |\n  1\n""")
    assert document.data == {"a": "1", "b": "true", "c": "", "d": "1\n"}
    assert document.faults == ()


def test_every_key_and_value_has_its_place(reading: Reading) -> None:
    document = reading("# a comment\na: [1, {b: 2},\n    3]\n'c d':\n  - x\n  -   - y\n")
    assert document.data == {"a": [1, {"b": 2}, 3], "c d": ["x", ["y"]]}
    places = {
        (): (2, 1),
        ("a",): (2, 4),
        ("a", 0): (2, 5),
        ("a", 1): (2, 8),
        ("a", 1, "b"): (2, 12),
        ("a", 2): (3, 5),
        ("c d",): (5, 3),
        ("c d", 0): (5, 5),
        ("c d", 1): (6, 7),
        ("c d", 1, 0): (6, 9),
    }
    for path, expected in places.items():
        assert _position(document.place.at(*path)) == expected, path
    assert {key: _position(place) for key, place in document.place.keys.items()} == {"a": (2, 1), "c d": (4, 1)}
    assert _position(document.place.at("a", 1).keys["b"]) == (2, 9)


def test_a_step_that_is_not_in_the_data_is_passed_over(reading: Reading) -> None:
    place = reading("a: [1]").place
    assert _position(place.at("list[int]", "a", "int", 0)) == (1, 5)
    assert _position(place.at("a", 7)) == (1, 4)


def _position(place: Place) -> tuple[int, int]:
    return place.line, place.column


@pytest.mark.parametrize(
    "content",
    ["\ufeffa: 1\n".encode(), b"a: 1\r\n", b"---\na: 1\n", b"%YAML 1.2\n---\na: 1\n", b"a: 1\n...\n", b"a: 1"],
)
def test_what_else_a_file_may_be(reading: Reading, content: str | bytes) -> None:
    document = reading(content)
    assert document.data == {"a": 1}
    assert document.faults == ()


ALIAS_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
)


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        pytest.param("", "1:1", "empty file", id="empty"),
        pytest.param("# nothing\n\n", "1:1", "empty file", id="comment"),
        pytest.param("---\n", "1:1", "empty file", id="marker"),
        pytest.param("a: 1\nb: [1, 2\n", "3:1", "not YAML: did not find expected ',' or ']'", id="unclosed"),
        pytest.param("a: b: c\n", "1:5", "not YAML: mapping values are not allowed in this context", id="two colons"),
        pytest.param("a: 1\n b: 2\n", "2:3", "not YAML: mapping values are not allowed in this context", id="indent"),
        pytest.param("a: @b\n", "1:4", "not YAML: found character that cannot start any token", id="reserved"),
        pytest.param('a: "b\n', "2:1", "not YAML: found unexpected end of stream", id="open quote"),
        pytest.param('a: "\\q"\n', "1:5", "not YAML: found unknown escape character", id="escape"),
        pytest.param('a: "\\UFFFFFFFF"\n', "1:7", "not YAML", id="escape past the last code point"),
        pytest.param("%YAML " + "9" * 5000 + ".1\n---\na: 1\n", "1:16", "not YAML", id="directive's number"),
        pytest.param("%YAML 1.1\n---\na: 1\n", "1:1", "only YAML 1.2 is read", id="version"),
        pytest.param(b"a: 1\nb: \xff\n", "2:4", "not UTF-8: byte 0xff", id="not UTF-8"),
        pytest.param("a: é\nb: ".encode() + b"\xc3\x28\n", "2:4", "not UTF-8: byte 0xc3", id="cut UTF-8"),
        pytest.param("a: 1\n".encode("utf-16"), "1:1", "not UTF-8: byte 0xff", id="UTF-16"),
        pytest.param("a:\n\tb: 1\n", "2:1", "a tab: write spaces", id="tab"),
        pytest.param("a:\tb\n", "1:3", "a tab: write spaces", id="inner tab"),
        pytest.param('a: "b\\tc"\n', "1:4", "a tab: write spaces", id="escaped tab"),
        pytest.param("a: b\x07\n", "1:5", "a character that is not allowed: U+0007", id="control character"),
        pytest.param('a: "\\e[31m"\n', "1:4", "a character that is not allowed: U+001B", id="escaped control"),
        pytest.param("a: b\u202ec\n", "1:5", "a character that is not allowed: U+202E", id="bidi mark"),
        pytest.param('a: "\\u2066"\n', "1:4", "a character that is not allowed: U+2066", id="escaped bidi mark"),
        pytest.param('a: "\\ud800"\n', "1:7", "not YAML: found invalid Unicode character", id="lone surrogate"),
        pytest.param("# \u2028\na: 1\n", "1:3", "a character that is not allowed: U+2028", id="line separator"),
        pytest.param("a: 1\nb: 2\na: 3\n", "3:1", "duplicate key 'a', first on line 1", id="duplicate key"),
        pytest.param("a: [{b: 1, 'b': 2}]\n", "1:12", "duplicate key 'b', first on line 1", id="duplicate inside"),
        pytest.param("1: a\n", "1:1", "a key that is not a word", id="number as key"),
        pytest.param("? [a]\n: 1\n", "1:3", "a key that is not a word", id="list as key"),
        pytest.param(": 1\n", "1:1", "not YAML: did not find expected key", id="no key"),
        pytest.param("a: &x 1\n", "1:4", "an anchor", id="anchor"),
        pytest.param("a: *x\n", "1:4", "an alias", id="alias"),
        pytest.param("*x : 1\n", "1:1", "an alias", id="alias as key"),
        pytest.param("a: &x {<<: *x}\n", "1:4", "an anchor", id="recursion"),
        pytest.param(ALIAS_BOMB, "1:4", "an anchor", id="alias bomb"),
        pytest.param("a: !!python/object/apply:os.system [x]\n", "1:4", "a tag", id="python tag"),
        pytest.param("a: !!str 1\n", "1:4", "a tag", id="harmless tag"),
        pytest.param("a: !x 1\n", "1:4", "a tag", id="local tag"),
        pytest.param("a: ! 1\n", "1:4", "a tag", id="empty tag"),
        pytest.param("!!map\na: 1\n", "1:1", "a tag", id="tag of the root"),
        pytest.param("a: !e!x 1\n", "1:4", "not YAML: found undefined tag handle", id="unknown handle"),
        pytest.param("a: 1\n---\nb: 2\n", "2:1", "a second document", id="two documents"),
        pytest.param(
            "a: 1\n...\nb: 2\n",
            "3:1",
            "not YAML: did not find expected <document",
            id="two without marker",
        ),
        pytest.param(f"a: {'1' * 19}\n", "1:4", "an integer of more than 18 digits", id="long number"),
        pytest.param(f"a: {'1' * 9000}\n", "1:4", "an integer of more than 18 digits", id="very long number"),
        pytest.param("a: " + "[" * 40 + "]" * 40, f"1:{MAX_DEPTH + 3}", "nested more than 32 deep", id="depth"),
        pytest.param("- " * 40 + "a", f"1:{2 * MAX_DEPTH + 1}", "nested more than 32 deep", id="block depth"),
        pytest.param(b"#" * (MAX_BYTES + 1), "1:1", f"larger than {MAX_BYTES} bytes", id="size"),
    ],
)
def test_a_planted_fault_is_found_where_it_is(reading: Reading, content: str | bytes, where: str, message: str) -> None:
    (fault,) = reading(content).faults
    assert f"{fault.line}:{fault.column}" == where
    assert message in fault.message
    assert "\n" not in fault.message
    assert fault.file == "file.yaml"


def test_the_first_of_two_values_stays_and_the_rest_is_read(reading: Reading) -> None:
    document = reading("a: 1\na: 2\nb: 3\nb: 4\n")
    assert document.data == {"a": 1, "b": 3}
    assert [fault.line for fault in document.faults] == [2, 4]


def test_a_file_that_cannot_be_read_to_its_end_has_no_data(reading: Reading) -> None:
    assert reading("a: 1\na: 2\nb: *x\nc: 3\nc: 4\n").data is None
    assert [fault.line for fault in reading("a: 1\na: 2\nb: *x\nc: 3\nc: 4\n").faults] == [2, 3]


@pytest.mark.parametrize(
    "content",
    [
        ALIAS_BOMB,
        "[" * MAX_BYTES,
        "{" * MAX_BYTES,
        "a: " * (MAX_BYTES // 3),
        "- " * (MAX_BYTES // 2),
        "? " * (MAX_BYTES // 2),
        "".join(" " * depth + "a:\n" for depth in range(1000)),
        "&" * MAX_BYTES,
        "!" * MAX_BYTES,
    ],
    ids=lambda content: content[:4],
)
def test_a_hostile_file_is_refused_at_once(reading: Reading, content: str | bytes) -> None:
    started = time.process_time()
    document = reading(content)
    assert len(document.faults) == 1
    assert time.process_time() - started < 5


def test_a_build_without_libyaml_is_refused_with_a_command() -> None:
    code = "import yaml; yaml.__with_libyaml__ = False; import conformance.table.yaml_document"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: PyYAML was built without libyaml; install a wheel: pip install" in done.stderr


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    unreadable = {
        tmp_path / "none.yaml": "cannot be read: No such file or directory",
        tmp_path: "not a file",
        tmp_path / "pipe.yaml": "not a file",
        Path("a\0b"): "cannot be read: embedded null byte",
        tmp_path / ("x" * 5000): "cannot be read: File name too long",
    }
    for path, message in unreadable.items():
        assert read(path).faults == (Fault(str(path), 1, 1, message),)


def test_faults_are_sorted_by_place_with_one_line_each() -> None:
    faults = [Fault("b", 1, 1, "x"), Fault("a", 10, 1, "x"), Fault("a", 9, 12, "x"), Fault("a", 9, 2, "x")]
    error = DocumentError(sorted(faults))
    assert str(error) == "a:9:2: x\na:9:12: x\na:10:1: x\nb:1:1: x"
    assert error.faults == tuple(sorted(faults))
    assert isinstance(error, ValueError)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    # ASCII alone: JSON may escape a character as two surrogates, which YAML reads as two characters.
    | st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(st.sampled_from("abc"), JSON, min_size=1))
@settings(max_examples=100, deadline=None)
def test_json_is_read_as_json(data: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "json.yaml"
    for separators in ((", ", ": "), (",", ":")):
        path.write_text(json.dumps(data, separators=separators), encoding="utf-8")
        document = read(path)
        assert document.data == data
        assert document.faults == ()


@given(
    data=st.dictionaries(
        st.sampled_from("abc"),
        JSON | st.sampled_from(["no", "0o17", "1e-6", "1" * 19, ".inf", "~", "", "2024-01-01", "=", "a: b", "-"]),
        min_size=1,
    ),
    flow=st.sampled_from([None, True, False]),
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_again(
    data: dict[str, object], flow: bool | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(dump({"first": data, "again": data}, flow=flow), encoding="utf-8")
    document = read(path)
    assert document.data == {"first": data, "again": data}
    assert document.faults == ()


#: YAML that libyaml does not read as YAML 1.1 has it, or that a parser may place elsewhere.
EDGES = {
    "a: {'b':c}\n": {"a": {"b": "c"}},
    'a: {"b":[1]}\n': {"a": {"b": [1]}},
    "a: |\n\n  x\n": {"a": "\nx\n"},
    "a:\nb:\n- \n- 1\n": {"a": None, "b": [None, 1]},
    "a: [no, 1:30, 0777]\n": {"a": ["no", "1:30", 777]},
    'a: "\\/"\n': {"a": "/"},
    "a: {b: http://c}\n": {"a": {"b": "http://c"}},
}


@pytest.mark.parametrize("text", EDGES)
def test_edges_of_yaml_1_2(reading: Reading, text: str) -> None:
    document = reading(text)
    assert document.data == EDGES[text]
    assert document.faults == ()


YAML_TEXT = st.lists(
    st.sampled_from(
        [
            "a",
            "b",
            "c",
            "1",
            "0",
            "é",
            "\n",
            "-1.5",
            "null",
            "input_shape",
            "units",
            "rows",
            "[",
            "]",
            "{",
            "}",
            "'",
            '"',
            "|\n",
            ">-\n",
            "\\n",
            "\n-",
        ]
    )
    | st.sampled_from(
        [" ", "\n  ", "\n- ", ": ", ", ", "# ", "? ", "&a ", "*a", "!t ", "---\n", "...\n", "%YAML 1.2\n"]
    ),
    max_size=40,
).map("".join)


@pytest.mark.integration
@given(content=YAML_TEXT.map(str.encode) | st.text().map(str.encode) | st.binary())
@settings(max_examples=300, deadline=None)
def test_any_file_gives_data_or_faults(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    document = read(path)
    assert document.faults or document.data is not None
    for fault in document.faults:
        assert fault.line >= 1
        assert fault.column >= 1
        assert str(fault).isprintable()
