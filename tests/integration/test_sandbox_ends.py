"""How a process ends: crashes, time limits, memory, and its output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from conformance.sandbox.output_log import STDERR_LARGEST, STDERR_TAIL
from conformance.sandbox.sandbox import Limits, Sandbox
from conformance.sandbox.steps import (
    Transcript,
)
from tests.support.questions import HONEST, MIB, implementation, misdeed, pids


@pytest.mark.parametrize(
    ("name", "reason", "stderr"),
    [
        ("abort", "SIGABRT", "misbehaving_adapter.py"),
        ("segfault", "SIGSEGV", "Segmentation fault"),
        ("shoot_itself", "SIGKILL", ""),
        ("vanish", "exit status 0 without an answer", ""),
        ("leave", "exit status 3 without an answer", ""),
        ("leave_a_fork", "exit status 0 without an answer", ""),
        ("speak_garbage", "unexpected message: b'Hello, I am a library", ""),
        ("speak_large_numbers", "unexpected message: a message whose lengths do not add up", ""),
    ],
)
def test_end_of_the_process_is_the_outcome_of_one_step(shared: Sandbox, name: str, reason: str, stderr: str) -> None:
    transcript = shared.run_steps(misdeed(name))
    assert list(transcript.replies) == ["build", "shapes"]
    assert transcript.crash is not None
    assert transcript.crash.label == "misdeed"
    assert transcript.crash.reason.startswith(reason)
    assert stderr in transcript.crash.stderr
    assert not transcript.timed_out
    assert shared.run_steps(HONEST).crash is None, "the next question has a fresh process"


def test_output_before_a_crash_is_reported(shared: Sandbox) -> None:
    crash = shared.run_steps(misdeed("abort")).crash
    assert crash is not None
    assert crash.stderr.startswith("about to abort\n"), "standard output, not buffered"


@pytest.mark.parametrize("name", ["spin", "spin_in_regex", "spin_in_pow"])
def test_a_busy_process_ends_when_its_cpu_time_is_spent(sandboxed: Callable[..., Sandbox], name: str) -> None:
    sandbox = sandboxed(question=0.3)
    transcript = sandbox.run_steps(misdeed(name))
    assert ended_in_misdeed(transcript) == "no answer within 0.3 s of CPU time; allow more with --deadline 0.6"
    assert transcript.timed_out
    assert transcript.crash is not None
    assert name in transcript.crash.stderr, "the stack says where it was"


def test_cpu_time_of_descendants_counts(sandboxed: Callable[..., Sandbox]) -> None:
    transcript = sandboxed(question=0.3).run_steps(misdeed("wait_for_a_busy_child"))
    assert ended_in_misdeed(transcript) == "no answer within 0.3 s of CPU time; allow more with --deadline 0.6"
    assert transcript.timed_out


def test_each_thread_has_the_cpu_time_of_a_deadline() -> None:
    with Sandbox(implementation(), limits=Limits(question=0.2), threads=3) as sandbox:
        transcript = sandbox.run_steps(misdeed("spin"))
    reason = "no answer within 0.6 s of CPU time (0.2 s for each of 3 threads); allow more with --deadline 0.4"
    assert ended_in_misdeed(transcript) == reason


@pytest.mark.parametrize("name", ["sleep", "speak_half_a_header"])
def test_a_process_that_gains_no_cpu_time_hangs(sandboxed: Callable[..., Sandbox], name: str) -> None:
    sandbox = sandboxed(hang=0.5)
    transcript = sandbox.run_steps(misdeed(name))
    reason = r"hangs: gained 0\.0\d s of CPU time in 0\.5 s; allow more with --hang 1"
    assert re.fullmatch(reason, ended_in_misdeed(transcript))
    assert transcript.timed_out
    assert transcript.crash is not None
    assert name in transcript.crash.stderr, "the stack says where it was"


def test_a_process_that_closes_its_pipe_ends_the_question(sandboxed: Callable[..., Sandbox]) -> None:
    transcript = sandboxed().run_steps(misdeed("break_pipe"))
    assert ended_in_misdeed(transcript) == "closed its pipe without an answer"
    assert not transcript.timed_out


def ended_in_misdeed(transcript: Transcript) -> str:
    """Return why the process ended in the step `misdeed`."""
    assert list(transcript.replies) == ["build", "shapes"]
    assert transcript.crash is not None
    assert transcript.crash.label == "misdeed"
    return transcript.crash.reason


@pytest.fixture
def crowded() -> Iterator[int]:
    """Return the number of a CPU on which 8 processes are busy, each in a session of its own as a child is."""
    if sys.platform != "linux":
        pytest.skip("processes are bound to a CPU on Linux alone")
    cpu = min(os.sched_getaffinity(0))
    script = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-I", "-S", "-c", script], start_new_session=True) for _ in range(8)]
    yield cpu
    for each in busy:
        each.kill()
        each.wait()


def test_a_slow_machine_ends_no_process(sandboxed: Callable[..., Sandbox], crowded: int) -> None:
    sandbox = sandboxed(question=1.0)
    (pid,) = pids(sandbox)
    psutil.Process(pid).cpu_affinity([crowded])
    started = time.monotonic()
    transcript = sandbox.run_steps(misdeed("work"))  # 0.6 s of CPU time
    assert time.monotonic() - started > 1.0, "it took longer than a limit of wall time would have allowed"
    assert transcript.crash is None


@pytest.mark.skipif(sys.platform != "linux", reason="it makes a system call of Linux")
def test_a_process_that_waits_for_a_disk_does_not_hang(sandboxed: Callable[..., Sandbox]) -> None:
    transcript = sandboxed(hang=1.0).run_steps(misdeed("wait_as_for_a_disk"))
    assert transcript.crash is None
    assert transcript.replies["misdeed"].seconds > 3.0


def test_memory_past_the_limit_ends_the_process(sandboxed: Callable[..., Sandbox]) -> None:
    sandbox = sandboxed(memory=256 * MIB)
    transcript = sandbox.run_steps(misdeed("hog"))
    assert transcript.crash is not None
    assert transcript.crash.label == "misdeed"
    assert transcript.crash.reason == "killed: more than 0.25 GiB resident"
    assert not transcript.timed_out


def test_process_that_grew_is_replaced_between_questions(
    sandboxed: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.sandbox.sandbox.MEMORY_INTERVAL", 0.0)
    sandbox = sandboxed(memory=400 * MIB)
    assert sandbox.run_steps(HONEST).notes == ()
    assert sandbox.run_steps(misdeed("allocate_200_mib")).crash is None
    transcript = sandbox.run_steps(HONEST)
    assert transcript.crash is None
    assert transcript.notes[0].startswith("the process had grown to 0.2")
    assert sandbox.generation == 2


@pytest.mark.parametrize(
    ("name", "reason"), [("end_soon", "exit status 7 without an answer"), ("speak_soon", "unexpected message")]
)
def test_an_event_after_the_answer_is_reported_at_the_next_question(
    sandboxed: Callable[..., Sandbox], name: str, reason: str
) -> None:
    sandbox = sandboxed()
    assert sandbox.run_steps(misdeed(name)).crash is None
    time.sleep(0.3)
    transcript = sandbox.run_steps(HONEST)
    assert transcript.replies == {}
    assert transcript.crash is not None
    assert transcript.crash.label == "build"
    assert transcript.crash.reason == f"{reason}, before the question was sent"
    assert sandbox.run_steps(HONEST).crash is None


def test_flood_of_output_neither_blocks_nor_fills_the_disk(sandboxed: Callable[..., Sandbox]) -> None:
    sandbox = sandboxed()
    assert sandbox.run_steps(misdeed("flood")).crash is None
    assert sandbox.run_steps(HONEST).crash is None
    assert printed(sandbox) <= STDERR_LARGEST
    crash = sandbox.run_steps(misdeed("flood_and_abort")).crash
    assert crash is not None
    assert crash.reason == "SIGABRT"
    assert len(crash.stderr.encode()) <= STDERR_TAIL
    assert "the end of the flood" in crash.stderr
    assert "xxxx" in crash.stderr


def printed(sandbox: Sandbox) -> int:
    """Return the size of the file that the process prints to, as it sees it."""
    (pid,) = pids(sandbox)
    return Path(f"/proc/{pid}/fd/2").stat().st_size
