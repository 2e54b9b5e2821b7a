"""The clocks of a child process: which CPU time counts, and when it hangs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from conformance.sandbox.deadline import Allowance, TimeLimit, cpu_seconds

LIMIT = TimeLimit(cpu=100.0, threads=2, hang=60.0, missing="no answer", option="--deadline")


class Clock:
    """A machine whose clocks a test moves: wall time, CPU time of the process, and whether that is at work."""

    def __init__(self) -> None:
        self.wall = 1000.0
        self.cpu = 7.0
        self.at_work = False

    def pass_by(self, seconds: float, *, cpu: float = 0.0) -> Iterator[None]:
        """Let wall time pass in steps of 0.5 s, with CPU time gained evenly."""
        steps = round(seconds / 0.5)
        for _ in range(steps):
            self.wall += 0.5
            self.cpu += cpu / steps
            yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("conformance.sandbox.deadline.time", SimpleNamespace(monotonic=lambda: made.wall))
    monkeypatch.setattr("conformance.sandbox.deadline._reading", lambda process: (made.cpu, made.at_work))
    return made


def overrun(watched: Allowance, clock: Clock, seconds: float, *, cpu: float = 0.0) -> str | None:
    """Return why a process is ended within so many seconds of wall time, None where it is not."""
    for _ in clock.pass_by(seconds, cpu=cpu):
        found = watched.overrun()
        if found is not None:
            return found.reason
    return None


def test_cpu_time_counts_from_the_first_reading_and_of_a_fresh_process_from_its_start(clock: Clock) -> None:
    clock.cpu = 150.0
    watched = Allowance(psutil.Process(), LIMIT, fresh=False)
    assert overrun(watched, clock, 300.0, cpu=195.0) is None
    reason = "no answer within 200 s of CPU time (100 s for each of 2 threads); allow more with --deadline 200"
    assert overrun(watched, clock, 10.0, cpu=10.0) == reason
    assert overrun(Allowance(psutil.Process(), LIMIT, fresh=True), clock, 0.5) == reason


def test_one_cpu_second_a_minute_is_no_hang_and_less_is(clock: Clock) -> None:
    watched = Allowance(psutil.Process(), LIMIT, fresh=True)
    assert overrun(watched, clock, 600.0, cpu=11.0) is None
    reason = overrun(watched, clock, 600.0, cpu=9.0)
    assert reason is not None
    assert reason.endswith(" s of CPU time in 60 s; allow more with --hang 120")
    assert reason.startswith("hangs: gained 0.")


def test_a_process_that_waits_for_a_cpu_or_a_disk_does_not_hang(clock: Clock) -> None:
    watched = Allowance(psutil.Process(), LIMIT, fresh=True)
    clock.at_work = True
    assert overrun(watched, clock, 3600.0) is None
    clock.at_work = False
    assert overrun(watched, clock, 55.0) is None
    assert overrun(watched, clock, 10.0) == "hangs: gained 0.00 s of CPU time in 60 s; allow more with --hang 120"


def test_time_in_which_the_suite_did_not_run_does_not_count(clock: Clock) -> None:
    watched = Allowance(psutil.Process(), LIMIT, fresh=True)
    assert overrun(watched, clock, 10.0) is None
    clock.wall += 3600.0
    assert watched.overrun() is None


def test_cpu_time_that_a_lost_descendant_takes_away_is_not_subtracted(clock: Clock) -> None:
    watched = Allowance(psutil.Process(), LIMIT, fresh=True)
    assert overrun(watched, clock, 100.0, cpu=150.0) is None
    clock.cpu = 0.0
    assert overrun(watched, clock, 20.0, cpu=20.0) is None
    assert overrun(watched, clock, 50.0, cpu=50.0) is not None


def test_cpu_time_of_a_descendant_that_ended_counts() -> None:
    script = "import time\nwhile time.process_time() < 0.5: pass"
    own = psutil.Process()
    before, alone = cpu_seconds(own), own.cpu_times()
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)
    after = own.cpu_times()
    gained = cpu_seconds(own) - before
    assert gained - (after.user + after.system - alone.user - alone.system) > 0.4


def test_an_ended_process_has_no_cpu_time() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as child:
        watched = psutil.Process(child.pid)
    assert cpu_seconds(watched) == 0.0
