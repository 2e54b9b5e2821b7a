"""A command that is forked from the process with its imports does what it does in an interpreter of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_process import run_module
from tests.support.paths import ROOT
from tests.support.runs import environment

SCRIPT = "tests.support.process_view"


@pytest.mark.parametrize(("way", "code"), [("exits", 7), ("is killed", -9)])
def test_a_script_sees_what_it_sees_in_an_interpreter_of_its_own(tmp_path: Path, way: str, code: int) -> None:
    variables = environment(COLUMNS="60", HOME=str(tmp_path), TERM=None)
    command = [sys.executable, "-P", "-m", SCRIPT, way, str(os.getpid())]
    forked = run_module(SCRIPT, *command[4:], cwd=tmp_path, environment=variables)
    alone = subprocess.run(
        command,
        cwd=tmp_path,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert forked.returncode == code
    assert str(tmp_path) in forked.stdout


def test_what_python_reads_when_it_starts_starts_an_interpreter(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("import sys; print(sys.flags.optimize)", encoding="utf-8")
    variables = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", PYTHONOPTIMIZE="1")
    assert run_module("elsewhere", cwd=tmp_path, environment=variables).stdout == "1\n"
