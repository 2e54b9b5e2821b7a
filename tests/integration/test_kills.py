"""A run that is killed at any moment leaves a results file that reads; fifty kills are in `make fuzz`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tools.kills import EARLIER, judged, kill, started


@pytest.mark.parametrize("seed", [3, 6])
def test_whatever_is_killed_the_file_reads(seed: int, tmp_path: Path) -> None:
    assert kill(seed, tmp_path, 8.0)[1] == ""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_that_is_killed_as_it_starts_ends_the_run_in_a_line(tmp_path: Path) -> None:
    """Before any cell ran, and without a trace in the earlier file."""
    with started(tmp_path) as process:
        run = psutil.Process(process.pid)
        until(run.children)
        run.children()[0].kill()
        said, _ = process.communicate()
    assert (process.returncode, "Traceback" in said) == (2, False), said
    assert "a worker ended during its start" in said
    assert judged(tmp_path / "out" / "results.jsonl", said, 2) == ("the earlier file", "")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_before_its_header_leaves_the_earlier_file(sent: signal.Signals, tmp_path: Path) -> None:
    part = tmp_path / "out" / ".results.jsonl.part"
    with started(tmp_path) as process:
        until(part.exists)
        os.killpg(process.pid, sent)
        said, _ = process.communicate()
    assert process.returncode == (2 if sent == signal.SIGINT else -signal.SIGKILL), said
    assert (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8") == EARLIER
    # An interrupt in the very call that makes the part may leave it, as a kill does.
    assert part.exists() or sent == signal.SIGINT
    assert not (tmp_path / "out" / "index.html").exists()
    with started(tmp_path) as process:  # and what is left is in nobody's way
        process.communicate()
    assert (process.returncode, part.exists()) == (0, False)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", 0),
        ('{"type": "header", "schema": 1, "cells": 3}\n{"type": "footer", "complete": true, "seconds": 1}\n', 2),
        ('{"type": "header", "schema": 1, "cells": 3}\n', 0),
        (EARLIER, 0),
    ],
)
def test_an_end_that_is_wrong_is_found(content: str, code: int, tmp_path: Path) -> None:
    """Planted: an empty file, a footer that says too much, a good exit code of a run that was broken off."""
    (tmp_path / "results.jsonl").write_text(content, encoding="utf-8")
    assert judged(tmp_path / "results.jsonl", "", code)[1]
