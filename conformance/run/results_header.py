"""The header of a results file: the selection and the machines."""

from __future__ import annotations

from conformance.results.record import HeaderRecord, SelectionRecord
from conformance.run import resources
from conformance.run.distributed import transfer
from conformance.run.options import Options
from conformance.run.plan import Plan
from conformance.sandbox.sandbox import GIB


def header_of(options: Options, plan: Plan, allocation: resources.Allocation | None) -> HeaderRecord:
    """Return the header, without its time; `allocation` is None if the command gives the number of workers."""
    machines = plan.machines.facts()
    here = plan.machines.workers - plan.machines.workers_elsewhere
    allocation_here = allocation or resources.fixed_allocation(
        max(here, 1), cpus=resources.cpus(), threads=options.threads
    )
    return HeaderRecord(
        distributions=dict(transfer.distributions()),
        platform=dict(transfer.platform_facts()),
        workers=None if machines and not here else dict(allocation_here.facts()),
        machines=machines or None,
        selection=_selection(options, plan),
    )


def _selection(options: Options, plan: Plan) -> SelectionRecord:
    """Return the selection, for the header."""
    selection, limits = options.selection, options.limits
    return SelectionRecord(
        cases=list(selection.cases) or ["default table"],
        implementations=[each.name for each in plan.implementations],
        device=selection.device,
        tier=selection.tier,
        random={"count": selection.random, "seed": selection.random_seed},
        shard="/".join(map(str, selection.shard)),
        draws=options.draws,
        cpu_isa=options.cpu_isa,
        ledger=options.has_ledger,
        limits={
            "deadline": limits.question,
            "start_deadline": limits.start,
            "hang": limits.hang,
            "memory_gib": limits.memory / GIB,
        },
    )
