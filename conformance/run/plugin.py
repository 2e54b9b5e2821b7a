"""
The part of the suite that speaks pytest: options, expansion of the table into tests, results, summary.

Loaded by `-p conformance.run.plugin` in this project's own options and by `conformance run`, never through an entry
point of pytest, so that it cannot touch anybody else's test run.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import pytest

from conformance.results import finite
from conformance.results.locked_file import OutputError
from conformance.run.cell_runner import Runner
from conformance.run.errors import say_error
from conformance.run.instruction_set import NAMES
from conformance.run.light_reports import LightReports
from conformance.run.progress import Progress
from conformance.run.runner import RECORD
from conformance.run.selection import DEVICES, SelectionError
from conformance.run.state import State
from conformance.run.summary import summarise
from conformance.sandbox.sandbox import GIB, Limits
from conformance.table.case import TIERS
from conformance.text import is_coloured, show_lines

STATE: Final = pytest.StashKey[State]()
#: What is collected lives to the end, a cell leaves some hundred objects that wait for the collector, and a question
#: that is kept has thousands that it walks in vain: it comes every few dozen cells, not several times in each.
OBJECTS_BETWEEN_COLLECTIONS: Final = 10_000


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
    group.addoption("--strict-ledger", action="store_true", help="fail where a known divergence is gone")
    group.addoption(
        "--threads", type=int, default=None, metavar="N", help="of each process; else its share of the CPUs"
    )
    group.addoption(
        "--cpu-isa", choices=NAMES, default=None, help="limit frameworks to an instruction set that the processor has"
    )
    group.addoption(
        "--progress", action="store_true", help="how far a run has come and how long it will take, not dots"
    )
    group.addoption("--in-process", action="store_true", help="for a debugger: no process of its own")
    usual = Limits()
    group.addoption(
        "--deadline",
        type=float,
        default=usual.question,
        metavar="SECONDS",
        help="CPU time of each thread for a cell's answers",
    )
    group.addoption(
        "--start-deadline",
        type=float,
        default=usual.start,
        metavar="SECONDS",
        help="CPU time of a process until it is up",
    )
    group.addoption(
        "--hang",
        type=float,
        default=usual.hang,
        metavar="SECONDS",
        help="wall time in which a process that does not hang gains CPU time: 1 s for each 60 s",
    )
    group.addoption(
        "--memory", type=float, default=usual.memory / GIB, metavar="GIB", help="resident, that a process may take"
    )


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return how many workers `-n auto` starts: no more than memory allows and cells keep busy."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or config.option.help or config.option.version:
        return None  # xdist itself reads what the variable says
    try:
        state = config.stash[STATE] = State(config)
        return state.plan().workers
    except (SelectionError, pytest.UsageError) as error:
        raise _usage_fault(error) from None


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Settle what is asked for before anything is collected."""
    if config.option.help or config.option.version:
        return
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        state = config.stash.get(STATE, None) or State(config)
        state.prepare()
    except (SelectionError, pytest.UsageError) as error:
        raise _usage_fault(error) from None
    config.stash[STATE] = state
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if config.getoption("--progress") and state.worker is None and reporter is not None:
        writer = config.get_terminal_writer()
        state.recorder.progress = Progress(
            writer._file, lambda: state.recorder.tally.expected, live=is_coloured(writer._file)
        )
        config.pluginmanager.register(state.recorder.progress, "conformance-progress")
    if reporter is not None:
        light = LightReports(config, reporter, prints=state.worker is None)
        config.pluginmanager.register(light, "conformance-light-reports")
    if config.pluginmanager.hasplugin("xdist") and state.worker is None:
        config.pluginmanager.register(state.distribution(), "conformance-xdist")


def _usage_fault(error: object) -> pytest.UsageError:
    """Say an error in the form of every command, and return what ends pytest for it; pytest's own form is another."""
    say_error(error)
    return pytest.UsageError()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Expand the table into one test per cell."""
    if "cell" not in metafunc.fixturenames or metafunc.function.__name__ != "test_dense":
        return
    state = metafunc.config.stash[STATE]
    if not state.reads_table:
        raise pytest.UsageError(f"{metafunc.module.__name__}: no file that pytest was called with asks for the table")
    cells = state.cells
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
        state.expect([item.nodeid for item in session.items])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Let the report of a cell's test carry its record, and that of the first one what its process said of itself."""
    report: Any = yield
    if call.when == "call" and RECORD in item.stash:
        state = item.config.stash[STATE]
        host = state.host
        record = _placed(item.stash[RECORD], host)
        # As text, which takes execnet a hundredth of the time it takes to carry every value by itself.
        report.conformance = json.dumps(record)
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
        state.recorder.take(report)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the run whose reports are to come."""
    global _current
    _current = session.config.stash[STATE]


#: The run of this process; reports do not carry their configuration.
_current: State | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
    """End the results file; a run of which nothing ran fails, and so does one that did not ask who was named."""
    global _current
    state, _current = _current, None
    if state is None or state.worker is not None or session.config.option.collectonly:
        return
    if state.recorder.progress is not None:
        state.recorder.progress.end()
    try:
        state.recorder.finish()
    except OutputError as error:
        state.recorder.give_up(error)
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
        return
    if exitstatus != pytest.ExitCode.OK or not state.recorder.asked:
        return
    if not state.recorder.tally.has_run:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
    elif state.idle or state.fails_by_ledger:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of a results file that the session never came to."""
    state = config.stash.get(STATE, None)
    if state is not None and state.recorder.writer is not None:
        state.recorder.writer.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print counts per implementation, the slowest cells, and where the results are."""
    state = config.stash.get(STATE, None)
    if state is not None and state.recorder.failure is not None:
        # A summary of what is not in the file would be taken for one of what is.
        terminalreporter.write_line(f"error: the results cannot be written: {state.recorder.failure}", red=True)
        return
    if state is None or state.worker is not None or not state.recorder.asked or config.option.collectonly:
        return
    terminalreporter.section("conformance")
    lines = summarise(
        state.recorder.tally,
        results=config.getoption("--results"),
        versions=state.recorder.versions,
        strict=state.is_strict,
        idle=state.idle,
        notes=state.unknown_globs,
        alone=state.alone,
    )
    writer = config.get_terminal_writer()
    if is_coloured(writer._file) and writer.hasmarkup:
        show_lines(lines, writer._file)
        return
    for line, _ in lines:
        terminalreporter.write_line(line)
