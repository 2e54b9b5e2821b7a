"""
The default table on limited instruction sets, and a sample of it on emulated processors: `make portable`.

Each run goes into a folder of its own, such as `build/portable/avx-2` for `--cpu-isa avx --threads 2`. The exit code is
1 if any run is not green. See docs/portability.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.run.instruction_set import NAMES, missing_features
from conformance.sandbox.environment import cpu_features

THREADS: Final = (1, 2)
#: Processors that qemu emulates. TensorFlow's wheels need AVX and, for float16, F16C; qemu has no AVX-512.
EMULATED: Final = ("IvyBridge", "Haswell")
SAMPLE: Final = Path(__file__).with_name("portable_tensorflow.yaml")
TENSORFLOW: Final = ("keras-tensorflow", "tensorflow-v1")


@dataclass(frozen=True, slots=True)
class PortableRun:
    """A run: the `name` of its folder, and its `command` without the folder."""

    name: str
    command: tuple[str, ...]


def limited_runs() -> Iterator[PortableRun]:
    """Yield the runs of the default table, for each instruction set that the processor has."""
    for name in NAMES:
        if missing := missing_features(name, cpu_features()):
            print(f"{name}: skipped, the processor lacks {', '.join(missing)}", flush=True)
            continue
        for threads in THREADS:
            command = ("conformance", "run", f"--cpu-isa={name}", f"--threads={threads}")
            yield PortableRun(f"{name}-{threads}", command)


def emulated_runs() -> Iterator[PortableRun]:
    """Yield the runs of TensorFlow's sample, for each emulated processor; without qemu-x86_64, none."""
    if shutil.which("qemu-x86_64") is None:
        print("TensorFlow: skipped, qemu-x86_64 is not on the path: install Debian's package qemu-user", flush=True)
        return
    for cpu in EMULATED:
        options = ("--threads=1", str(SAMPLE), *(f"--implementation={each}" for each in TENSORFLOW))
        yield PortableRun(f"tensorflow-{cpu}", ("tools.emulated", cpu, *options))


def main(folder: Path, parts: Sequence[str]) -> int:
    """Execute the runs of `parts` (`limited`, `emulated`) in `folder`, and return the exit code."""
    known = {"limited": limited_runs, "emulated": emulated_runs}
    codes: dict[str, int] = {}
    for part in parts:
        for each in known[part]():
            command = [sys.executable, "-m", *each.command, "-o", str(folder / each.name)]
            print(f"{each.name}: {' '.join(command)}", flush=True)
            codes[each.name] = subprocess.run(command, check=False).returncode
    for name, code in codes.items():
        print(f"{name:<24} {'green' if code == 0 else f'red, exit code {code}'}: {folder / name / 'index.html'}")
    return int(any(codes.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
