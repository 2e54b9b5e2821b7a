"""
Runs `conformance run` with each framework's process on an emulated processor: `python -m tools.emulated CPU OPTIONS`.

CPU is a processor that `qemu-x86_64 -cpu help` lists. Only the processes of frameworks are emulated; the suite itself
runs on the processor of the machine. qemu-x86_64 must be on the path.
"""

from __future__ import annotations

import shlex
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from conformance.commands.run import run

#: CPU time until a process is up (seconds). TensorFlow takes about 60 s to import under qemu.
START_DEADLINE: Final = 900


def main(cpu: str, options: Sequence[str]) -> None:
    """Run `conformance run` with `options` and exit with its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"
        emulator = shlex.join(["qemu-x86_64", "-cpu", cpu, sys.executable])
        python.write_text(f'#!/bin/sh\nexec {emulator} "$@"\n', encoding="utf-8")
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        # A sandbox starts its processes with this. Workers of pytest-xdist would use it too, hence `-n 0`.
        sys.executable = str(python)
        run(["-n", "0", f"--start-deadline={START_DEADLINE}", *options])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
