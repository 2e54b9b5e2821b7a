"""How a process starts: its errors, its environment and its search path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.sandbox.deadline import TimeLimit
from conformance.sandbox.process import ChildProcess
from conformance.sandbox.sandbox import Sandbox, StartError
from tests.support.paths import ROOT
from tests.support.questions import HONEST, implementation


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "ImportError: libcudart.so.12"),
        ("import no_such_framework", "ModuleNotFoundError: No module named 'no_such_framework'"),
        ("class Other: ...", "AttributeError: the module framework has no 'Adapter'"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os; os._exit(5)", "exit status 5 without an answer"),
        ("while True: pass", "no start within 0.7 s of CPU time; allow more with --start-deadline 1.4"),
        ("import time; time.sleep(1000)", "hangs: gained "),
    ],
)
def test_a_failed_start_has_its_reason(
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


def test_output_of_a_failed_start_is_reported(
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
def test_a_failed_greeting_has_its_reason(sandboxed: Callable[..., Sandbox], mode: str, reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        sandboxed(implementation(mode=mode)).run_steps(HONEST)


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
    (tmp_path / "mine.py").write_text("from tests.support.misbehaving_adapter import Misbehaving as Adapter\n")
    monkeypatch.setattr("sys.path", [*sys.path, str(ROOT)])
    sandbox = sandboxed(implementation("mine:Adapter"))
    path = sandbox.start().settings["path"]
    assert isinstance(path, list)
    assert path[-1] == str(tmp_path)
    assert path.count(str(tmp_path)) == 1
