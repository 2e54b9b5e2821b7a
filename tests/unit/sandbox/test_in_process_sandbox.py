from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from tests.support.paths import ROOT


def run(script: str) -> list[str]:
    """Run a script in a process of its own, as its environment is changed for good; return the lines it prints."""
    setting = """
        import os, sys
        from conformance.sandbox.sandbox import InProcessSandbox, StartError
        from tests.support.questions import *
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(setting) + textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "1"},
        timeout=60,
    )
    return done.stdout.splitlines()


def test_answers_from_this_very_process() -> None:
    script = """
        here = InProcessSandbox(implementation(OWN="1"))
        print(here.start().versions.keys() == {"python", "numpy"})
        print(pids(here) == [os.getpid()], os.environ["OWN"], "JAX_ENABLE_X64" in os.environ)
        transcript = here.run_steps((*HONEST, *misdeed("raise_an_error")[2:]), name="a case")
        print(list(transcript.replies), transcript.replies["output"].answer.y.flags.owndata)
        print(here.run_steps(misdeed("raise_an_error")).replies["misdeed"].answer.message)
        here.close()
    """
    assert run(script) == [
        "True",
        "True 1 False",
        "['build', 'output', 'misdeed', 'after'] False",
        "units of that kind are not welcome",
    ]


def test_one_process_has_one_environment() -> None:
    script = """
        InProcessSandbox(implementation(KERAS_BACKEND="jax")).start()
        InProcessSandbox(implementation(mode="other", KERAS_BACKEND="jax")).start()
        try:
            InProcessSandbox(implementation(KERAS_BACKEND="torch")).start()
        except StartError as error:
            print(error.reason)
    """
    (line,) = run(script)
    assert line.startswith(
        "this process runs in the environment {'KERAS_BACKEND': 'jax'}, {'KERAS_BACKEND': 'torch'} needs"
    )


def test_environment_that_comes_too_late_is_refused() -> None:
    script = """
        from dataclasses import replace
        try:
            InProcessSandbox(replace(implementation(OWN="1"), packages=("numpy",))).start()
        except StartError as error:
            print(error.reason)
    """
    assert run(script) == ["numpy was imported before {'OWN': '1'} could be set"]


def test_a_framework_that_cannot_be_loaded_has_its_reason() -> None:
    script = """
        try:
            InProcessSandbox(implementation(mode="fails")).run_steps(HONEST)
        except StartError as error:
            print(error.reason)
    """
    assert run(script) == ["RuntimeError: the constructor does not like its mode"]
