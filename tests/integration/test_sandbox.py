from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from conformance.adapters.protocol import Gradients, Stack
from conformance.adapters.registry import Implementation
from conformance.sandbox.deadline import TimeLimit
from conformance.sandbox.output_log import STDERR_KEPT, STDERR_LARGEST
from conformance.sandbox.process import ChildProcess
from conformance.sandbox.sandbox import Limits, Sandbox, StartError
from conformance.sandbox.steps import (
    Build,
    Differentiate,
    Done,
    Forward,
    Hello,
    Inferred,
    InferShapes,
    Malformed,
    Output,
    Parameters,
    Raised,
    ReadParameters,
    Transcript,
    Unreached,
)
from tests.support.paths import ROOT
from tests.support.questions import HONEST, MIB, X, built, implementation, misdeed, pids, value


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for the tests that only care for one question; each leaves it able to answer the next."""
    with Sandbox(implementation(), limits=Limits(question=10.0)) as sandbox:
        yield sandbox


@pytest.fixture
def sandboxed() -> Iterator[Callable[..., Sandbox]]:
    """Makes sandboxes that are closed afterwards."""
    made: list[Sandbox] = []

    def make(each: Implementation | None = None, *, search_path: Sequence[str] = (), **limits: Any) -> Sandbox:
        made.append(Sandbox(each or implementation(), limits=Limits(**limits), search_path=search_path))
        return made[-1]

    yield make
    for each in made:
        each.close()


# What it answers


def test_answers_come_back(shared: Sandbox) -> None:
    dy = np.ones((2, 3, 4), np.float32)
    transcript = shared.ask(
        (
            *HONEST,
            InferShapes(label="shapes", batch=None),
            ReadParameters(label="parameters"),
            Differentiate(label="gradients", x=X, dy=dy, layout="transposed"),
        ),
        name="a case",
    )
    assert list(transcript.replies) == ["build", "output", "shapes", "parameters", "gradients"]
    assert transcript.crash is None
    assert not transcript.timed_out
    assert isinstance(value(transcript, "build"), Done)
    output, parameters, gradients = (value(transcript, each) for each in ("output", "parameters", "gradients"))
    assert isinstance(output, Output)
    assert (output.y == X * np.arange(1, 5) + 1).all()
    assert output.y.dtype == np.float32
    assert isinstance(parameters, Parameters)
    assert parameters.parameters[0].shape == (1, 4)
    assert isinstance(gradients, Gradients)
    assert gradients.layers[0][0].tolist() == [[15.0] * 4]
    assert all(reply.seconds >= 0 for reply in transcript.replies.values())


def test_greeting_says_what_runs(shared: Sandbox) -> None:
    hello = shared.start()
    assert isinstance(hello, Hello)
    assert hello.versions == {"python": sys.version.split()[0], "numpy": np.__version__}
    assert hello.devices == ("cpu",)
    assert hello.threads == 1


def test_nothing_asked_is_nothing_answered(shared: Sandbox) -> None:
    assert shared.ask(()) == Transcript(replies={})


def test_one_process_answers_many_questions(shared: Sandbox) -> None:
    assert pids(shared) == pids(shared)


def test_large_arrays_cross_both_ways(shared: Sandbox) -> None:
    x = np.arange(2**22, dtype=np.float32).reshape(-1, 1)  # 16 MiB there, 64 MiB back
    output = value(shared.ask((built(), Forward(label="output", x=x))), "output")
    assert output.y[-1].tolist() == [x[-1, 0] * k + 1 for k in (1, 2, 3, 4)]


def test_answers_that_do_not_fit_into_the_pipe_flow_through_it(sandboxed: Callable[..., Sandbox]) -> None:
    x = np.arange(2**16, dtype=np.float32).reshape(-1, 1)  # 1 MiB back, each time
    steps = (built(), *(Forward(label=f"output {number}", x=x) for number in range(20)))
    with sandboxed(question=30.0) as sandbox:
        for _ in range(3):
            transcript = sandbox.ask(steps)
            assert transcript.crash is None
            assert value(transcript, "output 19").y[-1].tolist() == [x[-1, 0] * k + 1 for k in (1, 2, 3, 4)]


def test_what_raises_is_answered_and_the_process_lives(shared: Sandbox) -> None:
    (before,) = pids(shared)
    transcript = shared.ask(misdeed("raise_an_error"))
    raised = value(transcript, "misdeed")
    assert isinstance(raised, Raised)
    assert (raised.type, raised.message) == ("ValueError", "units of that kind are not welcome")
    assert pids(shared) == [before]


def test_answer_that_is_none_is_a_fault_of_its_step(shared: Sandbox) -> None:
    transcript = shared.ask(
        (built("foreign"), ReadParameters(label="parameters"), InferShapes(label="shapes", batch=None))
    )
    found = value(transcript, "parameters")
    assert isinstance(found, Malformed)
    assert found.message == (
        "given `fractions.Fraction`, expected plain data or a numpy.ndarray of numbers - at `$.parameters[0].shape[0]`"
    )
    assert isinstance(value(transcript, "shapes"), Inferred)


def test_model_that_was_not_built_is_unreached(shared: Sandbox) -> None:
    transcript = shared.ask((Build(label="build", stack=two_layers(), device="cpu"), Forward(label="output", x=X)))
    assert isinstance(value(transcript, "build"), Raised)
    assert isinstance(value(transcript, "output"), Unreached)


def two_layers() -> Stack:
    stack = built().stack
    return Stack(input_shape=(3, 1), leading_axes=1, dtype="float32", layers=stack.layers * 2)


# How it ends


@pytest.mark.parametrize(
    ("name", "reason", "stderr"),
    [
        ("abort", "SIGABRT", "misbehaving.py"),
        ("segfault", "SIGSEGV", "Segmentation fault"),
        ("shoot_itself", "SIGKILL", ""),
        ("vanish", "exit status 0 without an answer", ""),
        ("leave", "exit status 3 without an answer", ""),
        ("leave_a_fork", "exit status 0 without an answer", ""),
        ("speak_garbage", "spoke out of turn: b'Hello, I am a library", ""),
        ("speak_large_numbers", "spoke out of turn: a message whose lengths do not add up", ""),
    ],
)
def test_end_of_the_process_is_the_outcome_of_one_step(shared: Sandbox, name: str, reason: str, stderr: str) -> None:
    transcript = shared.ask(misdeed(name))
    assert list(transcript.replies) == ["build", "shapes"]
    assert transcript.crash is not None
    assert transcript.crash.label == "misdeed"
    assert transcript.crash.reason.startswith(reason)
    assert stderr in transcript.crash.stderr
    assert not transcript.timed_out
    assert shared.ask(HONEST).crash is None, "the next question has a fresh process"


def test_what_was_printed_before_the_end_is_kept(shared: Sandbox) -> None:
    crash = shared.ask(misdeed("abort")).crash
    assert crash is not None
    assert crash.stderr.startswith("about to abort\n"), "standard output, not buffered"


@pytest.mark.parametrize("name", ["spin", "spin_in_regex", "spin_in_pow"])
def test_a_busy_process_ends_when_its_cpu_time_is_spent(sandboxed: Callable[..., Sandbox], name: str) -> None:
    sandbox = sandboxed(question=0.3)
    transcript = sandbox.ask(misdeed(name))
    assert ended_in_misdeed(transcript) == "no answer within 0.3 s of CPU time; allow more with --deadline 0.6"
    assert transcript.timed_out
    assert transcript.crash is not None
    assert name in transcript.crash.stderr, "the stack says where it was"


def test_cpu_time_of_descendants_counts(sandboxed: Callable[..., Sandbox]) -> None:
    transcript = sandboxed(question=0.3).ask(misdeed("wait_for_a_busy_child"))
    assert ended_in_misdeed(transcript) == "no answer within 0.3 s of CPU time; allow more with --deadline 0.6"
    assert transcript.timed_out


def test_each_thread_has_the_cpu_time_of_a_deadline() -> None:
    with Sandbox(implementation(), limits=Limits(question=0.2), threads=3) as sandbox:
        transcript = sandbox.ask(misdeed("spin"))
    reason = "no answer within 0.6 s of CPU time (0.2 s for each of 3 threads); allow more with --deadline 0.4"
    assert ended_in_misdeed(transcript) == reason


@pytest.mark.parametrize("name", ["sleep", "speak_half_a_header"])
def test_a_process_that_gains_no_cpu_time_hangs(sandboxed: Callable[..., Sandbox], name: str) -> None:
    sandbox = sandboxed(hang=0.5)
    transcript = sandbox.ask(misdeed(name))
    reason = r"hangs: gained 0\.0\d s of CPU time in 0\.5 s; allow more with --hang 1"
    assert re.fullmatch(reason, ended_in_misdeed(transcript))
    assert transcript.timed_out
    assert transcript.crash is not None
    assert name in transcript.crash.stderr, "the stack says where it was"


def test_a_process_that_closes_its_pipe_is_not_waited_for(sandboxed: Callable[..., Sandbox]) -> None:
    transcript = sandboxed().ask(misdeed("break_pipe"))
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
    transcript = sandbox.ask(misdeed("work"))  # 0.6 s of CPU time
    assert time.monotonic() - started > 1.0, "it took longer than a limit of wall time would have allowed"
    assert transcript.crash is None


@pytest.mark.skipif(sys.platform != "linux", reason="it makes a system call of Linux")
def test_a_process_that_waits_for_a_disk_does_not_hang(sandboxed: Callable[..., Sandbox]) -> None:
    transcript = sandboxed(hang=1.0).ask(misdeed("wait_as_for_a_disk"))
    assert transcript.crash is None
    assert transcript.replies["misdeed"].seconds > 3.0


def test_memory_past_the_limit_ends_the_process(sandboxed: Callable[..., Sandbox]) -> None:
    sandbox = sandboxed(memory=256 * MIB)
    transcript = sandbox.ask(misdeed("hog"))
    assert transcript.crash is not None
    assert transcript.crash.label == "misdeed"
    assert transcript.crash.reason == "killed: more than 0.25 GiB resident"
    assert not transcript.timed_out


def test_process_that_grew_is_replaced_between_questions(
    sandboxed: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.sandbox.sandbox.INVENTORY", 0.0)
    sandbox = sandboxed(memory=400 * MIB)
    assert sandbox.ask(HONEST).notes == ()
    assert sandbox.ask(misdeed("keep_200_mib")).crash is None
    transcript = sandbox.ask(HONEST)
    assert transcript.crash is None
    assert transcript.notes[0].startswith("the process had grown to 0.2")
    assert sandbox.generation == 2


@pytest.mark.parametrize(
    ("name", "reason"), [("end_soon", "exit status 7 without an answer"), ("speak_soon", "spoke out of turn")]
)
def test_what_happens_after_the_answer_is_told_at_the_next_question(
    sandboxed: Callable[..., Sandbox], name: str, reason: str
) -> None:
    sandbox = sandboxed()
    assert sandbox.ask(misdeed(name)).crash is None
    time.sleep(0.3)
    transcript = sandbox.ask(HONEST)
    assert transcript.replies == {}
    assert transcript.crash is not None
    assert transcript.crash.label == "build"
    assert transcript.crash.reason == f"{reason}, before the question was asked"
    assert sandbox.ask(HONEST).crash is None


def test_flood_of_output_neither_blocks_nor_fills_the_disk(sandboxed: Callable[..., Sandbox]) -> None:
    sandbox = sandboxed()
    assert sandbox.ask(misdeed("flood")).crash is None
    assert sandbox.ask(HONEST).crash is None
    assert printed(sandbox) <= STDERR_LARGEST
    crash = sandbox.ask(misdeed("flood_and_abort")).crash
    assert crash is not None
    assert crash.reason == "SIGABRT"
    assert len(crash.stderr.encode()) <= STDERR_KEPT
    assert "the end of the flood" in crash.stderr
    assert "xxxx" in crash.stderr


def printed(sandbox: Sandbox) -> int:
    """Return the size of the file that the process prints to, as it sees it."""
    (pid,) = pids(sandbox)
    return Path(f"/proc/{pid}/fd/2").stat().st_size


# How it starts


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "ImportError: libcudart.so.12"),
        ("import no_such_framework", "ModuleNotFoundError: No module named 'no_such_framework'"),
        ("class Other: ...", "AttributeError: the module framework has no 'Adapter'"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os; os._exit(5)", "exit status 5 without an answer"),
        ("while True: pass", "not up within 0.7 s of CPU time; allow more with --start-deadline 1.4"),
        ("import time; time.sleep(1000)", "hangs: gained "),
    ],
)
def test_what_does_not_come_up_says_why(
    sandboxed: Callable[..., Sandbox], tmp_path: Path, module: str, reason: str
) -> None:
    (tmp_path / "framework.py").write_text(f"print('loading')\n{module}\n")
    limits = {"start": 0.7} if "while" in module else {"hang": 1.0} if "sleep" in module else {}
    sandbox = sandboxed(implementation("framework:Adapter"), search_path=[str(tmp_path)], **limits)
    with pytest.raises(StartError) as caught:
        sandbox.start()
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == caught.value.reason
    assert caught.value.stderr.startswith("loading\n")
    if "Error" in reason:
        assert caught.value.raised is not None
        assert "framework" in caught.value.raised.traceback


def test_what_a_process_printed_before_anybody_waited_for_it_is_told(
    sandboxed: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "framework.py").write_text("import os\nprint('loading')\nos._exit(5)\n")
    allow = ChildProcess.allow

    def late(process: ChildProcess, limit: TimeLimit, *, starting: bool = False) -> None:
        process._child.popen.wait(30)
        allow(process, limit, starting=starting)

    monkeypatch.setattr(ChildProcess, "allow", late)
    with pytest.raises(StartError) as caught:
        sandboxed(implementation("framework:Adapter"), search_path=[str(tmp_path)]).start()
    assert caught.value.stderr == "loading\n"


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fails", "RuntimeError: the constructor does not like its mode"),
        ("foreign", "Misfit: given `fractions.Fraction`, .* at `\\$.settings.precision`"),
    ],
)
def test_adapter_that_cannot_greet_says_why(sandboxed: Callable[..., Sandbox], mode: str, reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        sandboxed(implementation(mode=mode)).ask(HONEST)


def test_process_has_its_own_environment(sandboxed: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    settings = sandboxed(implementation(mode="quiet", KERAS_BACKEND="jax", OWN="1")).start().settings
    assert settings["KERAS_BACKEND"] == "jax"
    assert settings["OWN"] == "1"
    assert settings["mode"] == "quiet"
    assert settings["home"] == []
    assert settings["CONFORMANCE_THREADS"] == "1"
    assert "JAX_ENABLE_X64" not in settings
    assert "PYTEST_CURRENT_TEST" not in settings


def test_current_folder_is_searched_last(
    sandboxed: Callable[..., Sandbox], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for shadow in ("json", "numpy", "conformance", "ctypes"):
        (tmp_path / f"{shadow}.py").write_text("raise ImportError('a file of the user that happens to be named so')\n")
    (tmp_path / "mine.py").write_text("from tests.support.misbehaving import Misbehaving as Adapter\n")
    monkeypatch.setattr("sys.path", [*sys.path, str(ROOT)])
    sandbox = sandboxed(implementation("mine:Adapter"))
    path = sandbox.start().settings["path"]
    assert isinstance(path, list)
    assert path[-1] == str(tmp_path)
    assert path.count(str(tmp_path)) == 1
