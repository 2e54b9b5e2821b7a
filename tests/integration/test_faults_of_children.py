"""
Whatever a framework's process does, in a whole run: one clear outcome for its cell, and no other cell is lost.

All of it happens in one run, each misdeed a row of its own between honest ones, each broken framework an implementation
of its own beside healthy ones.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.commands.cli import main
from conformance.results import read
from tests.support.runs import EXACT, UNRULY, cells, conformance, table
from tests.support.unruly_adapter import units

#: What a module of an adapter holds, by its name.
MODULES = {
    "aborts_on_import": "import os; os.abort()",
    "never_ends_to_import": "while True: pass",
    "waits_on_import": "import time; time.sleep(1000)",
    "imports_slowly": "import time; time.sleep(1.5); from tests.support.faulty_adapters import Exact as Adapter",
    "prints_at_exit": (
        "import atexit, os\n"
        "from tests.support.faulty_adapters import Exact as Adapter\n"
        "atexit.register(lambda: [os.write(each, b'so long\\n') for each in (1, 2)])\n"
        "class Loud:\n    def __del__(self): print('so long')\nloud = Loud()\n"
    ),
    "speaks_on_import": (
        "import os\nfor each in range(3, 64):\n    try: os.write(each, b'hello\\n')\n    except OSError: pass"
    ),
}


@dataclass(frozen=True)
class Fault:
    """What a cell's process does, and what its cell says of it; `reason` is a regular expression."""

    does: str
    outcome: str
    reason: str


#: A misdeed that is waited for follows one that is not: its process is then fresh, and it is asked once and not twice.
FAULTS = (
    Fault("abort", "crashed", "output: SIGABRT"),
    Fault("segfault", "crashed", "output: SIGSEGV"),
    Fault("shoot_itself", "crashed", "output: SIGKILL"),
    Fault("vanish", "crashed", "output: exit status 0 without an answer"),
    Fault("spin", "timed_out", "output: no answer within 2 s of CPU time"),
    Fault("spin_in_regex", "timed_out", "output: no answer within 2 s of CPU time"),
    Fault("wait_in_native_code", "timed_out", r"output: hangs: gained 0\.\d\d s of CPU time in 4 s; .*--hang 8"),
    Fault("grow", "crashed", r"output: killed: more than 0\.5 GiB resident"),
    Fault("flood", "conforms", ""),
    Fault("flood_and_abort", "crashed", "output: SIGABRT"),
    Fault("speak_garbage", "crashed", "output: unexpected message: b'Hello, I am a library"),
)
HONEST = ("honest-first", "honest-middle", "honest-last")
STARTS = {
    "aborts_on_import": ("crashed", "the process did not start: SIGABRT"),
    "never_ends_to_import": ("crashed", "the process did not start: no start within 5 s of CPU time"),
    "waits_on_import": ("crashed", r"the process did not start: hangs: gained 0\.\d\d s of CPU time in 4 s"),
    "speaks_on_import": ("crashed", "the process did not start: unexpected message: b'hello"),
    "imports_slowly": ("conforms", ""),
    "prints_at_exit": ("conforms", ""),
}


def row(name: str, number: int, *implementations: str) -> dict[str, object]:
    return {
        "id": name,
        "input_shape": [2],
        "units": number,
        "values": "exact",
        "implementations": list(implementations) or ["*"],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("children")
    for name, source in MODULES.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    misdeeds = [row(each.does, units(each.does), UNRULY) for each in FAULTS]
    honest = [row(name, number) for number, name in enumerate(HONEST, start=3)]
    rows = [honest[0], *misdeeds[:2], honest[1], *misdeeds[2:], honest[2]]
    (folder / "rows.yaml").write_text(table(*rows), encoding="utf-8")
    chosen = [f"-i{each}" for each in (UNRULY, EXACT, *(f"{name}:Adapter" for name in STARTS))]
    limits = ("--deadline", "2", "--start-deadline", "5", "--hang", "4", "--memory", "0.5")
    done = conformance("run", "rows.yaml", *chosen, *limits, "-n", "2", "-o", "out", cwd=folder)
    return done, folder / "out"


Run = tuple[subprocess.CompletedProcess[str], Path]


def test_each_misdeed_is_the_outcome_of_its_cell(run: Run) -> None:
    found = {each["case"]: each for each in cells(run[1] / "results.jsonl") if each["implementation"] == UNRULY}
    told = {
        each.does: (found[f"{each.does}-exact"]["outcome"], found[f"{each.does}-exact"].get("reason", ""))
        for each in FAULTS
    }
    assert {name: outcome for name, (outcome, _) in told.items()} == {each.does: each.outcome for each in FAULTS}
    assert [(each, told[each.does][1]) for each in FAULTS if not re.match(each.reason, told[each.does][1])] == []


def test_a_framework_that_does_not_start_has_its_reason_in_all_cells(run: Run) -> None:
    for name, (outcome, reason) in STARTS.items():
        found = [each for each in cells(run[1] / "results.jsonl") if each["implementation"] == f"{name}:Adapter"]
        assert [each["outcome"] for each in found] == [outcome] * len(HONEST), name
        assert all(re.match(reason, each.get("reason", "")) for each in found), (name, found[0])


def test_no_other_cell_is_lost(run: Run) -> None:
    done, out = run
    found = read(out / "results.jsonl")
    assert found.complete
    assert found.header.cells == len(found.cells) == len(FAULTS) + len(HONEST) * (2 + len(STARTS))
    for name in (UNRULY, EXACT):
        honest = [each for each in found.cells if each.implementation == name and each.case.startswith("honest")]
        assert [each.outcome for each in honest] == ["conforms"] * len(HONEST), name
    assert done.returncode == 1, done.stdout


def test_the_run_prints_text_without_control_characters(run: Run) -> None:
    done, out = run
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "so long" not in said
    assert "\x1b" not in said
    assert len((out / "results.jsonl").read_bytes()) < 2**20, "a flood is cut"
    assert "page: out/index.html" in done.stdout


def test_the_limits_are_on_record(run: Run) -> None:
    limits = read(run[1] / "results.jsonl").header.selection.limits
    assert limits == {"deadline": 2.0, "start_deadline": 5.0, "hang": 4.0, "memory_gib": 0.5}


@pytest.mark.parametrize("option", ["--deadline", "--start-deadline", "--hang", "--memory"])
def test_a_limit_is_a_number_of_more_than_0(option: str) -> None:
    for value in ("0", "-1", "inf", "nan", "a"):
        done = CliRunner().invoke(main, ["run", option, value])
        assert done.exit_code == 2
        assert option in done.output
