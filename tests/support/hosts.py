"""
Machines of a run, on this one: each a folder and an environment of its own, served by execnet's socket server.

An environment holds a copy of the package and adapters of its own; nothing of the checkout can be imported in it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.paths import ROOT

#: A function to be held, and one like it that waits in the third cell or so while a file `wait` is in the home folder.
HONEST = """\
import numpy as np

def dense(x, kernel, bias):
    return np.matmul(x, kernel) + bias
"""
WAITING = """\
import time
from pathlib import Path
import numpy as np

calls = 0

def dense(x, kernel, bias):
    global calls
    calls += 1
    while calls > 30 and (Path.home() / "wait").exists():
        (Path.home() / "waiting").touch()
        time.sleep(0.05)
    return np.matmul(x, kernel) + bias
"""


class Host:
    """One machine; `serve` starts what listens on it."""

    def __init__(self, folder: Path, modules: Mapping[str, str]) -> None:
        self.folder = folder
        venv.create(folder / "environment", symlinks=True)
        self.packages = next((folder / "environment" / "lib").glob("python*")) / "site-packages"
        # What the frameworks need, but not what is installed as editable: those files of paths are not read again.
        borrowed = "\n".join(each for each in sys.path if each.endswith("site-packages"))
        (self.packages / "borrowed.pth").write_text(borrowed, encoding="utf-8")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "conformance", self.packages / "conformance", ignore=ignored)
        for name, source in modules.items():
            (self.packages / f"{name}.py").write_text(source, encoding="utf-8")

    def is_waiting(self) -> bool:
        """Return whether a cell of `WAITING` runs there."""
        return (self.folder / "waiting").exists()

    @contextlib.contextmanager
    def serve(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """Yield the process that listens, in which workers run, and its address."""
        python = self.folder / "environment" / "bin" / "python"
        process = subprocess.Popen(
            [python, "-u", "-m", "execnet.script.socketserver", "127.0.0.1:0"],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": tempfile.gettempdir()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            found = re.search(r"\('127.0.0.1', (\d+)\)", process.stdout.readline())
            assert found, process.communicate()
            yield process, f"127.0.0.1:{found.group(1)}"
        finally:
            process.kill()
            process.communicate()
