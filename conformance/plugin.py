"""
The part of the suite that speaks pytest: options, expansion of the table into tests, results, summary.

Loaded by `-p conformance.plugin` in this project's own options and by `conformance run`, never through an entry point
of pytest, so that it cannot touch anybody else's test run.
"""

from __future__ import annotations

import gc
import importlib.metadata
import math
import os
import platform
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from conformance.adapters.registry import Implementation
from conformance.case import TIERS
from conformance.environment import usable
from conformance.ledger import Entry
from conformance.measured import Measured
from conformance.output import OutputError, ResultsFile
from conformance.progress import Progress
from conformance.results import finite
from conformance.scheduler import GroupScheduling
from conformance.selection import DEVICES, Selection, SelectionError, parse_shard
from conformance.suite import DEFAULT_CACHE, GIB, RECORD, Cell, Limits, Runner
from conformance.summary import summarise
from conformance.terminal import is_coloured, show_lines

#: Distributions whose versions the header states, beside those each implementation reports of itself.
DISTRIBUTIONS: Final = ("dense-conformance", "numpy", "pytest", "pytest-xdist", "ml_dtypes", "ruamel.yaml", "pydantic")
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
    group.addoption("--results", default=None, metavar="FILE", help="write the results, a JSON object a line")
    group.addoption("--draws", type=int, default=1, metavar="N", help="ask every question N times")
    group.addoption("--no-ledger", action="store_true", help="known divergences violate, as if nobody knew of them")
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
        )
        self.in_process = bool(config.getoption("--in-process"))
        self.limits = _limits(config)
        self.worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.chosen: tuple[Implementation, ...] = ()
        self.devices: dict[str, tuple[str, ...]] = {}
        self.cells: tuple[Cell, ...] = ()
        self.entries: tuple[Entry, ...] = ()
        self.asked = False
        self.expected: list[str] = []
        self.records: dict[str, dict[str, Any]] = {}
        self.measured = Measured()
        self.hellos: set[str] = set()
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
        self.chosen = self.selection.chosen()
        if self.in_process and len(self.chosen) != 1:
            raise SelectionError("--in-process holds one implementation: name it with --implementation")
        if self.in_process and (self.worker is not None or self.config.getoption("numprocesses", None)):
            raise SelectionError("--in-process and -n exclude one another")
        if self.worker is not None:
            self.devices = {name: tuple(each) for name, each in self.worker["conformance_devices"].items()}
        else:
            self.devices = dict(self.selection.devices(self.chosen))
        # Read here and not when tests are generated, where a fault would come with a traceback.
        self.cells = self.selection.cells(self.selection.table(), self.chosen, self.devices)
        self.entries = () if self.config.getoption("--no-ledger") else self.selection.ledger()
        target = self.config.getoption("--results")
        if target and self.worker is None and not self.config.option.collectonly:
            try:
                self.writer = ResultsFile.open(Path(target))
            except OutputError as error:
                raise SelectionError(str(error)) from None

    def runner(self) -> Runner:
        """Return what runs cells in this process of pytest."""
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        return Runner(
            entries=self.entries,
            threads=max(1, (os.cpu_count() or 1) // workers),
            draws=self.draws,
            in_process=self.in_process,
            limits=self.limits,
            cache=usable(DEFAULT_CACHE),
        )

    def expect(self, test_ids: Sequence[str]) -> None:
        """Take note of the tests to come, once, and write the header."""
        if self.asked:
            return
        self.asked = any("test_dense[" in each for each in test_ids)
        self.expected = [_cell_id(each) for each in test_ids if _is_cell(each)]
        if self.writer is not None:
            self.writer.header(
                started=self.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
                distributions=dict(_versions()),
                platform={
                    "system": platform.platform(),
                    "machine": platform.machine(),
                    "processor": _processor(),
                    "cpus": os.cpu_count(),
                    "python": platform.python_version(),
                },
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
                cells=len(self.expected),
            )

    def take(self, report: pytest.TestReport) -> None:
        """Write what a test's report carries."""
        for hello in getattr(report, "conformance_hellos", ()):
            if hello["implementation"] not in self.hellos:
                self.hellos.add(hello["implementation"])
                if self.writer is not None:
                    self.writer.implementation(**hello)
        if not _is_cell(report.nodeid):
            return
        cell = _cell_id(report.nodeid)
        record = getattr(report, "conformance", None)
        if record is None and report.failed and cell not in self.records:
            record = _unrun(cell, "crashed", f"the test itself failed: {report.longreprtext[-2000:]}")
        if record is not None and cell not in self.records:
            self.records[cell] = record
            self.measured.add(record)
            if self.writer is not None:
                self.writer.cell(record)
            if self.progress is not None:
                self.progress.take(record["outcome"])

    def finish(self) -> None:
        """Write a line for every cell that was not reached, and the footer."""
        missing = [each for each in self.expected if each not in self.records]
        for cell in missing:
            self.records[cell] = _unrun(cell, "not_run", "the run was stopped before this cell")
            if self.writer is not None:
                self.writer.cell(self.records[cell])
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


def _unrun(cell: str, outcome: str, reason: str) -> dict[str, Any]:
    """Return the record of a cell that has no result of its own."""
    device, implementation, case = cell.split("/", 2)
    named = {"case": case, "implementation": implementation, "device": device}
    return {**named, "outcome": outcome, "checks": [], "reason": reason, "seconds": 0.0}


def _versions() -> Iterator[tuple[str, str]]:
    for name in DISTRIBUTIONS:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _processor() -> str:
    """Return the processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Settle what is asked for before anything is collected."""
    if config.option.help or config.option.version:
        return
    try:
        state = State(config)
        state.prepare()
    except SelectionError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = state
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("--progress") and state.worker is None and reporter is not None:
        writer = config.get_terminal_writer()
        state.progress = Progress(writer._file, lambda: len(state.expected), live=is_coloured(writer._file))
        config.pluginmanager.register(state.progress, "conformance-progress")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(_WithXdist(state), "conformance-xdist")


class _WithXdist:
    """The hooks that exist only where pytest-xdist is loaded."""

    def __init__(self, state: State) -> None:
        self.state = state

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> GroupScheduling | None:
        """Group tests by process, unless another distribution was asked for by name."""
        if config.getoption("dist") != "load":
            return None
        return GroupScheduling(len(config.getoption("tx")))

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker the devices, so that it need not look for them."""
        node.workerinput["conformance_devices"] = {name: list(each) for name, each in self.state.devices.items()}

    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Take note of the tests a worker collected."""
        _written(self.state, lambda: self.state.expect(ids))


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
    record = item.stash.get(RECORD, None)
    if call.when == "call" and record is not None:
        report.conformance = record
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
                }
            )
            for name, hello in runner.hellos.items()
            if name == record["implementation"] and name not in runner.announced
        ]
        runner.announced.add(record["implementation"])
    return report


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
    if state is not None and (report.when == "call" or report.failed):
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
    outcomes = {each["outcome"] for each in state.records.values()}
    if exitstatus == pytest.ExitCode.OK and state.asked and outcomes <= {"not_run", "unsupported"}:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print counts per implementation, the slowest cells, and where the results are."""
    state = config.stash.get(STATE, None)
    if state is not None and state.failure is not None:
        # A summary of what is not in the file would be taken for one of what is.
        terminalreporter.write_line(f"ERROR: the results cannot be written: {state.failure}", red=True)
        return
    if state is None or state.worker is not None or not state.records:
        return
    terminalreporter.section("conformance")
    lines = summarise(list(state.records.values()), results=config.getoption("--results"))
    writer = config.get_terminal_writer()
    if is_coloured(writer._file) and writer.hasmarkup:
        show_lines(lines, writer._file)
        return
    for line, _ in lines:
        terminalreporter.write_line(line)
