"""Whatever a results file holds, every command reads it or refuses it in a line; the long search is `make fuzz`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.results_files import COMMANDS, SAMPLE, WHOLE, answer, search, wrong

#: Commands that have to refuse a file that is not sound; a page shows what it can, a history passes a file over.
STRICT = [each for each in COMMANDS if not each.startswith(("history", "report --history", "nightly", "merge of"))]


def test_changed_files_are_read_or_refused_in_a_line() -> None:
    assert search(200, 0, sparing=True) == []


def test_changed_files_are_read_or_refused_by_processes() -> None:
    """Two: in this process every command is asked, and fifty processes are in `make fuzz`."""
    assert search(0, 2, first=1000) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_file_that_is_changed_is_read(command: str, tmp_path: Path) -> None:
    if command == "merge of a merge":
        assert answer("merge", tmp_path, WHOLE) == ""
    assert answer(command, tmp_path, WHOLE) == ""


def test_what_is_counted_as_an_answer_is_a_line_and_an_exit_code_that_may_be() -> None:
    """Planted: answers that are none."""
    assert wrong("diff", 1, "worse\n", "") == wrong("diff", 2, "", "error: results.jsonl:1: no\n") == ""
    for planted in ((3, "", ""), (2, "", ""), (2, "", "error: a\nb\n"), (2, "", "no\n"), (0, "\x1b[2J", "")):
        assert wrong("diff", *planted)


def with_cell(index: int, **more: Any) -> bytes:
    """Return the sample with other fields in one of its records."""
    records = [{**each, **more} if number == index else each for number, each in enumerate(SAMPLE)]
    return "".join(json.dumps(each) + "\n" for each in records).encode()


@pytest.mark.parametrize("command", ["diff", "diff --format json", "triage", "badge", "reproduce", "merge"])
def test_an_outcome_that_is_none_is_refused_with_its_line(
    command: str, tmp_path: Path, error_of: Callable[[str, Path, bytes], str]
) -> None:
    """It could be worse than any that is known: a command that goes on would say that all is well."""
    content = with_cell(3, outcome="exploded")
    assert "results.jsonl:4: not a record of a results file: outcome: " in error_of(command, tmp_path, content)


@pytest.mark.parametrize("command", [each for each in STRICT if "run" not in each and "--against" not in each])
def test_a_file_of_the_table_is_distinguished_from_a_results_file(
    command: str, tmp_path: Path, error_of: Callable[[str, Path, bytes], str]
) -> None:
    text = error_of(command, tmp_path, b"rows:\n  - {input_shape: [3], units: 4}\n")
    assert text.endswith("results.jsonl:1: not a results file; `conformance run` writes one\n")


@pytest.fixture
def error_of() -> Callable[[str, Path, bytes], str]:
    """Return what a command that refuses a file says on stderr."""
    from click.testing import CliRunner

    from conformance.commands.cli import main
    from tools.results_files import words

    def refused(command: str, folder: Path, content: bytes) -> str:
        done = CliRunner().invoke(main, words(command, folder, content))
        assert done.exit_code == 2, done.output
        return done.stderr

    return refused


def test_a_script_is_written_again_and_the_script_of_a_file_is_never_printed(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from conformance.commands.cli import main
    from tools.results_files import words

    checks = [{**SAMPLE[3]["checks"][0], "step": "output"}]
    content = with_cell(3, checks=checks, reproduce="import os\nos.abort()  # \x1b[2J\n")
    done = CliRunner().invoke(main, words("reproduce", tmp_path, content))
    assert done.exit_code == 0, done.output
    assert "abort" not in done.stdout
    assert "import numpy as np" in done.stdout
    for planted in (["0]); import os; os.abort(); (y[0"], "0"):
        content = with_cell(3, checks=[{**SAMPLE[3]["checks"][0], "worst": planted}])
        assert CliRunner().invoke(main, words("reproduce", tmp_path, content)).exit_code == 2


def test_of_several_draws_the_script_is_that_of_the_failing_draw(tmp_path: Path) -> None:
    from conformance.run.reproduce import NotReproducible
    from conformance.run.reproduce.recorded_cells import reproduce

    file = tmp_path / "results.jsonl"
    file.write_bytes(WHOLE)
    script = reproduce("numpy/b", file)
    several = {**SAMPLE[0], "selection": {"draws": 3}}
    for stored, shows in ((script, True), ("import os\n", False)):
        records = [several, {**SAMPLE[3], "reproduce": stored}]
        file.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
        if shows:
            assert reproduce("numpy/b", file) == script
        else:
            with pytest.raises(NotReproducible, match="has 3 draws"):
                reproduce("numpy/b", file)
