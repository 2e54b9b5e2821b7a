"""
What a run is: its options, its plan (implementations, machines, cells), and its recorder.

Knows the configuration of pytest, and none of its hooks: those are `conformance.run.plugin`'s.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

import conformance
from conformance.adapters.registry import Implementation
from conformance.checks.cell import Cell, unknown_globs
from conformance.ledger import Behaviour
from conformance.results import UNJUDGED
from conformance.results.locked_file import OutputError, ResultsFile
from conformance.run import resources
from conformance.run.cell_runner import DEFAULT_CACHE, Runner
from conformance.run.collection import ask_for_cells, files_of_tests
from conformance.run.distributed import transfer
from conformance.run.distributed.hooks import WithXdist
from conformance.run.distributed.machines import Machines, are_elsewhere
from conformance.run.expected_times import Times
from conformance.run.instruction_set import lacking
from conformance.run.recorder import Recorder
from conformance.run.selection import Selection, SelectionError, parse_shard
from conformance.sandbox.environment import cpu_features, usable
from conformance.sandbox.sandbox import GIB, Limits

_NO_ROW: Final = "no row of the selection is asked of it"


class State:
    """One run: what its options say, the plan that follows of them, and what records its results."""

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
        self.cpu_isa: str | None = config.getoption("--cpu-isa")
        self.worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self.host: str | None = None if self.worker is None else self.worker["conformance"]["host"]
        self.is_told_in_junit = bool(
            config.getoption("xmlpath", None) if self.worker is None else self.worker["conformance"]["junit"]
        )
        self.threads: int | None = config.getoption("--threads")
        if self.threads is not None and self.threads < 1:
            raise SelectionError("--threads is at least 1")
        #: Whether tests are generated from the table: no other test needs it to be there, or to be without fault.
        self.reads_table = ask_for_cells(config.args)
        self.chosen: tuple[Implementation, ...] = ()
        self.machines: Machines | None = None
        self.times = Times({})
        self.planned: resources.Plan | None = None
        self.cells: tuple[Cell, ...] = ()
        #: Implementations that some shard asks something: not all of their cells are unsupported.
        self.askable: frozenset[str] = frozenset()
        #: Globs of rows that match no implementation, each a line with its row.
        self.unknown_globs: tuple[str, ...] = ()
        self.behaviours: tuple[Behaviour, ...] = ()
        self.recorder = Recorder()
        self.is_strict = bool(config.getoption("--strict-ledger"))

    def prepare(self) -> None:
        """
        Settle implementations, devices and cells, and open the results file.

        Raises:
            SelectionError: table, ledger or command is at fault, or the results file cannot be written.
        """
        if self.worker is not None:
            # A worker runs what it is sent, and reads no file that may not be there.
            self.cells, self.behaviours = transfer.unpack(self.worker["conformance"]["cells"])
            return
        self._settle()
        if not self.reads_table:
            return
        if self.in_process and len(self.chosen) != 1:
            raise SelectionError("--in-process holds one implementation: name it with --implementation")
        if self.in_process and self.config.getoption("tx", None):
            raise SelectionError("--in-process and -n exclude one another")
        self.behaviours = () if self.config.getoption("--no-ledger") else self.selection.ledger()
        target = self.config.getoption("--results")
        if target and not self.config.option.collectonly:
            try:
                self.recorder.writer = ResultsFile.open(Path(target))
            except OutputError as error:
                raise SelectionError(str(error)) from None

    def _settle(self) -> None:
        """Settle implementations, machines and cells; raises `SelectionError`."""
        if self.machines is not None:
            return
        self.times = self.selection.expected_times()
        elsewhere, only = are_elsewhere(self.config)
        if self.cpu_isa is not None and not only and (missing := lacking(self.cpu_isa, cpu_features())):
            raise SelectionError(f"--cpu-isa {self.cpu_isa}: the processor lacks {', '.join(missing)}")
        if elsewhere and self.selection.device == "auto":
            raise SelectionError("--device auto looks for a GPU on this machine alone: with --tx say cpu or gpu")
        self.chosen = self.selection.chosen(elsewhere=only) if self.reads_table else ()
        self.machines = Machines(
            self.chosen,
            named=self.selection.implementations,
            device=self.selection.device,
            threads=self.threads,
            elsewhere=elsewhere,
            only=only,
        )
        if not self.reads_table:
            return
        if not elsewhere and not self.config.option.collectonly:
            self.selection.check_adapters(self.chosen, self.limits)
        devices = self.selection.devices(self.chosen, elsewhere=only)
        # Read here and not when tests are generated, where a fault would come with a traceback.
        cases = self.selection.table()
        cells = self.selection.every_cell(cases, self.chosen, devices)
        self.cells = self.selection.part(cells)
        self.askable = frozenset(each.implementation.name for each in cells if each.unsupported is None)
        self.unknown_globs = tuple(f"{case.row}: {said}" for case, _, said in unknown_globs(cases))

    def plan(self) -> resources.Plan:
        """
        Return how many workers the run starts of itself.

        Raises:
            SelectionError: table or command is at fault.
        """
        self._settle()
        asked = (each for each in self.cells if each.unsupported is None)
        cells = ((f"{e.device}/{e.implementation.name}", e.implementation.name, e.case.id) for e in asked)
        logical = resources.cpus()
        self.planned = resources.plan(
            self.times.kept_busy(cells) + files_of_tests(self.config.args),
            cpus=logical if self.config.option.numprocesses == "logical" else resources.cores(),
            logical=logical,
            memory=resources.memory(),
            threads=self.threads,
        )
        return self.planned

    def runner(self) -> Runner:
        """Return what runs cells in this process of pytest."""
        threads = self.threads or resources.cpus() if self.worker is None else self.worker["conformance"]["threads"]
        resources.keep_to(threads)
        return Runner(
            behaviours=self.behaviours,
            threads=threads,
            draws=self.draws,
            in_process=self.in_process,
            keeps_questions=len({each.implementation.name for each in self.cells}) > 1,
            limits=self.limits,
            cache=usable(DEFAULT_CACHE),
            cpu_isa=self.cpu_isa,
        )

    def distribution(self) -> WithXdist:
        """Return the hooks that spread this run over workers."""
        assert self.machines is not None
        limits = self.limits
        options: dict[str, object] = {"draws": self.draws, "deadline": limits.question}
        options |= {"start-deadline": limits.start, "hang": limits.hang, "memory": limits.memory / GIB}
        options |= {} if self.cpu_isa is None else {"cpu-isa": self.cpu_isa}
        found = WithXdist(
            self.config,
            self.machines,
            cells=lambda: transfer.pack(self.cells, self.behaviours),
            options=options,
            expect=self.expect,
        )
        self.recorder.place = found.place
        return found

    def expect(self, test_ids: Sequence[str]) -> None:
        """Take note of the tests to come."""
        self.recorder.expect(test_ids, self._header)

    def _header(self) -> dict[str, Any]:
        """Return what the header of the results file says of the run."""
        return {
            "distributions": dict(transfer.distributions()),
            "platform": transfer.described(),
            **self._spread(),
            "selection": {
                "cases": list(self.selection.cases) or ["default table"],
                "implementations": [each.name for each in self.chosen],
                "device": self.selection.device,
                "tier": self.selection.tier,
                "random": {"count": self.selection.random, "seed": self.selection.random_seed},
                "shard": "/".join(map(str, self.selection.shard)),
                "draws": self.draws,
                "cpu_isa": self.cpu_isa,
                "ledger": not self.config.getoption("--no-ledger"),
                "limits": {
                    "deadline": self.limits.question,
                    "start_deadline": self.limits.start,
                    "hang": self.limits.hang,
                    "memory_gib": self.limits.memory / GIB,
                },
            },
        }

    def _spread(self) -> dict[str, Any]:
        """Return what the header says of workers here, and of the other machines where there are any."""
        assert self.machines is not None
        found = self.machines.facts()
        here = self.machines.workers - sum(each["workers"] for each in found)
        planned = self.planned or resources.fixed(max(here, 1), cpus=resources.cpus(), threads=self.threads)
        told: dict[str, Any] = {"machines": found} if found else {}
        return told if found and not here else {"workers": planned.facts(), **told}

    @property
    def idle(self) -> dict[str, str]:
        """
        Implementations that were asked for by name and of which no cell ran, each with the reason.

        One whose cells are in other shards, or were not collected here, is none.
        """
        found: dict[str, str] = {}
        for each in self.chosen:
            name = each.name
            if name not in self.selection.implementations:
                continue
            outcomes = self.recorder.tally.outcomes_of(name)
            has_run = not outcomes <= set(UNJUDGED)
            is_elsewhere = name in self.askable and (not outcomes or ("not_run" not in outcomes and self._is_part))
            if not has_run and not is_elsewhere:
                none = "it is asked by rows that name it alone, and none does" if each.by_name else _NO_ROW
                found[name] = self.recorder.tally.reason_of(name) or none
        return found

    @property
    def _is_part(self) -> bool:
        return self.selection.shard[1] > 1

    @property
    def fails_by_ledger(self) -> bool:
        """Whether the run is red because a known behaviour is gone, as `--strict-ledger` has it."""
        return self.is_strict and bool(self.recorder.tally.behaviours.gone)

    def alone(self, cell: str) -> str | None:
        """Return the command that runs a cell, `DEVICE/IMPLEMENTATION/CASE`, alone; None outside of a checkout."""
        tests = Path("tests", "test_dense.py")
        if not (tests.is_file() and Path("conformance").resolve() == Path(conformance.__file__).parent.resolve()):
            return None
        device, implementation, _ = cell.split("/", 2)
        chosen, options = self.selection, [f"--implementation={implementation}"]
        options += [f"--cases={each}" for each in chosen.cases]
        options += [f"--tier={chosen.tier}"] if chosen.tier != "full" else []
        options += [f"--random={chosen.random}", f"--random-seed={chosen.random_seed}"] if chosen.random else []
        options += [f"--device={device}"] if device != "cpu" else []
        options += [f"--cpu-isa={self.cpu_isa}"] if self.cpu_isa is not None else []
        options += ["--no-ledger"] if self.config.getoption("--no-ledger") else []
        return shlex.join(["pytest", f"{tests}::test_dense[{cell}]", *options])


def _limits(config: pytest.Config) -> Limits:
    """Return what a process may take, as the options say."""
    given = {name: float(config.getoption(f"--{name}")) for name in ("deadline", "start-deadline", "hang", "memory")}
    for name, value in given.items():
        if not 0 < value < math.inf:
            raise SelectionError(f"--{name} is more than 0")
    return Limits(
        question=given["deadline"],
        start=given["start-deadline"],
        hang=given["hang"],
        memory=max(1, round(given["memory"] * GIB)),
    )
