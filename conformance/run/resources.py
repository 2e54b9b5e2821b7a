"""
The number of workers of a machine and of threads of each; CPUs, memory or work limits it.

In a container its limits apply: the CPUs that the process may run on, and the quota and the memory limit of its control
group, of version 1 or 2.
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
#: Memory of a worker: up to 1 GiB for a framework's process, and the process of pytest (bytes).
PER_WORKER: Final = GIB + GIB // 4
#: A control group without a limit reports a number of at least this size (bytes).
_NO_LIMIT: Final = 2**60


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The number of workers, their threads, and what limits the number: `cpus`, `memory`, `groups` or `command`."""

    workers: int
    threads: int
    limited_by: str
    cpus: int

    def facts(self) -> dict[str, int | str]:
        """Return the allocation for a results file."""
        return asdict(self)


def allocation(
    groups: int, *, cpus: int, memory: int, threads: int | None = None, logical: int | None = None
) -> Allocation:
    """
    Return how many workers to start.

    Args:
        groups: the number of workers that have enough work.
        cpus: the number of workers that run at a time.
        memory: in bytes.
        threads: threads of each process, None for its share.
        logical: the number of logical CPUs, if it is more than `cpus`.
    """
    possible = {"cpus": cpus if threads is None else cpus // threads, "memory": memory // PER_WORKER, "groups": groups}
    # If two allow the same number, the first is reported.
    limited_by = min(possible, key=lambda name: possible[name])
    workers = max(1, possible[limited_by])
    return Allocation(
        workers=workers,
        threads=threads_of_worker(cpus if logical is None else logical, workers) if threads is None else threads,
        limited_by=limited_by,
        cpus=cpus if logical is None else logical,
    )


def fixed_allocation(count: int, *, cpus: int, threads: int | None = None) -> Allocation:
    """Return the allocation of a run whose number of workers the command gives."""
    shared = threads_of_worker(cpus, count) if threads is None else threads
    return Allocation(workers=count, threads=shared, limited_by="command", cpus=cpus)


def threads_of_worker(cpus: int, workers: int) -> int:
    """Return the threads of each process if workers share the CPUs of a machine."""
    return max(1, cpus // max(1, workers))


def limit_blas_threads(threads: int) -> None:
    """
    Limit the threads of linear algebra in this process.

    References are products of float64. With a thread for each CPU, a worker would compete with the frameworks'
    processes.
    """
    threadpoolctl.threadpool_limits(limits=threads, user_api="blas")


def cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs this process may use: those of its affinity, and no more than its quota, rounded."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [round(quota) for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([bound, *quotas]))


def cores(root: Path = Path("/")) -> int:
    """Return how many physical cores this process may use; the number of CPUs if the system does not report cores."""
    return max(1, min(cpus(root), psutil.cpu_count(logical=False) or cpus(root)))


def memory(root: Path = Path("/")) -> int:
    """Return the available memory for new processes (bytes)."""
    rooms = [room for folder in _groups(root, "memory") if (room := _room(folder)) is not None]
    return max(0, min([int(psutil.virtual_memory().available), *rooms]))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process and their parents: each may set a limit."""
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
        # In a container the path is often that of the host, and only the mount exists.
        inner = [each for each in path.split("/") if each not in ("", "..")]
        for depth in range(len(inner), -1, -1):
            yield mount.joinpath(*inner[:depth])


def _quota(folder: Path) -> float | None:
    """Return the quota of a group in CPUs, None without a limit."""
    words = _words(folder / "cpu.max") or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
    try:
        quota, period = (int(each) for each in words[:2])
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _room(folder: Path) -> int | None:
    """Return how many more bytes a group may use, None without a limit."""
    for limit, usage, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = (int(_words(folder / name)[0]) for name in (limit, usage))
        except (ValueError, IndexError):
            continue
        if most < _NO_LIMIT:
            # The kernel frees cached files when memory is needed.
            words = _words(folder / "memory.stat")
            cached = int(words[words.index(idle) + 1]) if idle in words else 0
            return max(0, most - max(0, used - cached))
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
