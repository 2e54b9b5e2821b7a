"""
Folders in which nothing can be kept, or in which another run is at work: a line that says so, and no half of a file.

What permissions forbid does not hold for root, so folders are taken in which not even root can write.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

import pytest

from conformance.results import read
from conformance.results.locked_file import OutputError, ResultsFile
from conformance.results.record import HeaderRecord
from conformance.sandbox.sandbox import Sandbox
from tests.support.questions import implementation, pids
from tests.support.records import cell_record
from tests.support.runs import EXACT, UNRULY, arguments, cells, conformance, environment, outcomes, table
from tests.support.unruly_adapter import units

ROW = table({"input_shape": [2], "units": 3, "values": "exact"})
WAITING = table(
    {"id": "first", "input_shape": [2], "units": 3, "values": "exact"},
    {"id": "second", "input_shape": [2], "units": units("wait_to_be_ended"), "values": "exact"},
)
HEADER = '{"type": "header", "schema": 1, "cells": 1}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.yaml").write_text(ROW, encoding="utf-8")
    return tmp_path


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    """Hold a command to exit code 2 and one line."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr


@pytest.mark.parametrize("output", ["/proc/out", "rows.yaml/out"])
def test_a_read_only_folder_is_an_error_before_cells_run(folder: Path, output: str) -> None:
    done = conformance("run", "rows.yaml", f"-i{EXACT}", "-n", "0", "-o", output, cwd=folder)
    refused(done, f"error: {output}/results.jsonl: ")


@pytest.mark.parametrize("home", [None, "/nowhere/at/all"])
def test_neither_home_nor_the_folder_a_run_is_called_in_need_be_writable(folder: Path, home: str | None) -> None:
    words = ("run", folder / "rows.yaml", f"-i{EXACT}", "-n", "0", "-o", folder / "out")
    done = conformance(*words, cwd=Path("/sys"), HOME=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(outcomes(folder / "out" / "results.jsonl").values()) == {"conforms"}
    assert not Path("/nowhere").exists()


def test_a_page_or_junit_file_that_cannot_be_written_is_an_error_and_the_results_stay(folder: Path) -> None:
    (folder / "out" / "index.html").mkdir(parents=True)
    words = ("run", "rows.yaml", f"-i{EXACT}", "-n", "0", "-o")
    refused(conformance(*words, "out", cwd=folder), "error: [Errno 21] Is a directory: ")
    assert read(folder / "out" / "results.jsonl").complete
    assert sorted(each.name for each in (folder / "out").iterdir()) == ["index.html", "results.jsonl"]
    refused(conformance(*words, "other", "--junit-xml", "/proc/junit.xml", cwd=folder), "/proc/junit.xml")
    assert read(folder / "other" / "results.jsonl").complete


def test_a_full_disk_under_the_page_leaves_the_page_that_was_there(folder: Path) -> None:
    (folder / "results.jsonl").write_text(HEADER, encoding="utf-8")
    (folder / "page.html").write_text("the page before", encoding="utf-8")
    done = subprocess.run(
        arguments("report", "results.jsonl", "-o", "page.html"),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    refused(done, "File too large")
    assert (folder / "page.html").read_text(encoding="utf-8") == "the page before"
    assert sorted(each.name for each in folder.iterdir()) == ["page.html", "results.jsonl", "rows.yaml"]


def test_a_missing_home_is_no_fault_of_a_framework(folder: Path) -> None:
    """JAX keeps what it compiled, and Keras reads its settings."""
    words = ("run", "rows.yaml", "-ikeras-jax", "-n", "0", "-o", "out")
    done = conformance(*words, cwd=folder, HOME="/dev/null/home", XDG_CACHE_HOME=None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(outcomes(folder / "out" / "results.jsonl").values()) == {"conforms"}


def test_a_removed_temporary_folder_is_reported_in_each_cell_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "vanishing.py").write_text(
        "import pathlib, shutil\nfrom tests.support.unruly_adapter import Unruly\n"
        f"def Adapter():\n    loaded = pathlib.Path({str(tmp_path / 'loaded')!r})\n"
        # An adapter is loaded once before anything runs.
        f"    if loaded.exists():\n        shutil.rmtree({str(tmp_path / 'gone')!r})\n"
        "    loaded.touch()\n    return Unruly()\n",
        encoding="utf-8",
    )
    cells_asked = [{"input_shape": [2], "units": number, "values": "exact"} for number in (3, units("abort"), 4, 5)]
    (tmp_path / "rows.yaml").write_text(table(*cells_asked), encoding="utf-8")
    words = ("run", "rows.yaml", "-ivanishing:Adapter", f"-i{EXACT}", "-n", "0", "-o", "out")
    done = conformance(*words, cwd=tmp_path, TMPDIR=str(tmp_path / "gone"))
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    found = cells(tmp_path / "out" / "results.jsonl")
    assert [each["outcome"] for each in found] == ["conforms", *["crashed"] * 7]
    assert found[1]["reason"].startswith("output: SIGABRT")
    assert all("no process could be started: [Errno 2]" in each["reason"] for each in found[2:])
    assert read(tmp_path / "out" / "results.jsonl").complete


def test_output_of_a_framework_needs_no_disk() -> None:
    with Sandbox(implementation()) as sandbox:
        (pid,) = pids(sandbox)
        assert {str(Path(f"/proc/{pid}/fd/{each}").readlink()) for each in (1, 2)} == {"/memfd:log (deleted)"}


def test_a_second_run_in_a_folder_reports_the_first_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(WAITING, encoding="utf-8")
    words = arguments("run", "rows.yaml", f"-i{UNRULY}", "-n", "0", "-o", "out")
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 60
        while not (tmp_path / "reached").exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = (tmp_path / "out" / "results.jsonl").read_bytes()
        done = conformance("run", "rows.yaml", f"-i{EXACT}", "-n", "0", "-o", "out", cwd=tmp_path)
        refused(done, f"out/results.jsonl: another run, process {first.pid}, is writing it")
        assert (tmp_path / "out" / "results.jsonl").read_bytes() == before
        first.kill()
    assert before.count(b"\n") == 3, "header, implementation, cell"
    # What held the file is gone with its process.
    ResultsFile.open(tmp_path / "out" / "results.jsonl").close()
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_a_results_file_is_one_runs_alone_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    first = ResultsFile.open(path)
    first.header(HeaderRecord(cells=1))
    with pytest.raises(OutputError, match=f"another run, process {os.getpid()}, is writing it; name another folder"):
        ResultsFile.open(path)
    first.cell(cell_record({}))
    first.close()
    assert len(read(path).cells) == 1
    ResultsFile.open(path).close()
    assert len(read(path).cells) == 1, "what has no header yet is beside it"
    second = ResultsFile.open(path)
    with pytest.raises(OutputError, match="another run"):
        ResultsFile.open(path)
    second.header(HeaderRecord(cells=2))
    assert (read(path).header.cells, [each.name for each in path.parent.iterdir()]) == (2, ["results.jsonl"])
    second.close()
    shared = [ResultsFile.open(Path("/dev/null")) for _ in range(2)]
    for each in shared:
        each.header(HeaderRecord(cells=1))
        each.close()
