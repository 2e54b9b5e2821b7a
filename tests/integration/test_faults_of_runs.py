"""
A run that is killed, stopped or has no room, in whole runs: nothing is left behind, and what was written is readable.

The processes of a run are found by a variable that all of them inherit.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from conformance.results import read
from tests.support.runs import EXACT, UNRULY, arguments, cells, conformance, environment, outcomes, table
from tests.support.unruly_adapter import units

MARK = "TEST_OF_A_RUN"


def rows(*misdeeds: str, honest: int = 3) -> str:
    """Return rows with misdeeds after the first honest one."""
    every = [
        {"id": f"honest{number}", "input_shape": [2], "units": number, "values": "exact"} for number in range(honest)
    ]
    named = [{"id": name, "input_shape": [2], "units": units(name), "values": "exact"} for name in misdeeds]
    return table(every[0], *named, *every[1:])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.yaml").write_text(rows(), encoding="utf-8")
    return tmp_path


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a run that waits in one of its cells, and return when it is there; at the end nothing of it is left."""
    mark = f"{os.getpid()}-{tmp_path.name}"

    def start(*options: str) -> subprocess.Popen[str]:
        (tmp_path / "rows.yaml").write_text(rows("wait_to_be_ended"), encoding="utf-8")
        process = subprocess.Popen(
            arguments("run", "rows.yaml", f"-i{UNRULY}", "-o", "out", *options),
            cwd=tmp_path,
            env=environment(**{MARK: mark}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert until((tmp_path / "reached").exists, 60), process.communicate()
        assert until(lambda: len(cells(tmp_path / "out" / "results.jsonl")) >= 1, 60)
        assert marked(mark)
        return process

    yield start
    assert until(lambda: not marked(mark), 30), marked(mark)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so, and return whether it came to be."""
    deadline = time.monotonic() + seconds
    while not (so := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return so


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes of a run that are there, zombies aside."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get(MARK) == mark and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.Error:
            continue
    return found


def reported(folder: Path) -> str:
    """Return what the page says that is written from the results left behind."""
    done = conformance("report", "out/results.jsonl", "-o", "page.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    return (folder / "page.html").read_text(encoding="utf-8")


def test_a_worker_that_is_killed_costs_its_cell_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(rows("kill_the_worker_once", honest=12), encoding="utf-8")
    done = conformance("run", "rows.yaml", f"-i{UNRULY}", f"-i{EXACT}", "-n", "2", "-o", "out", cwd=tmp_path)
    found = outcomes(tmp_path / "out" / "results.jsonl")
    assert len(found) == 26
    killed = f"{UNRULY}/kill_the_worker_once-exact"
    assert {name: outcome for name, outcome in found.items() if outcome != "conforms"} == {killed: "crashed"}
    (record,) = (each for each in cells(tmp_path / "out" / "results.jsonl") if each["outcome"] == "crashed")
    assert re.search("worker 'gw[0-9]+' crashed", record["reason"])
    assert read(tmp_path / "out" / "results.jsonl").complete
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_is_killed_leaves_no_process_and_a_file_that_reads(
    folder: Path, started: Callable[..., subprocess.Popen[str]], workers: str
) -> None:
    process = started("-n", workers)
    process.kill()
    process.communicate()
    found = read(folder / "out" / "results.jsonl")
    assert found.footer is None
    # Of two workers, the other one goes on.
    ended = found.counts["conforms"]
    assert ended == 1 if workers == "0" else 1 <= ended <= 3
    assert found.counts["not_run"] == found.header.cells - ended == 4 - ended
    assert "broken off" in reported(folder)


def test_ctrl_c_ends_a_run_and_all_it_started(folder: Path, started: Callable[..., subprocess.Popen[str]]) -> None:
    """With workers; without them `tests/integration/test_plugin.py` does it."""
    process = started("-n", "2")
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    found = read(folder / "out" / "results.jsonl")
    assert not found.complete
    ended = found.counts["conforms"]
    assert 1 <= ended <= 3
    assert found.counts == {**dict.fromkeys(found.counts, 0), "conforms": ended, "not_run": 4 - ended}
    assert "broken off" in (folder / "out" / "index.html").read_text(encoding="utf-8")


def limited(kibibytes: int) -> Callable[[], None]:
    """Return what makes files of a process no larger than that, as a disk would that has no more room."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kibibytes * 1024,) * 2)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_full_disk_under_the_results_ends_the_run_in_a_line(tmp_path: Path, workers: str) -> None:
    (tmp_path / "rows.yaml").write_text(rows(honest=60), encoding="utf-8")
    done = subprocess.run(
        arguments("run", "rows.yaml", f"-i{EXACT}", "-n", workers, "-o", "out"),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited(40),
    )
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "out/results.jsonl: File too large" in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    found = read(tmp_path / "out" / "results.jsonl")
    assert found.footer is None
    assert 5 < found.counts["conforms"] < 60
    assert found.counts["not_run"] + found.counts["conforms"] == 60
    assert "broken off" in reported(tmp_path)


def test_a_full_device_is_an_error_at_once(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "results.jsonl").symlink_to("/dev/full")
    done = conformance("run", "rows.yaml", f"-i{EXACT}", "-n", "0", "-o", "out", cwd=folder)
    assert done.returncode == 2, done.stdout
    assert "out/results.jsonl: No space left on device" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
