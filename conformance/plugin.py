"""
The part of the suite that speaks pytest: options, expansion of the table into tests, results, summary.

Loaded by `-p conformance.plugin` in this project's own options and by `conformance run`, never through an entry point
of pytest, so that it cannot touch anybody else's test run.
"""

from __future__ import annotations

import gc
import math
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from conformance import travel, workers
from conformance.adapters.registry import Implementation
from conformance.case import TIERS
from conformance.distribution import WithXdist
from conformance.environment import usable
from conformance.expected_time import Times
from conformance.ledger import Entry
from conformance.light_reports import LightReports
from conformance.machines import Machines, are_elsewhere
from conformance.measured import Measured
from conformance.output import OutputError, ResultsFile
from conformance.progress import Progress
from conformance.results import finite
from conformance.selection import DEVICES, Selection, SelectionError, parse_shard
from conformance.suite import DEFAULT_CACHE, GIB, RECORD, Cell, Limits, Runner
from conformance.summary import summarise
from conformance.tally import Tally
from conformance.terminal import is_coloured, show_lines

_CELL: Final = re.compile(r"test_dense\[([^/]+/[^/]+/.+)\]$")
STATE: Final = pytest.StashKey["State"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the suite's options."""
    group = parser.getgroup("conformance", "conformance of dense layers")
    group.addoption("--implementation", action="append", default=[], metavar="NAME", help="name or glob; repeatable")
    group.addoption("--device", choices=DEVICES, default="cpu", help="auto: the CPU, and the GPU where one is visible")
    group.addoption("--tier", choices=TIERS, default="full", help="a tier includes the ones before it")
    group.addoption("--cases", action="append", default=[], metavar="PATH", help="YAML file or folder; repeatable")
    group.addoption("--random", type=int, default=0, metavar="N", help="add N random cases to those of the table")
    group.addoption("--random-seed", type=int, default=0, metavar="S", help="the seed of the random cases")
    group.addoption("--shard", default="1/1", metavar="I/N", help="run the I-th of N parts")
    group.addoption("--times", default=None, metavar="RESULTS", help="expect cells to take as long as they did there")
    group.addoption("--results", default=None, metavar="FILE", help="write the results, a JSON object a line")
    group.addoption("--draws", type=int, default=1, metavar="N", help="ask every question N times")
    group.addoption("--no-ledger", action="store_true", help="known divergences violate, as if nobody knew of them")
    group.addoption(
        "--threads", type=int, default=None, metavar="N", help="of each process; else its share of the CPUs"
    )
    group.addoption(
        "--progress", action="store_true", help="how far a run has come and how long it will take, not dots"
    )
    group.addoption("--in-process", action="store_true", help="for a debugger: no process of its own")
    usual = Limits()
    group.addoption("--deadline", type=float, default=usual.question, metavar="SECONDS", help="of a cell's answers")
    group.addoption(
        "--start-deadline", type=float, default=usual.start, metavar="SECONDS", help="of a process until it is up"
    )
    group.addoption(
        "--memory", type=float, default=usual.memory / GIB, metavar="GIB", help="resident, that a process may take"
    )


class State:
    """What a run holds: its selection, its cells, the process it talks to, and the results file it writes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.draws = int(config.getoption("--draws"))
        if self.draws < 1:
            raise SelectionError("--draws is at least 1")
        if config.getoption("--random") < 0 or config.getoption("--random-seed") < 0:
            raise SelectionError("--random and --random-seed are at least 0")
        self.selection = Selection(
            cases=tuple(config.getoption("--cases")),
            implementations=tuple(config.getoption("--implementation")),
            device=config.getoption("--device"),
            tier=config.getoption("--tier"),
            random=config.getoption("--random"),
            random_seed=config.getoption("--random-seed"),
            shard=parse_shard(config.getoption("--shard")),
            times=config.getoption("--times"),
        )
        self.in_process = bool(config.getoption("--in-process"))
        self.limits = _limits(config)
        self.worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.host: str | None = None if self.worker is None else self.worker["conformance"]["host"]
        self.is_told_in_junit = bool(
            config.getoption("xmlpath", None) if self.worker is None else self.worker["conformance"]["junit"]
        )
        self.threads: int | None = config.getoption("--threads")
        if self.threads is not None and self.threads < 1:
            raise SelectionError("--threads is at least 1")
        self.chosen: tuple[Implementation, ...] = ()
        self.machines: Machines | None = None
        self.times = Times({})
        self.planned: workers.Plan | None = None
        self.cells: tuple[Cell, ...] = ()
        self.entries: tuple[Entry, ...] = ()
        self.asked = False
        self.tally = Tally()
        self.measured = Measured()
        self.hellos: set[tuple[str, str | None]] = set()
        self.xdist: WithXdist | None = None
        self.writer: ResultsFile | None = None
        self.failure: str | None = None
        self.started = datetime.now(UTC)
        self.progress: Progress | None = None

    def prepare(self) -> None:
        """
        Settle implementations, devices and cells, and open the results file.

        Raises:
            SelectionError: table, ledger or command is at fault, or the results file cannot be written.
        """
        if self.worker is not None:
            # A worker runs what it is sent, and reads no file that may not be there.
            self.cells, self.entries = travel.unpack(self.worker["conformance"]["cells"])
            return
        self._settle()
        if self.in_process and len(self.chosen) != 1:
            raise SelectionError("--in-process holds one implementation: name it with --implementation")
        if self.in_process and self.config.getoption("tx", None):
            raise SelectionError("--in-process and -n exclude one another")
        self.entries = () if self.config.getoption("--no-ledger") else self.selection.ledger()
        target = self.config.getoption("--results")
        if target and not self.config.option.collectonly:
            try:
                self.writer = ResultsFile.open(Path(target))
            except OutputError as error:
                raise SelectionError(str(error)) from None

    def _settle(self) -> None:
        """Settle implementations, machines and cells; raises `SelectionError`."""
        if self.machines is not None:
            return
        self.times = self.selection.expected_times()
        elsewhere, only = are_elsewhere(self.config)
        self.chosen = self.selection.chosen(elsewhere=elsewhere)
        self.machines = Machines(
            self.chosen, device=self.selection.device, threads=self.threads, elsewhere=elsewhere, only=only
        )
        devices = self.selection.devices(self.chosen, elsewhere=elsewhere)
        # Read here and not when tests are generated, where a fault would come with a traceback.
        self.cells = self.selection.cells(self.selection.table(), self.chosen, devices)

    def plan(self) -> workers.Plan:
        """
        Return how many workers the run starts of itself.

        Raises:
            SelectionError: table or command is at fault.
        """
        self._settle()
        cells = ((f"{e.device}/{e.implementation.name}", e.implementation.name, e.case.id) for e in self.cells)
        logical = workers.cpus()
        self.planned = workers.plan(
            self.times.kept_busy(cells) + workers.files_of_tests(self.config.args),
            cpus=logical if self.config.option.numprocesses == "logical" else workers.cores(),
            logical=logical,
            memory=workers.memory(),
            threads=self.threads,
        )
        return self.planned

    def runner(self) -> Runner:
        """Return what runs cells in this process of pytest."""
        threads = self.threads or workers.cpus() if self.worker is None else self.worker["conformance"]["threads"]
        return Runner(
            entries=self.entries,
            threads=threads,
            draws=self.draws,
            in_process=self.in_process,
            limits=self.limits,
            cache=usable(DEFAULT_CACHE),
        )

    def distribution(self) -> WithXdist:
        """Return the hooks that spread this run over workers."""
        assert self.machines is not None
        limits = self.limits
        options: dict[str, object] = {"draws": self.draws, "deadline": limits.question}
        apart = {cell.id for cell in self.cells if cell.case.environment}
        options |= {"start-deadline": limits.start, "memory": limits.memory / GIB}
        self.xdist = WithXdist(
            self.config,
            self.machines,
            cells=lambda: travel.pack(self.cells, self.entries),
            options=options,
            named=self.selection.implementations,
            times=self.times,
            is_apart=lambda test_id: _is_cell(test_id) and _cell_id(test_id) in apart,
            expect=lambda ids: _written(self, lambda: self.expect(ids)),
        )
        return self.xdist

    def _spread(self) -> dict[str, Any]:
        """Return what the header says of workers here, and of the other machines where there are any."""
        assert self.machines is not None
        found = self.machines.facts()
        here = self.machines.workers - sum(each["workers"] for each in found)
        planned = self.planned or workers.fixed(max(here, 1), cpus=workers.cpus(), threads=self.threads)
        told: dict[str, Any] = {"machines": found} if found else {}
        return told if found and not here else {"workers": planned.facts(), **told}

    def expect(self, test_ids: Sequence[str]) -> None:
        """Take note of the tests to come, once, and write the header."""
        if self.asked:
            return
        self.asked = any("test_dense[" in each for each in test_ids)
        named = (_cell_id(each) for each in test_ids if _is_cell(each))
        xdist = self.xdist
        self.tally.expect(each for each in named if xdist is None or xdist.is_wanted("/".join(each.split("/", 2)[:2])))
        if self.writer is not None:
            self.writer.header(
                started=self.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
                distributions=dict(travel.distributions()),
                platform=travel.described(),
                **self._spread(),
                selection={
                    "cases": list(self.selection.cases) or ["default table"],
                    "implementations": [each.name for each in self.chosen],
                    "device": self.selection.device,
                    "tier": self.selection.tier,
                    "random": {"count": self.selection.random, "seed": self.selection.random_seed},
                    "shard": "/".join(map(str, self.selection.shard)),
                    "draws": self.draws,
                    "ledger": not self.config.getoption("--no-ledger"),
                    "limits": {
                        "deadline": self.limits.question,
                        "start_deadline": self.limits.start,
                        "memory_gib": self.limits.memory / GIB,
                    },
                },
                cells=self.tally.expected,
            )

    def take(self, report: pytest.TestReport) -> None:
        """Write what a test's report carries."""
        for hello in getattr(report, "conformance_hellos", ()):
            said = (hello["implementation"], hello.get("host"))
            if said not in self.hellos:
                self.hellos.add(said)
                if self.writer is not None:
                    self.writer.implementation(**hello)
        if not _is_cell(report.nodeid):
            return
        cell = _cell_id(report.nodeid)
        record = report.__dict__.pop("conformance", None)  # once: pytest may keep the report to the end
        if self.tally.has(cell):
            return
        if record is None and report.failed:
            place = None if self.xdist is None else self.xdist.place(report)
            record = _unrun(cell, "crashed", f"the test itself failed: {report.longreprtext[-2000:]}", place)
        if record is not None:
            self.tally.take(record)
            self.measured.add(record)
            if self.writer is not None:
                self.writer.cell(record)
            if self.progress is not None:
                self.progress.take(record["outcome"])

    def finish(self) -> None:
        """Write a line for every cell that was not reached, and the footer."""
        missing = self.tally.missing
        for cell in missing:
            record = _unrun(cell, "not_run", "the run was stopped before this cell")
            self.tally.take(record)
            if self.writer is not None:
                self.writer.cell(record)
        if self.writer is not None:
            seconds = (datetime.now(UTC) - self.started).total_seconds()
            self.writer.footer(complete=not missing, seconds=round(seconds, 3), measured=self.measured.facts())
            self.writer.close()

    def give_up(self, error: OutputError) -> str:
        """Write nothing more, and return why in a line."""
        if self.writer is not None:
            self.writer.close()
        self.writer, self.failure = None, str(error)
        return self.failure


def _limits(config: pytest.Config) -> Limits:
    """Return what a process may take, as the options say."""
    given = {name: float(config.getoption(f"--{name}")) for name in ("deadline", "start-deadline", "memory")}
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise SelectionError(f"--{name} is more than 0")
    return Limits(
        question=given["deadline"], start=given["start-deadline"], memory=max(1, round(given["memory"] * GIB))
    )


def _is_cell(test_id: str) -> bool:
    return _CELL.search(test_id) is not None


def _cell_id(test_id: str) -> str:
    """Return `DEVICE/IMPLEMENTATION/CASE` of the test of a cell."""
    found = _CELL.search(test_id)
    assert found is not None, test_id
    return found.group(1)


def _unrun(cell: str, outcome: str, reason: str, place: str | None = None) -> dict[str, Any]:
    """Return the record of a cell that has no result of its own; `place` is the other machine it was at."""
    device, implementation, case = cell.split("/", 2)
    named = {"case": case, "implementation": implementation, "device": device}
    where, reason = ({}, reason) if place is None else ({"host": place}, f"{reason} (on {place})")
    return {**named, "outcome": outcome, "checks": [], "reason": reason, "seconds": 0.0, **where}


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return how many workers `-n auto` starts: no more than memory allows and cells keep busy."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or config.option.help or config.option.version:
        return None  # xdist itself reads what the variable says
    try:
        state = config.stash[STATE] = State(config)
        return state.plan().workers
    except SelectionError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Settle what is asked for before anything is collected."""
    if config.option.help or config.option.version:
        return
    try:
        state = config.stash.get(STATE, None) or State(config)
        state.prepare()
    except SelectionError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = state
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("--progress") and state.worker is None and reporter is not None:
        writer = config.get_terminal_writer()
        state.progress = Progress(writer._file, lambda: state.tally.expected, live=is_coloured(writer._file))
        config.pluginmanager.register(state.progress, "conformance-progress")
    if reporter is not None:
        light = LightReports(config, reporter, prints=state.worker is None)
        config.pluginmanager.register(light, "conformance-light-reports")
    if config.pluginmanager.hasplugin("xdist") and state.worker is None:
        config.pluginmanager.register(state.distribution(), "conformance-xdist")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Expand the table into one test per cell."""
    if "cell" not in metafunc.fixturenames or metafunc.function.__name__ != "test_dense":
        return
    cells = metafunc.config.stash[STATE].cells
    metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])


@pytest.fixture(scope="session")
def conformance_runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Yield what runs the cells of this process of pytest, and end its child at the end."""
    runner = request.config.stash[STATE].runner()
    yield runner
    runner.close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the header, where this process collects itself, and let what was collected be."""
    # Table, ledger and tests live to the end: a collector that walks them again and again finds nothing.
    gc.freeze()
    state = session.config.stash[STATE]
    if state.worker is None and not session.config.option.collectonly:
        _written(state, lambda: state.expect([item.nodeid for item in session.items]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Let the report of a cell's test carry its record, and that of the first one what its process said of itself."""
    report: Any = yield
    if call.when == "call" and RECORD in item.stash:
        state = item.config.stash[STATE]
        host = state.host
        report.conformance = record = _placed(item.stash[RECORD], host)
        del item.stash[RECORD]  # tests live to the end, and records must not
        if state.is_told_in_junit:
            # Of these pytest's own --junit-xml makes properties of a test case; it takes those of the last report.
            item.user_properties.extend(_properties(record))
        runner: Runner = item.funcargs["conformance_runner"]  # type: ignore[attr-defined]
        report.conformance_hellos = [
            finite(
                {
                    "implementation": name,
                    "versions": dict(hello.versions),
                    "settings": {key: _plain(value) for key, value in hello.settings.items()},
                    "devices": list(hello.devices),
                    "threads": hello.threads,
                    **({} if host is None else {"host": host}),
                }
            )
            for name, hello in runner.hellos.items()
            if name == record["implementation"] and name not in runner.announced
        ]
        runner.announced.add(record["implementation"])
    return report


def _placed(record: dict[str, Any], host: str | None) -> dict[str, Any]:
    """Return a record that says on which other machine it came about, if on any."""
    if host is None:
        return record
    lacking = record["outcome"] == "not_run" and "reason" in record
    return {**record, "host": host} | ({"reason": f"{record['reason']} (on {host})"} if lacking else {})


def _properties(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a JUnit file says of a cell beside pass, skip or failure."""
    for name in ("outcome", "implementation", "case", "device", "row"):
        if record.get(name):
            yield name, str(record[name])
    margins = [float(each["margin"]) for each in record["checks"] if each.get("margin") is not None]
    if margins:
        yield "margin", repr(max(margins))


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write results as they come; with xdist, this runs where the results file is."""
    state = _current
    if state is not None and state.worker is None and (report.when == "call" or report.failed):
        _written(state, lambda: state.take(report))


def _written(state: State, write: Callable[[], None]) -> None:
    """Do what writes results; where they can be written no more, end the run: going on would waste it."""
    try:
        write()
    except OutputError as error:
        pytest.exit(state.give_up(error), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the run whose reports are to come."""
    global _current
    _current = session.config.stash[STATE]


#: The run of this process; reports do not carry their configuration.
_current: State | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
    """End the results file; a run in which every cell was skipped fails."""
    global _current
    state, _current = _current, None
    if state is None or state.worker is not None or session.config.option.collectonly:
        return
    if state.progress is not None:
        state.progress.end()
    try:
        state.finish()
    except OutputError as error:
        state.give_up(error)
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
        return
    if exitstatus == pytest.ExitCode.OK and state.asked and state.tally.total.keys() <= {"not_run", "unsupported"}:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print counts per implementation, the slowest cells, and where the results are."""
    state = config.stash.get(STATE, None)
    if state is not None and state.failure is not None:
        # A summary of what is not in the file would be taken for one of what is.
        terminalreporter.write_line(f"ERROR: the results cannot be written: {state.failure}", red=True)
        return
    if state is None or state.worker is not None or not state.tally.counted:
        return
    terminalreporter.section("conformance")
    lines = summarise(state.tally, results=config.getoption("--results"))
    writer = config.get_terminal_writer()
    if is_coloured(writer._file) and writer.hasmarkup:
        show_lines(lines, writer._file)
        return
    for line, _ in lines:
        terminalreporter.write_line(line)
