"""The plan of a run, and the assignment of each process of pytest."""

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
    """The work of one process of pytest."""

    cells: tuple[Cell, ...]
    behaviours: tuple[Behaviour, ...]
    #: Threads of each framework's process.
    threads: int
    #: Whether tests are generated from the table. Other tests run even if the table is missing or has faults.
    reads_table: bool
    #: The name of its machine, None for the machine that leads the run.
    host: str | None = None
    #: Whether pytest writes a JUnit file of the run.
    writes_junit: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that follows from the options of a run, before it starts."""

    implementations: tuple[Implementation, ...]
    machines: Machines
    #: The cells of this shard.
    cells: tuple[Cell, ...]
    #: Names of the implementations with a supported cell in some shard.
    supported: frozenset[str]
    #: Globs of rows that match no implementation, each as a line with its row.
    unknown_globs: tuple[str, ...]
    behaviours: tuple[Behaviour, ...]
    #: The expected times of cells.
    times: Times
    reads_table: bool


def assignment_of_worker(config: pytest.Config) -> Assignment:
    """Return the assignment of a worker, which the leading process sent; a worker reads neither table nor ledger."""
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
    """Return the assignment of the leading process: all cells, if there are no workers."""
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
        SelectionError: the table, the ledger or the command has a fault.
        pytest.UsageError: pytest-xdist does not accept the name of a machine.
    """
    selection = options.selection
    times = selection.expected_times()
    reads_table = needs_table(config.args)
    machines = _machines(options, config, reads_table=reads_table)
    chosen, elsewhere = machines.implementations, machines.are_elsewhere
    if reads_table and not elsewhere and not config.option.collectonly:
        selection.check_adapters(chosen, options.limits)
    devices = selection.devices(chosen, elsewhere=machines.are_all_elsewhere)
    # Read here, because a fault during the generation of tests would have a traceback.
    cases = selection.table() if reads_table else ()
    cells = selection.every_cell(cases, chosen, devices)
    return Plan(
        implementations=chosen,
        machines=machines,
        cells=selection.part(cells),
        supported=frozenset(each.implementation.name for each in cells if each.unsupported is None),
        unknown_globs=tuple(f"{case.row}: {fault}" for case, _, fault in unknown_globs(cases)),
        behaviours=selection.ledger() if reads_table and options.has_ledger else (),
        times=times,
        reads_table=reads_table,
    )


def _machines(options: Options, config: pytest.Config, *, reads_table: bool) -> Machines:
    """Return the machines of a run with its implementations; raises as `plan_of` does."""
    selection = options.selection
    elsewhere, only = are_elsewhere(config)
    if options.cpu_isa is not None and not only and (missing := missing_features(options.cpu_isa, cpu_features())):
        raise SelectionError(f"--cpu-isa {options.cpu_isa}: the processor lacks {', '.join(missing)}")
    if elsewhere and selection.device == "auto":
        raise SelectionError(
            "--device auto looks for a GPU only on this machine: with --tx use --device cpu or --device gpu"
        )
    return Machines(
        selection.chosen(elsewhere=only) if reads_table else (),
        named=selection.implementations,
        device=selection.device,
        threads=options.threads,
        elsewhere=elsewhere,
        only=only,
    )


def workers_of(plan: Plan, options: Options, config: pytest.Config) -> resources.Allocation:
    """Return how many workers a run starts if the command does not give the number."""
    supported = (each for each in plan.cells if each.unsupported is None)
    cells = ((f"{e.device}/{e.implementation.name}", e.implementation.name, e.case.id) for e in supported)
    logical = resources.cpus()
    return resources.allocation(
        plan.times.useful_workers(cells) + count_other_files(config.args),
        cpus=logical if config.option.numprocesses == "logical" else resources.cores(),
        logical=logical,
        memory=resources.memory(),
        threads=options.threads,
    )


def check_in_process(options: Options, plan: Plan, config: pytest.Config) -> None:
    """Raise `SelectionError` if a run with `--in-process` cannot run its implementations in the process of pytest."""
    if not options.in_process or not plan.reads_table:
        return
    if len(plan.implementations) != 1:
        raise SelectionError("--in-process runs one implementation: name it with --implementation")
    if config.getoption("tx", None):
        raise SelectionError("--in-process and -n exclude one another")
