"""How many workers start of themselves: what a container is given counts, and the results say what set the number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conformance.run import resources
from conformance.run.expected_times import Expected, Times
from tests.support.paths import ROOT
from tests.support.runs import EXACT, conformance, lines, table

MANY = 1 << 20
GIB = 2**30


@pytest.mark.parametrize(
    ("groups", "cpus", "gigabytes", "expected"),
    [
        (8, 64, 512, (8, 8, "groups")),
        (400, 64, 512, (64, 1, "cpus")),
        (400, 64, 20, (16, 4, "memory")),
        (400, 64, 0, (1, 64, "memory")),
        (0, 4, 16, (1, 4, "groups")),
    ],
)
def test_the_scarcest_resource_limits_the_number_of_workers(
    groups: int, cpus: int, gigabytes: int, expected: tuple[int, int, str]
) -> None:
    found = resources.allocation(groups, cpus=cpus, memory=gigabytes * GIB)
    assert (found.workers, found.threads, found.limited_by) == expected
    assert found.workers * resources.PER_WORKER <= max(gigabytes * GIB, resources.PER_WORKER)


def test_given_threads_leave_room_for_fewer_workers() -> None:
    found = resources.allocation(400, cpus=64, memory=MANY * GIB, threads=8)
    assert (found.workers, found.threads, found.limited_by) == (8, 8, "cpus")
    assert resources.allocation(400, cpus=8, logical=16, memory=MANY * GIB).threads == 2
    assert resources.fixed_allocation(3, cpus=16).threads == 5


def put(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


SECOND = "sys/fs/cgroup/"
FIRST = "sys/fs/cgroup/memory/"


@pytest.mark.parametrize(
    ("files", "room"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", SECOND + "memory.max": "max\n", SECOND + "memory.current": "5\n"}, None),
        ({"proc/self/cgroup": "0::/\n", SECOND + "memory.max": "4096\n", SECOND + "memory.current": "1024\n"}, 3072),
        (
            {
                "proc/self/cgroup": "0::/box/inner\n",
                SECOND + "box/memory.max": "4096\n",
                SECOND + "box/memory.current": "3072\n",
                SECOND + "box/memory.stat": "anon 1\ninactive_file 2048\n",
                SECOND + "box/inner/memory.max": "max\n",
            },
            3072,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/of/the/machine\n1:cpu,cpuacct:/\n",
                FIRST + "memory.limit_in_bytes": "8192\n",
                FIRST + "memory.usage_in_bytes": "4096\n",
                FIRST + "memory.stat": "total_inactive_file 1024\n",
            },
            5120,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                FIRST + "memory.limit_in_bytes": f"{2**63 - 4096}\n",
                FIRST + "memory.usage_in_bytes": "4096\n",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/\n", SECOND + "memory.max": "nonsense"}, None),
    ],
    ids=["none", "no limit", "version 2", "a group above", "version 1", "no limit in version 1", "nonsense"],
)
def test_memory_is_limited_by_the_control_group(files: dict[str, str], room: int | None, tmp_path: Path) -> None:
    found = resources.memory(put(tmp_path, files))
    if room is None:
        assert found > psutil.virtual_memory().available / 2
    else:
        assert found == room


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", SECOND + "cpu.max": "100000 100000\n"}, 1),
        (
            {"proc/self/cgroup": "0::/a/b\n", SECOND + "a/cpu.max": "50000 100000\n", SECOND + "cpu.max": "max 100000"},
            1,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_cpus_are_those_of_the_quota(files: dict[str, str], quota: int | None, tmp_path: Path) -> None:
    assert resources.cpus(put(tmp_path, files)) == (quota or len(os.sched_getaffinity(0)))


def test_a_process_bound_to_one_cpu_has_one() -> None:
    bound = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(bound)})
    try:
        assert resources.cpus() == resources.cores() == 1
    finally:
        os.sched_setaffinity(0, bound)


def test_a_process_has_work_for_several_workers_if_its_cells_take_much_longer_than_a_start() -> None:
    times = Times({"slow": Expected(start=2.0, cell=1.0), "quick": Expected(start=2.0, cell=0.001)})
    cells = [(f"cpu/{name}", name, str(case)) for name in ("slow", "quick") for case in range(40)]
    assert times.useful_workers(cells) == 10 + 1
    assert times.useful_workers([]) == 0


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "reported"),
    [
        ((), {"workers": 1, "limited_by": "groups"}),
        (("-n", "2", "--threads", "3"), {"workers": 2, "threads": 3, "limited_by": "command"}),
    ],
)
def test_the_header_has_the_number_of_workers_and_processes_receive_their_threads(
    options: tuple[str, ...], reported: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "rows.yaml").write_text(table({"input_shape": [4], "units": 3}), encoding="utf-8")
    done = conformance("run", "rows.yaml", f"-i{EXACT}", "-o", "out", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    header, implementation, *_ = lines(tmp_path / "out" / "results.jsonl")
    assert header["workers"].items() >= reported.items()
    assert implementation["threads"] == header["workers"]["threads"]


@pytest.mark.integration
def test_the_suite_uses_no_more_threads_than_a_process(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(table({"input_shape": [4], "units": 3}), encoding="utf-8")
    (tmp_path / "seen.py").write_text(
        "import threadpoolctl\n"
        "def pytest_runtest_logfinish(location):\n"
        "    found = [each['num_threads'] for each in threadpoolctl.threadpool_info() if each['user_api'] == 'blas']\n"
        "    open('seen.txt', 'w').write(f'{found}')\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "seen", "-p", "conformance.run.plugin", "-n0", "--threads=3"),
            *("--pyargs", "conformance.run.runner::test_dense", "--cases=rows.yaml", f"--implementation={EXACT}"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert set(json.loads((tmp_path / "seen.txt").read_text(encoding="utf-8"))) == {3}
