"""
Workers on other machines, in whole runs: two environments on this one that share nothing with what leads the run.

What can be asked of gateways without a run is in `tests/unit/run/test_transfer.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.results import read
from tests.support.hosts import HONEST, WAITING, Host
from tests.support.runs import arguments, cells, conformance, environment, lines, outcomes, table

#: Far longer than such a run takes, and what a run that hangs takes at most (seconds).
PATIENCE = 120


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, Host]:
    """Return two machines with the same modules, but for `odd`, which one of them alone has."""
    folders = [tmp_path_factory.mktemp("machine") for _ in range(2)]
    both = {"both": HONEST, "there": HONEST, "mine": WAITING}
    return Host(folders[0], both), Host(folders[1], {**both, "odd": HONEST})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"input_shape": [2], "units": units, "values": "exact"} for units in range(1, 13)]
    (tmp_path / "rows.yaml").write_text(table(*rows), encoding="utf-8")
    return tmp_path


def judged(record: dict[str, Any]) -> dict[str, Any]:
    """Return of a record what does not depend on when and where it came about."""
    return {key: value for key, value in record.items() if key not in ("seconds", "steps", "host", "start")}


def test_rows_travel_and_results_come_back_to_one_file(hosts: tuple[Host, Host], folder: Path) -> None:
    with hosts[0].serve() as (_, one), hosts[1].serve() as (_, two):
        done = conformance(
            *("run", "rows.yaml", "-inumpy", "-ithere:dense", "-iboth:dense", "-o", "far"),
            *(f"--tx=socket={one}", f"--tx=socket={two}"),
            cwd=folder,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    header, *_, footer = lines(folder / "far" / "results.jsonl")
    machines = {each["address"]: each for each in header["machines"]}
    assert set(machines) == {one, two}
    names = {address: each["host"] for address, each in machines.items()}
    assert names[one] != names[two]
    assert all(each["distributions"]["numpy"] for each in machines.values())
    assert footer["complete"] is True
    found = cells(folder / "far" / "results.jsonl")
    assert len(found) == header["cells"] == 36
    assert {each["host"] for each in found} == set(names.values())
    # A row is named as it was here.
    assert {each["row"] for each in found} == {"rows.yaml:1"}
    said = [
        (each["implementation"], each["host"])
        for each in lines(folder / "far" / "results.jsonl")
        if each["type"] == "implementation"
    ]
    assert len(said) == len(set(said))
    assert {host for _, host in said} == set(names.values())
    # And all of it is what this machine says.
    here = conformance("run", "rows.yaml", "-inumpy", "-n", "0", "-o", "near", cwd=folder)
    assert here.returncode == 0, here.stdout
    near = {each["case"]: judged(each) for each in cells(folder / "near" / "results.jsonl")}
    assert near == {each["case"]: judged(each) for each in found if each["implementation"] == "numpy"}


def started(folder: Path, hosts: Sequence[Host], addresses: Sequence[str]) -> tuple[subprocess.Popen[str], int]:
    """Start a run of 24 cells on machines; return it, and which machine waits in the middle of a cell."""
    for each in hosts:
        (each.folder / "wait").touch()
        (each.folder / "waiting").unlink(missing_ok=True)
    process = subprocess.Popen(
        arguments("run", "rows.yaml", "-imine:dense", "-inumpy", "-o", "out", *(f"--tx=socket={a}" for a in addresses)),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        for number, each in enumerate(hosts):
            if each.is_waiting():
                return process, number
        time.sleep(0.02)
    process.kill()
    raise AssertionError(process.communicate()[0])


def test_a_machine_that_is_lost_costs_the_cell_it_was_at(hosts: tuple[Host, Host], folder: Path) -> None:
    with hosts[0].serve() as (first, one), hosts[1].serve() as (second, two):
        process, waiting = started(folder, hosts, (one, two))
        (hosts[1 - waiting].folder / "wait").unlink()
        (first, second)[waiting].kill()
        said, _ = process.communicate(timeout=PATIENCE)
    lost = (one, two)[waiting]
    assert process.returncode == 1, said
    assert "INTERNALERROR" not in said
    assert f"{lost} is lost; the run continues without it" in said
    assert read(folder / "out" / "results.jsonl").complete
    found = outcomes(folder / "out" / "results.jsonl")
    assert len(found) == 24
    assert sorted(found.values()) == ["conforms"] * 23 + ["crashed"]
    (record,) = (each for each in cells(folder / "out" / "results.jsonl") if each["outcome"] == "crashed")
    assert re.search(r"worker 'gw[01]' crashed while running .* \(on .*\)$", record["reason"], re.DOTALL)
    assert lost in record["host"]


def test_without_machines_the_run_ends_with_its_cells_not_run(hosts: tuple[Host, Host], folder: Path) -> None:
    with hosts[0].serve() as (only, one):
        process, _ = started(folder, hosts[:1], (one,))
        only.kill()
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, said
    assert "no machine is left to run the rest" in said
    assert "INTERNALERROR" not in said
    assert not read(folder / "out" / "results.jsonl").complete
    found = outcomes(folder / "out" / "results.jsonl")
    assert len(found) == 24
    assert sorted(set(found.values())) == ["conforms", "crashed", "not_run"]


def test_a_machine_with_another_source_takes_no_part(hosts: tuple[Host, Host], folder: Path) -> None:
    changed = hosts[0].packages / "conformance" / "table" / "rule.py"
    before = changed.read_text(encoding="utf-8")
    changed.write_text(before + "# another version\n", encoding="utf-8")
    try:
        with hosts[0].serve() as (_, one):
            done = conformance("run", "rows.yaml", "-inumpy", f"--tx=socket={one}", "-o", "out", cwd=folder)
    finally:
        changed.write_text(before, encoding="utf-8")
    assert done.returncode == 2, done.stdout
    assert f"{one}: dense-conformance" in done.stderr + done.stdout
    assert "install the same on both" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_machine_that_lacks_what_another_one_has_takes_no_part(hosts: tuple[Host, Host], folder: Path) -> None:
    with hosts[0].serve() as (_, one), hosts[1].serve() as (_, two):
        words = ("run", "rows.yaml", "-inumpy", "-iodd:dense", f"--tx=socket={two}", f"--tx=socket={one}", "-o", "out")
        done = conformance(*words, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert f"odd:dense is not installed on {one}: odd" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert not (folder / "out" / "results.jsonl").exists()


def test_a_machine_is_reached_by_ssh_with_its_own_interpreter(hosts: tuple[Host, Host], folder: Path) -> None:
    """By a program in place of ssh, which runs what it is told to run there: without a shell's settings, elsewhere."""
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    there = f"cd {hosts[1].folder} && exec env -i PATH=/usr/bin:/bin HOME={hosts[1].folder}"
    program.write_text(f'#!/bin/sh\nfor last; do :; done\n{there} sh -c "$last"\n', encoding="utf-8")
    program.chmod(0o755)
    spec = f"2*ssh=node1//python={hosts[1].folder}/environment/bin/python//chdir=work"
    done = conformance(
        *("run", "rows.yaml", "-inumpy", "-o", "out", f"--tx={spec}", "--tx=popen"),
        cwd=folder,
        PATH=f"{program.parent}:{os.environ['PATH']}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    header, *_ = lines(folder / "out" / "results.jsonl")
    assert [(each["address"], each["workers"]) for each in header["machines"]] == [("node1", 2)]
    assert header["workers"]["workers"] == 1
    # Workers there and the one here share the cells.
    assert {each.get("host") for each in cells(folder / "out" / "results.jsonl")} == {
        header["machines"][0]["host"],
        None,
    }
    assert set(outcomes(folder / "out" / "results.jsonl").values()) == {"conforms"}
