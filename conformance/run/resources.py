"""
How many workers a machine carries, and how many threads each has: CPUs, memory or work sets the number.

In a container the limits of the container count: the CPUs that the process may run on, and the quota and the memory
limit of its control group, of version 1 or 2.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
import threadpoolctl

GIB: Final = 2**30
#: What a worker takes: a framework's process up to a gigabyte, and the process of pytest beside it (bytes).
PER_WORKER: Final = GIB + GIB // 4
#: A control group without a limit says a number near the largest there is; no machine has that much (bytes).
_NO_LIMIT: Final = 2**60


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """How many workers, how many threads each, and which of `cpus`, `memory`, `groups` and `command` set the number."""

    workers: int
    threads: int
    limited_by: str
    cpus: int

    def facts(self) -> dict[str, int | str]:
        """Return what a results file says of it."""
        return asdict(self)


def allocation(
    groups: int, *, cpus: int, memory: int, threads: int | None = None, logical: int | None = None
) -> Allocation:
    """
    Return how many workers to start of themselves.

    `groups` is how many the work keeps busy, `cpus` how many run at a time and `logical`, where it is more, how many
    threads those have; `memory` is in bytes. `threads` is how many each process is to have, None for its share.
    """
    possible = {"cpus": cpus if threads is None else cpus // threads, "memory": memory // PER_WORKER, "groups": groups}
    # Of two that allow the same the first is named.
    limited_by = min(possible, key=lambda name: possible[name])
    workers = max(1, possible[limited_by])
    return Allocation(
        workers=workers,
        threads=threads_of_worker(cpus if logical is None else logical, workers) if threads is None else threads,
        limited_by=limited_by,
        cpus=cpus if logical is None else logical,
    )


def fixed_allocation(count: int, *, cpus: int, threads: int | None = None) -> Allocation:
    """Return the allocation of a run whose number of workers is given."""
    shared = threads_of_worker(cpus, count) if threads is None else threads
    return Allocation(workers=count, threads=shared, limited_by="command", cpus=cpus)


def threads_of_worker(cpus: int, workers: int) -> int:
    """Return how many threads a process may have where so many workers share the CPUs of a machine."""
    return max(1, cpus // max(1, workers))


def limit_blas_threads(threads: int) -> None:
    """
    Have this process's own linear algebra use so many threads, from now on.

    References are products of float64; with threads of its own for each CPU, a worker takes them from the frameworks'
    processes beside it, and spends them waiting.
    """
    threadpoolctl.threadpool_limits(limits=threads, user_api="blas")


def cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs this process may use: those it is bound to, and no more than its quota of time, rounded."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [round(quota) for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([bound, *quotas]))


def cores(root: Path = Path("/")) -> int:
    """Return how many of the CPUs this process may use have a core of their own, as far as the system tells."""
    return max(1, min(cpus(root), psutil.cpu_count(logical=False) or cpus(root)))


def memory(root: Path = Path("/")) -> int:
    """Return how many bytes of memory processes started now may take together."""
    left = [room for folder in _groups(root, "memory") if (room := _room(folder)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *left]))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups this process is in, with those above them: each may set a limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controllers
            mount = mount if mount.is_dir() else root / "sys/fs/cgroup" / controller
        else:
            continue
        # Within a container the path is often that of the machine, and only the mount itself is there.
        inner = [each for each in path.split("/") if each not in ("", "..")]
        for depth in range(len(inner), -1, -1):
            yield mount.joinpath(*inner[:depth])


def _quota(folder: Path) -> float | None:
    """Return how many CPUs' time a group may take, None where it has no limit."""
    words = _words(folder / "cpu.max") or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
    try:
        quota, period = (int(each) for each in words[:2])
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _room(folder: Path) -> int | None:
    """Return how many bytes a group may take beside what it holds, None where it has no limit."""
    for limit, usage, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = (int(_words(folder / name)[0]) for name in (limit, usage))
        except (ValueError, IndexError):
            continue
        if most < _NO_LIMIT:
            # Files kept in memory are given up when it is needed.
            words = _words(folder / "memory.stat")
            kept = int(words[words.index(idle) + 1]) if idle in words else 0
            return max(0, most - max(0, used - kept))
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
