from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conformance.sandbox.process_group import MARK
from conformance.sandbox.sandbox import Sandbox
from tests.support.paths import ROOT
from tests.support.questions import HONEST, gone, implementation, misdeed, pids, running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(implementation()) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def before() -> set[int]:
    """Return the processes that were there before these tests: a worker that ran cells still holds its framework."""
    return {each.pid for each in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize("batch", [1, 2], ids=["in a session of its own", "in the group"])
@pytest.mark.parametrize("ending", ["close", "crash"])
def test_descendants_end_with_the_process(sandbox: Sandbox, batch: int, ending: str) -> None:
    pid, grandchild = pids(sandbox, batch)
    assert running(grandchild)
    if ending == "close":
        sandbox.close()
    else:
        sandbox.run_steps(misdeed("vanish"))
    assert not running(pid)
    assert gone(grandchild)


def test_close_is_idempotent_and_not_the_end(sandbox: Sandbox) -> None:
    sandbox.close()
    (pid,) = pids(sandbox)
    open_before = psutil.Process().num_fds()
    sandbox.close()
    sandbox.close()
    assert not psutil.pid_exists(pid), "not even a zombie"
    assert psutil.Process().num_fds() < open_before
    assert pids(sandbox) != [pid]
    sandbox.close()
    assert not [each for each in psutil.Process().children() if each.status() == psutil.STATUS_ZOMBIE]


def test_settings_folder_is_removed(sandbox: Sandbox) -> None:
    home = Path(str(sandbox.start().settings["KERAS_HOME"]))
    assert home.is_dir()
    sandbox.close()
    assert not home.exists()


def test_process_outlives_the_thread_that_started_it(sandbox: Sandbox) -> None:
    thread = threading.Thread(target=sandbox.start)
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert sandbox.run_steps(HONEST).crash is None
    assert sandbox.generation == 1


PARENT = """
    import os, sys
    from conformance.sandbox.sandbox import Sandbox
    from tests.support.questions import *
    sandbox = Sandbox(implementation())
    print(*pids(sandbox, 2), sandbox.start().settings["KERAS_HOME"], flush=True)
"""


def parent(script: str) -> subprocess.Popen[str]:
    """Start a parent of its own, which first prints the numbers of its child and its child's child, and a folder."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT) + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def started(process: subprocess.Popen[str]) -> tuple[int, int, Path]:
    assert process.stdout is not None
    child, grandchild, home = process.stdout.readline().split()
    return int(child), int(grandchild), Path(home)


def guards_of(pid: int) -> list[psutil.Process]:
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if (each.info["cmdline"] or [])[-3:-1] == ["conformance-guard", str(pid)]
    ]


@pytest.mark.parametrize("name", ["spin_in_regex", "sleep"])
def test_nothing_outlives_a_parent_that_is_killed(name: str) -> None:
    with parent(f"sandbox.run_steps(misdeed({name!r}))") as process:
        child, grandchild, home = started(process)
        time.sleep(0.2)
        assert running(child)
        assert len(guards_of(child)) == 1
        process.kill()
    assert gone(child)
    assert gone(grandchild)
    assert not [each for each in guards_of(child) if not gone(each.pid)]
    assert not home.exists()


def test_nothing_outlives_a_parent_that_is_killed_while_it_waits_for_the_start(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        f"import os, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\nwhile True: pass\n"
    )
    with parent(f"Sandbox(implementation('slow:Adapter'), search_path=[{str(tmp_path)!r}]).start()") as process:
        started(process)
        deadline = time.monotonic() + 10.0
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    "script", ["", "sys.exit(1)", "raise ValueError", "del sandbox"], ids=["end", "exit", "error", "del"]
)
def test_nothing_outlives_a_parent_that_forgets_to_close(script: str) -> None:
    with parent("sys.stderr.close()\n" + script) as process:
        child, grandchild, home = started(process)
    assert gone(child, within=1.0)
    assert gone(grandchild, within=1.0)
    assert not home.exists()


def test_ctrl_c_ends_all() -> None:
    with parent("sys.stderr.close()\nsandbox.run_steps(misdeed('spin_in_regex'))") as process:
        child, grandchild, home = started(process)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
    assert process.returncode == -signal.SIGINT
    assert gone(child)
    assert gone(grandchild)
    assert not home.exists()


def test_question_after_ctrl_c_has_a_fresh_process() -> None:
    script = """
        try:
            sandbox.run_steps(misdeed('spin_in_regex'))
        except KeyboardInterrupt:
            print(sandbox.run_steps(HONEST).crash, sandbox.generation)
    """
    with parent(script) as process:
        started(process)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.read() == "None 2\n"
    assert process.returncode == 0


def test_no_process_of_these_tests_is_left(before: set[int]) -> None:
    mine = {each.pid for each in psutil.Process().children(recursive=True)} - before
    marked = [each for each in psutil.process_iter() if each.pid in mine and MARK in environment_of(each)]
    assert not marked


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}
