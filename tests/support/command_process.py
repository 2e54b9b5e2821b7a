"""
The process from which tests start commands: it has imported what a command imports, and is forked for each.

`run_module(module, *words, cwd, environment)` returns what `subprocess.run` returns of `python -P -m module words`. A
process of its own runs the command, from the first line of the module to the end of the interpreter. Only the imports
are shared: they take 1.4 of the 2.3 s of CPU time that a run of one row takes. Variables that Python itself reads when
it starts, and some that libraries read when they are imported, start a new interpreter.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.support.paths import ROOT

#: What a run or a page imports. `xdist` and plugins of pytest are left out: pytest rewrites them as it imports them.
IMPORTED: Final = (
    "conformance.commands.cli",
    "conformance.report",
    "conformance.run.cell_runner",
    "conformance.run.distributed.transfer",
    "conformance.run.estimate",
    "conformance.run.progress",
    "conformance.run.recorder",
    "conformance.run.resources",
    "conformance.run.summary",
    "pytest",
)
#: The environment of the process that has imported them.
STARTED_WITH: Final = {**os.environ, "PYTHONPATH": str(ROOT)}
#: Beginnings of the names of variables that are read at the start of an interpreter or at an import.
READ_AT_START: Final = ("LANG", "LC_", "LD_", "MKL_", "NPY_", "OMP_", "OPENBLAS_", "PYTHON")


def run_module(
    module: str, *words: str, cwd: Path, environment: Mapping[str, str], imports: tuple[str, ...] = IMPORTED
) -> subprocess.CompletedProcess[str]:
    """
    Run a module as a script, as `python -P -m` does; text that is not UTF-8 is kept as escapes.

    `imports`: the modules of the process that is forked, for those who need others than a command does.
    """
    command = [sys.executable, "-P", "-m", module, *words]
    at_start = _read_at_start(environment)
    if imports == IMPORTED and at_start != _read_at_start(STARTED_WITH):
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, errors="backslashreplace", check=False
        )
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        request = {
            "module": module,
            "words": words,
            "cwd": str(cwd),
            "environment": dict(environment),
            "files": [f"/proc/{os.getpid()}/fd/{each.fileno()}" for each in (output, errors)],
        }
        code = _exit_code(_server(imports, at_start), request)
        texts = []
        for each in (output, errors):
            each.seek(0)
            texts.append(each.read().decode(errors="backslashreplace").replace("\r\n", "\n"))
    return subprocess.CompletedProcess(command, code, *texts)


def _read_at_start(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the variables that are read at the start of an interpreter or at an import."""
    return tuple(sorted(each for each in environment.items() if each[0].startswith(READ_AT_START)))


def _exit_code(server: subprocess.Popen[str], request: Mapping[str, Any]) -> int:
    """Return the exit code of the command that a request describes."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


@functools.cache
def _server(imports: tuple[str, ...], at_start: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    """Return the process that is forked, one for each process of pytest; it ends with its standard input."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.support.command_process", *imports],
        cwd=ROOT,
        env={**STARTED_WITH, **dict(at_start)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _become(request: Mapping[str, Any]) -> None:
    """Make this process the one that a request describes, but for what it has imported."""
    for descriptor, file in enumerate(request["files"], start=1):
        opened = os.open(file, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv[1:] = request["words"]


def main() -> None:
    """Serve until there are no more requests; return in a child that has run its command."""
    for name in sys.argv[1:]:
        import_module(name)
    gc.freeze()  # else each child walks all that was imported, several times
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    for line in requests:
        child = os.fork()
        if child == 0:
            requests.close()
            replies.close()
            request = json.loads(line)
            _become(request)
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
            return
        replies.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        replies.flush()


if __name__ == "__main__":
    main()
