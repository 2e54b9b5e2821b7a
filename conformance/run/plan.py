"""What a run does: the plan of the process that leads it, and what each process of pytest is assigned."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell, unknown_globs
from conformance.ledger import Behaviour
from conformance.run import resources
from conformance.run.collection import count_other_files, needs_table
from conformance.run.distributed import transfer
from conformance.run.distributed.machines import Machines, are_elsewhere
from conformance.run.expected_times import Times
from conformance.run.instruction_set import missing_features
from conformance.run.options import Options
from conformance.run.selection import SelectionError
from conformance.sandbox.environment import cpu_features


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What one process of pytest runs."""

    cells: tuple[Cell, ...]
    behaviours: tuple[Behaviour, ...]
    #: Threads of each process that it starts.
    threads: int
    #: Whether tests are generated from the table: no other test needs it to be there, or to be without fault.
    reads_table: bool
    #: The other machine that it is on, None for the one that leads the run.
    host: str | None = None
    #: Whether pytest writes a JUnit file of the run.
    writes_junit: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What follows from the options of a run, before anything of it is run."""

    implementations: tuple[Implementation, ...]
    machines: Machines
    #: The cells of this shard.
    cells: tuple[Cell, ...]
    #: Names of the implementations that are asked something in some shard: not all of their cells are unsupported.
    askable: frozenset[str]
    #: Globs of rows that match no implementation, each a line with its row.
    unknown_globs: tuple[str, ...]
    behaviours: tuple[Behaviour, ...]
    #: How long cells are expected to take.
    times: Times
    reads_table: bool


def assignment_of_worker(config: pytest.Config) -> Assignment:
    """Return the assignment of a worker, which runs what it is sent, and reads no file that may not be there."""
    sent: transfer.WorkerInput = config.workerinput["conformance"]  # type: ignore[attr-defined]  # pytest-xdist adds it
    cells, behaviours = transfer.unpack(sent["cells"])
    return Assignment(
        cells=cells,
        behaviours=behaviours,
        threads=sent["threads"],
        reads_table=needs_table(config.args),
        host=sent["host"],
        writes_junit=sent["junit"],
    )


def assignment_of_leader(plan: Plan, options: Options, config: pytest.Config) -> Assignment:
    """Return the assignment of the process that leads a run: all of it, where there are no workers."""
    return Assignment(
        cells=plan.cells,
        behaviours=plan.behaviours,
        threads=options.threads or resources.cpus(),
        reads_table=plan.reads_table,
        writes_junit=bool(config.getoption("xmlpath", None)),
    )


def plan_of(options: Options, config: pytest.Config) -> Plan:
    """
    Return the plan of a run.

    Raises:
        SelectionError: table, ledger or command is at fault.
        pytest.UsageError: a machine is named in a way that pytest-xdist does not know.
    """
    selection = options.selection
    times = selection.expected_times()
    reads_table = needs_table(config.args)
    machines = _machines(options, config, reads_table=reads_table)
    chosen, elsewhere = machines.implementations, machines.are_elsewhere
    if reads_table and not elsewhere and not config.option.collectonly:
        selection.check_adapters(chosen, options.limits)
    devices = selection.devices(chosen, elsewhere=machines.are_all_elsewhere)
    # Read here and not when tests are generated, where a fault would come with a traceback.
    cases = selection.table() if reads_table else ()
    cells = selection.every_cell(cases, chosen, devices)
    return Plan(
        implementations=chosen,
        machines=machines,
        cells=selection.part(cells),
        askable=frozenset(each.implementation.name for each in cells if each.unsupported is None),
        unknown_globs=tuple(f"{case.row}: {fault}" for case, _, fault in unknown_globs(cases)),
        behaviours=selection.ledger() if reads_table and options.has_ledger else (),
        times=times,
        reads_table=reads_table,
    )


def _machines(options: Options, config: pytest.Config, *, reads_table: bool) -> Machines:
    """Return the machines of a run, with the implementations that it asks on each; raises as `plan_of` does."""
    selection = options.selection
    elsewhere, only = are_elsewhere(config)
    if options.cpu_isa is not None and not only and (missing := missing_features(options.cpu_isa, cpu_features())):
        raise SelectionError(f"--cpu-isa {options.cpu_isa}: the processor lacks {', '.join(missing)}")
    if elsewhere and selection.device == "auto":
        raise SelectionError("--device auto looks for a GPU on this machine alone: with --tx say cpu or gpu")
    return Machines(
        selection.chosen(elsewhere=only) if reads_table else (),
        named=selection.implementations,
        device=selection.device,
        threads=options.threads,
        elsewhere=elsewhere,
        only=only,
    )


def workers_of(plan: Plan, options: Options, config: pytest.Config) -> resources.Allocation:
    """Return how many workers a run starts where their number is not given."""
    asked = (each for each in plan.cells if each.unsupported is None)
    cells = ((f"{e.device}/{e.implementation.name}", e.implementation.name, e.case.id) for e in asked)
    logical = resources.cpus()
    return resources.allocation(
        plan.times.kept_busy(cells) + count_other_files(config.args),
        cpus=logical if config.option.numprocesses == "logical" else resources.cores(),
        logical=logical,
        memory=resources.memory(),
        threads=options.threads,
    )


def check_in_process(options: Options, plan: Plan, config: pytest.Config) -> None:
    """Raise `SelectionError` where a run cannot hold its implementations in the process of pytest, as it is to."""
    if not options.in_process or not plan.reads_table:
        return
    if len(plan.implementations) != 1:
        raise SelectionError("--in-process holds one implementation: name it with --implementation")
    if config.getoption("tx", None):
        raise SelectionError("--in-process and -n exclude one another")
