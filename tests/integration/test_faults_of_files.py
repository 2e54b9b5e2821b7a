"""A results file that is cut, bad, too new or something else altogether: each command says so in a line or reads on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.commands.cli import main
from tests.support.runs import EXACT

HEADER = {
    "type": "header",
    "schema": 1,
    "started": "2026-01-02T03:04:05Z",
    "distributions": {"numpy": "2.0"},
    "platform": {"system": "Linux"},
    "selection": {"implementations": [EXACT], "draws": 1},
    "cells": 3,
}
IMPLEMENTATION = {"type": "implementation", "implementation": EXACT, "versions": {"numpy": "2.0"}, "devices": ["cpu"]}
CHECK = {"check": "output", "outcome": "violates", "message": "output[0, 0] = 2.0, expected 1.0 \u00fc", "margin": 2.5}
QUESTION = {
    "input_shape": [4],
    "units": [3],
    "activation": ["linear"],
    "use_bias": [True],
    "dtype": "float32",
    "batch": 2,
    "lane": "exact",
    "layout": "contiguous",
    "feed_shape": None,
    "error": False,
}


def cell(case: str, outcome: str) -> dict[str, object]:
    checks = [CHECK] if outcome == "violates" else []
    named = {"type": "cell", "case": case, "implementation": EXACT, "device": "cpu", "outcome": outcome}
    return {**named, "checks": checks, "seconds": 0.1, "row": "rows.yaml:1", "question": QUESTION}


LINES = [
    *(HEADER, IMPLEMENTATION, cell("a", "conforms"), cell("b", "violates"), cell("c", "conforms")),
    {"type": "footer", "counts": {"conforms": 2, "violates": 1}, "complete": True, "seconds": 1.0},
]
WHOLE = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in LINES).encode()
HEAD = WHOLE.index(b"\n")
#: What somebody may ask of a results file, and the exit codes it may have where the file is read.
COMMANDS = {
    "report": (["report", "{file}", "-o", "{folder}/page.html"], {0}),
    "diff": (["diff", "{whole}", "{file}"], {0, 1}),
    "diff the other way": (["diff", "{file}", "{whole}"], {0, 1}),
    "triage": (["triage", "{file}"], {0}),
    "badge": (["badge", "{file}", "-o", "{folder}/badges"], {0}),
    # 2 where the cell is not in the part that is left.
    "reproduce": (["reproduce", f"{EXACT}/b", "{file}"], {0, 2}),
    "history": (["history", "{nights}"], {0}),
}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.jsonl"
    path.write_bytes(WHOLE)
    return path


def run_command(command: str, folder: Path, content: bytes, name: str = "results.jsonl") -> tuple[Result, set[int]]:
    """Return what a command says of a file with this content, and the exit codes it may have where that is read."""
    words, codes = COMMANDS[command]
    nights = folder / "nights"
    nights.mkdir(exist_ok=True)
    file = nights / name
    file.write_bytes(content)
    places = {"file": file, "folder": folder, "nights": nights, "whole": folder / "whole.jsonl"}
    done = CliRunner().invoke(main, [each.format(**places) for each in words])
    # Not even `SystemExit` in another form: what is raised would be a traceback.
    assert done.exception is None or isinstance(done.exception, SystemExit), (command, done.exception)
    return done, codes


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes(whole: Path, command: str) -> None:
    """At some places of each line, within characters and before and after its end."""
    ends = {HEAD, HEAD + 1, len(WHOLE) - 1, WHOLE.index("\u00fc".encode()) + 1, *range(HEAD + 9, len(WHOLE), 211)}
    for end in sorted(ends):
        done, codes = run_command(command, whole.parent, WHOLE[:end])
        assert done.exit_code in codes, (end, done.output)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "history"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "results.jsonl:1: not a results file; `conformance run` writes one", id="empty"),
        pytest.param(
            WHOLE[: HEAD // 2],
            "results.jsonl:1: not a results file; `conformance run` writes one",
            id="cut in the header",
        ),
        pytest.param(WHOLE[:HEAD] + b"\n{bad\n" + WHOLE[HEAD + 1 :], "results.jsonl:2: not JSON", id="bad line"),
        pytest.param(WHOLE + b"\xff\n" + WHOLE, "results.jsonl:7: not UTF-8", id="not text"),
        pytest.param(b'{"type": "header", "schema": 2}\n', "results.jsonl:1: schema 2, but this version", id="newer"),
        pytest.param(
            b'{"name": "a", "version": 1}\n' * 3,
            "results.jsonl:1: not a results file; `conformance run`",
            id="another project's",
        ),
        pytest.param(
            b"<testsuites></testsuites>\n" * 2,
            "results.jsonl:1: not a results file; `conformance run`",
            id="another format",
        ),
        pytest.param(b"\0" * 10_000, "results.jsonl:1: not a results file; `conformance run` writes one", id="zeros"),
    ],
)
def test_an_invalid_results_file_is_an_error_in_one_line(
    whole: Path, command: str, content: bytes, message: str
) -> None:
    done, _ = run_command(command, whole.parent, content)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "history"])
def test_a_truncated_packed_file_is_an_error_in_one_line(whole: Path, command: str) -> None:
    done, _ = run_command(command, whole.parent, gzip.compress(WHOLE)[:-40], "results.jsonl.gz")
    assert done.exit_code == 2
    assert "results.jsonl.gz: cannot be unpacked" in done.output


@pytest.mark.parametrize(
    "wrong",
    [
        '{"type": "cell"}',
        '{"type": "cell", "case": 1, "implementation": null, "device": [], "outcome": "?", "checks": {}}',
        '{"type": "cell", "case": "a", "implementation": "b", "device": "c", "outcome": "violates", "checks": [1]}',
        '{"type": "cell", "case": "a", "implementation": "b", "device": "c", "outcome": "violates", "checks": [{}]}',
        '{"type": "implementation"}',
        '{"type": "footer", "complete": "yes", "counts": []}',
        '{"type": "header", "schema": 1, "cells": "many"}',
    ],
)
def test_an_incomplete_record_is_an_error_in_one_line_or_skipped(whole: Path, wrong: str) -> None:
    lines = WHOLE.decode().splitlines()
    content = "\n".join([wrong, *lines[1:]] if "header" in wrong else [*lines[:3], wrong, *lines[3:]]) + "\n"
    for command in COMMANDS:
        done, codes = run_command(command, whole.parent, content.encode())
        assert done.exit_code in codes | {2}, (command, done.output)


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"units": 3},
        {**QUESTION, "units": "os.abort()"},
        {**QUESTION, "activation": ["relu'); import os; os.abort() #"]},
        {**QUESTION, "dtype": "float32'); os.abort() #"},
        {**QUESTION, "input_shape": [-1]},
        {**QUESTION, "batch": {}},
        {**QUESTION, "environment": {"PATH": "/tmp"}},
        {**QUESTION, "input_shape": [2**40], "lane": "uniform"},
        {**QUESTION, "lane": "literal", "data": {"x": "os.abort()"}},
    ],
)
def test_a_question_of_no_row_makes_no_script(whole: Path, question: dict[str, object]) -> None:
    record = {**cell("b", "violates"), "question": question, "implementation": "torch"}
    whole.write_text(f"{json.dumps(HEADER)}\n{json.dumps(record)}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["reproduce", "torch/b", str(whole)])
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    places = ("the question of torch/b is invalid: ", "whole.jsonl:2: not a record of a results file: question.")
    assert any(each in done.output for each in places)


def test_nights_that_are_no_results_files_do_not_hide_those_that_are(whole: Path) -> None:
    nights = whole.parent / "nights"
    nights.mkdir()
    (nights / "0-empty.jsonl").write_bytes(b"")
    (nights / "1-bad.jsonl").write_bytes(b"{bad\n" * 3)
    (nights / "2-newer.jsonl").write_bytes(b'{"type": "header", "schema": 2, "cells": 0}\n')
    (nights / "3-other.jsonl").write_bytes(b'{"name": "a"}\n')
    (nights / "4-packed.jsonl.gz").write_bytes(gzip.compress(WHOLE)[:-40])
    done, _ = run_command("history", whole.parent, WHOLE, "5-good.jsonl")
    assert done.exit_code == 0, done.output
    for name in ("0-empty", "1-bad", "2-newer", "3-other", "4-packed"):
        assert name in done.output
