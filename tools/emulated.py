"""
`conformance run` with every framework's process on an emulated processor: `python -m tools.emulated CPU OPTIONS`.

CPU is a processor that `qemu-x86_64 -cpu help` lists. The suite itself, with its reference and its checks, runs on the
processor of the machine; only the processes it starts for frameworks are emulated. qemu-x86_64 must be on the path.
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
    """Run `conformance run` with `options`; does not return, and the exit code is that of the run."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"
        emulator = shlex.join(["qemu-x86_64", "-cpu", cpu, sys.executable])
        python.write_text(f'#!/bin/sh\nexec {emulator} "$@"\n', encoding="utf-8")
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        # What a sandbox starts its processes with. Workers of pytest-xdist would be started with it as well.
        sys.executable = str(python)
        run(["-n", "0", f"--start-deadline={START_DEADLINE}", *options])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
