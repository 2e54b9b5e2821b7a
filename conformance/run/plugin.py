"""
The pytest plugin: options, expansion of the table into tests, and the content of reports.

This project's own options and `conformance run` load it with `-p conformance.run.plugin`. It is no entry point of
pytest, so that it never affects other test runs. The leading process also has the hooks of `conformance.run.leader`
and, with workers, those of `conformance.run.distributed.hooks`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from typing import Final

import pytest
from msgspec.structs import replace

from conformance.checks.cell import Cell
from conformance.results import CellRecord
from conformance.results.codec import encode
from conformance.results.locked_file import OutputError, ResultsFile
from conformance.results.record import ImplementationRecord
from conformance.run import option_table, resources
from conformance.run.cell_name import name_of
from conformance.run.cell_runner import Runner
from conformance.run.distributed import transfer
from conformance.run.distributed.hooks import XdistHooks
from conformance.run.errors import OBJECTS_BETWEEN_COLLECTIONS, print_error
from conformance.run.implementation_process import DEFAULT_CACHE, ProcessOptions
from conformance.run.leader import Leader
from conformance.run.light_reports import LightReports
from conformance.run.options import Options
from conformance.run.plan import (
    Assignment,
    Plan,
    assignment_of_leader,
    assignment_of_worker,
    check_in_process,
    plan_of,
    workers_of,
)
from conformance.run.progress import Progress
from conformance.run.recorder import Recorder
from conformance.run.runner import RECORD
from conformance.run.selection import SelectionError
from conformance.sandbox.environment import writable_folder
from conformance.sandbox.steps import Hello
from conformance.text import is_coloured

#: A hook around those that make a report.
_Hook = Generator[None, pytest.TestReport, pytest.TestReport]
OPTIONS: Final = pytest.StashKey[Options]()
ASSIGNMENT: Final = pytest.StashKey[Assignment]()
#: The plan that was made to find the number of workers, with that number.
PLAN: Final = pytest.StashKey[tuple[Plan, resources.Allocation]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the suite's options."""
    option_table.add_to(parser)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return how many workers `-n auto` starts: as many as memory and cells allow."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or config.option.help or config.option.version:
        return None  # xdist reads the variable itself
    try:
        options = Options.of(config)
        plan = plan_of(options, config)
    except (SelectionError, pytest.UsageError) as error:
        raise _usage_fault(error) from None
    allocation = workers_of(plan, options, config)
    config.stash[PLAN] = plan, allocation
    return allocation.workers


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the options and make the plan, before tests are collected."""
    if config.option.help or config.option.version:
        return
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    is_worker = hasattr(config, "workerinput")
    try:
        options = config.stash[OPTIONS] = Options.of(config)
        if is_worker:
            config.stash[ASSIGNMENT] = assignment_of_worker(config)
        else:
            _lead(config, options)
    except (SelectionError, pytest.UsageError) as error:
        raise _usage_fault(error) from None
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        light = LightReports(config, reporter, prints=not is_worker)
        config.pluginmanager.register(light, "conformance-light-reports")


def _lead(config: pytest.Config, options: Options) -> None:
    """Register the hooks of the leading process; raises as `plan_of` does, or if the results file cannot be written."""
    plan, allocation = config.stash.get(PLAN, None) or (plan_of(options, config), None)
    check_in_process(options, plan, config)
    config.stash[ASSIGNMENT] = assignment_of_leader(plan, options, config)
    recorder = Recorder()
    if options.results is not None and plan.reads_table and not config.option.collectonly:
        try:
            recorder.writer = ResultsFile.open(options.results)
        except OutputError as error:
            raise SelectionError(str(error)) from None
    if options.has_progress and config.pluginmanager.hasplugin("terminalreporter"):
        file = config.get_terminal_writer()._file
        recorder.progress = Progress(file, lambda: recorder.tally.expected, live=is_coloured(file))
        config.pluginmanager.register(recorder.progress, "conformance-progress")
    leader = Leader(config, options, plan, recorder, allocation)
    config.pluginmanager.register(leader, "conformance-leader")
    if config.pluginmanager.hasplugin("xdist"):
        hooks = XdistHooks(
            config,
            plan.machines,
            cells=lambda: transfer.pack(plan.cells, plan.behaviours),
            arguments=options.arguments_for_workers(),
            expect=leader.expect,
        )
        recorder.place = hooks.place
        config.pluginmanager.register(hooks, "conformance-xdist")


def _usage_fault(error: object) -> pytest.UsageError:
    """Print an error in the form of every command, and return the exception that ends pytest without its own form."""
    print_error(error)
    return pytest.UsageError()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Expand the table into one test per cell."""
    if "cell" not in metafunc.fixturenames or metafunc.function.__name__ != "test_dense":
        return
    assignment = metafunc.config.stash[ASSIGNMENT]
    if not assignment.reads_table:
        raise pytest.UsageError(f"{metafunc.module.__name__}: no file of the pytest command reads the table")
    metafunc.parametrize("cell", assignment.cells, ids=[cell.id for cell in assignment.cells])


@pytest.fixture(scope="session")
def conformance_runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Yield the runner of this process of pytest, and end its child at the end."""
    options, assignment = request.config.stash[OPTIONS], request.config.stash[ASSIGNMENT]
    resources.limit_blas_threads(assignment.threads)
    runner = Runner(
        behaviours=assignment.behaviours,
        draws=options.draws,
        caches_questions=len({each.implementation.name for each in assignment.cells}) > 1,
        processes=ProcessOptions(
            in_process=options.in_process,
            threads=assignment.threads,
            limits=options.limits,
            cache=writable_folder(DEFAULT_CACHE),
            cpu_isa=options.cpu_isa,
        ),
    )
    yield runner
    runner.close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exclude collected tests from garbage collection: they live to the end, and rescanning them frees nothing."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> _Hook:
    """Add the name and the record of the cell to the report of its test, and to the first report the greeting."""
    report = yield
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if item.name.partition("[")[0] != "test_dense" or "cell" not in parameters:
        return report
    # For a table without cells pytest generates one test, which it skips.
    cell = parameters["cell"] if isinstance(parameters["cell"], Cell) else None
    report.__dict__["conformance_cell"] = None if cell is None else tuple(name_of(cell))
    if cell is not None and call.when == "call" and RECORD in item.stash:
        assignment = item.config.stash[ASSIGNMENT]
        record = _placed(item.stash[RECORD], assignment.host)
        # As text, which execnet carries in a hundredth of the time of the values one by one.
        report.__dict__["conformance"] = encode(record)
        del item.stash[RECORD]  # tests live to the end; records must not
        if assignment.writes_junit:
            # pytest's --junit-xml writes these of the last report as properties of a test case.
            item.user_properties.extend(_properties(record))
        runner: Runner = item.funcargs["conformance_runner"]  # type: ignore[attr-defined]
        hello = runner.new_hello(cell.implementation.name)
        if hello is not None:
            line = _implementation(cell.implementation.name, hello, assignment.host)
            report.__dict__["conformance_hello"] = encode(line)
    return report


def _implementation(name: str, hello: Hello, host: str | None) -> ImplementationRecord:
    """Return the line of a results file on the greeting of an implementation's process."""
    return ImplementationRecord(
        implementation=name,
        versions=dict(hello.versions),
        settings={key: _plain(value) for key, value in hello.settings.items()},
        devices=list(hello.devices),
        threads=hello.threads,
        host=host,
    )


def _placed(record: CellRecord, host: str | None) -> CellRecord:
    """Return a record with the other machine on which it was made, if any."""
    if host is None:
        return record
    has_reason = record.outcome == "not_run" and record.reason
    return replace(record, host=host, reason=f"{record.reason} (on {host})" if has_reason else record.reason)


def _properties(record: CellRecord) -> Iterator[tuple[str, str]]:
    """Yield the properties of a cell in a JUnit file."""
    for name in ("outcome", "implementation", "case", "device", "row"):
        if value := getattr(record, name):
            yield name, value
    margins = [float(each.margin) for each in record.checks if each.margin is not None]
    if margins:
        yield "margin", repr(max(margins))


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
