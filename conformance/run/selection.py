"""
The selection of a run: rows, implementations and devices, and the cells that follow.

A selection reads the table and the ledger. It starts a process only to look for a GPU, or to load an adapter that does
not come with the suite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.adapters.installation import missing_text
from conformance.adapters.registry import Implementation, RegistryError, registered, select
from conformance.checks.cell import Cell, cell_of, is_named
from conformance.ledger import Behaviour, load_ledger
from conformance.results import ResultsError
from conformance.run.expected_times import Times, packaged_times, times_of_results
from conformance.run.sharding import parts
from conformance.sandbox.sandbox import Limits, Sandbox, StartError
from conformance.table.case import TIERS, Case
from conformance.table.loader import TableError, default_cases, load
from conformance.table.random_rows import random_cases
from conformance.table.yaml_document import DocumentError
from conformance.text import printable


class SelectionError(ValueError):
    """The table or the command has a fault; the message describes it."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selection of the command line."""

    #: Files or folders; empty for the default table.
    cases: tuple[str, ...] = ()
    #: Names or globs; empty for the implementations of the tier.
    implementations: tuple[str, ...] = ()
    device: str = "cpu"
    tier: str = "full"
    #: How many random cases are added, in every tier.
    random: int = 0
    random_seed: int = 0
    #: (I, N): the I-th of N parts.
    shard: tuple[int, int] = (1, 1)
    #: A results file with expected times, None for those of the package.
    times: str | None = None

    def table(self) -> tuple[Case, ...]:
        """
        Return the cases of the tier, then the random cases that are not among them.

        Raises:
            SelectionError: the table has faults; the message lists all of them.
        """
        paths = [Path(each) for each in self.cases] or [default_cases()]
        try:
            cases = load(paths).cases
            drawn = random_cases(self.random, self.random_seed)
        except (TableError, DocumentError) as error:
            raise SelectionError("\n".join(map(str, error.faults))) from None
        named = tuple(case for case in cases if TIERS.index(case.tier) <= TIERS.index(self.tier))
        digests, rows_by_id = {case.digest for case in named}, {case.id: case.row for case in named}
        added = [case for case in drawn if case.digest not in digests]
        for case in added:
            if case.id in rows_by_id:
                raise SelectionError(f"{case.row}: the id {case.id} is taken by {rows_by_id[case.id]}")
        return (*named, *added)

    def ledger(self) -> tuple[Behaviour, ...]:
        """
        Return the known divergences of the default table.

        Raises:
            SelectionError: the ledger has faults.
        """
        try:
            return load_ledger([default_cases()])
        except (TableError, DocumentError) as error:
            raise SelectionError("\n".join(map(str, error.faults))) from None

    def chosen(self, *, elsewhere: bool = False) -> tuple[Implementation, ...]:
        """
        Return the selected implementations; with `elsewhere` they need not be installed on this machine.

        Raises:
            SelectionError: a name is unknown, or an implementation given by name is not installed.
        """
        try:
            chosen = tuple(select(self.implementations) if self.implementations else self._usual())
        except RegistryError as error:
            raise SelectionError(str(error)) from None
        for each in chosen:
            # A glob selects what is installed; a name requires the implementation.
            missing = each.missing_packages()
            if missing and each.name in self.implementations and not elsewhere:
                nor = " (nor is it in the current folder)" if each.adapter == each.name else ""
                raise SelectionError(f"{each.name} is not installed: {missing_text(missing)}{nor}")
        return chosen

    def check_adapters(self, chosen: Sequence[Implementation], limits: Limits) -> None:
        """
        Load each adapter that does not come with the suite once, in its own process.

        An adapter that raises has a fault. A process that dies or hangs is an outcome of its cells, because the cause
        may be the framework.

        Raises:
            SelectionError: an adapter raises when it is loaded; a line for each.
        """
        faults: list[str] = []
        for each in chosen:
            if each.is_built_in or each.missing_packages():
                continue
            try:
                with Sandbox(each, limits=limits) as sandbox:
                    sandbox.start()
            except StartError as error:
                if error.raised is not None:
                    faults.append(f"{each.name} cannot be loaded: {printable(error.reason)}")
        if faults:
            raise SelectionError("\n".join(faults))

    def _usual(self) -> Iterator[Implementation]:
        """Yield the implementations of the tier, for a command that names none."""
        return (
            each for each in registered().values() if TIERS.index(each.participation.tier) <= TIERS.index(self.tier)
        )

    def _includes(self, case: Case, implementation: Implementation) -> bool:
        """Return whether an implementation runs the rows of a case's tier; one that is named runs all rows."""
        return bool(self.implementations) or TIERS.index(case.tier) <= TIERS.index(implementation.participation.rows)

    def devices(self, chosen: Sequence[Implementation], *, elsewhere: bool = False) -> Mapping[str, tuple[str, ...]]:
        """
        Return the devices of each implementation; looks for a GPU only if the device is `gpu` or `auto`.

        With `elsewhere`, other machines take part: all possible devices are returned without a search.

        Raises:
            SelectionError: the device is `gpu` and none is visible to one of the frameworks.
        """
        if self.device == "cpu":
            return {each.name: ("cpu",) for each in chosen}
        if elsewhere:
            return {each.name: ("gpu",) if self.device == "gpu" else ("cpu", "gpu") for each in chosen}
        visible = {each.name: visible_devices(each) for each in chosen}
        if self.device == "gpu":
            without = sorted(name for name, devices in visible.items() if "gpu" not in devices)
            if without:
                raise SelectionError(f"--device gpu: no GPU is visible to {', '.join(without)}")
            return {each.name: ("gpu",) for each in chosen}
        return {name: ("cpu", "gpu") if "gpu" in devices else ("cpu",) for name, devices in visible.items()}

    def cells(
        self, cases: Sequence[Case], chosen: Sequence[Implementation], devices: Mapping[str, Sequence[str]]
    ) -> tuple[Cell, ...]:
        """Return the cells of this shard, those of one process in a row; some may be `unsupported`."""
        return self.part(self.every_cell(cases, chosen, devices))

    def every_cell(
        self, cases: Sequence[Case], chosen: Sequence[Implementation], devices: Mapping[str, Sequence[str]]
    ) -> tuple[Cell, ...]:
        """Return the cells of all shards."""
        return tuple(
            cell_of(case, each, device)
            for each in chosen
            for device in devices[each.name]
            for case in sorted(cases, key=lambda case: case.environment)
            if is_named(case, each) and self._includes(case, each)
        )

    def part(self, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """
        Return those of the cells that belong to this shard.

        Each device is divided separately, so that a GPU does not move a cell of the CPU to another shard.
        """
        index, shards = self.shard
        if shards == 1:
            return tuple(cells)
        times = self.expected_times()
        mine: set[str] = set()
        for device in sorted({cell.device for cell in cells}):
            processes: dict[str, list[str]] = {}
            durations: dict[str, float] = {}
            started: set[str] = set()
            for cell in (each for each in cells if each.device == device):
                name = cell.implementation.name
                processes.setdefault(name, []).append(cell.id)
                # An unsupported cell takes almost no time and needs no process.
                durations[cell.id] = times.cell(name, cell.case.id) if cell.unsupported is None else 0.0
                started.update([name] if cell.unsupported is None else [])
            starts = {name: times.start(name) if name in started else 0.0 for name in processes}
            part_by_cell = parts(processes, shards, start=starts.__getitem__, cell=durations.__getitem__)
            mine.update(name for name, part in part_by_cell.items() if part == index - 1)
        return tuple(cell for cell in cells if cell.id in mine)

    def expected_times(self) -> Times:
        """
        Return the expected times of cells.

        Raises:
            SelectionError: the results file of `times` cannot be read.
        """
        try:
            return packaged_times() if self.times is None else times_of_results(Path(self.times))
        except ResultsError as error:
            raise SelectionError(f"--times {error}") from None


def visible_devices(implementation: Implementation) -> tuple[str, ...]:
    """Return the devices that an implementation's framework sees; none if it is not installed or does not start."""
    if implementation.missing_packages():
        return ()
    try:
        with Sandbox(implementation) as sandbox:
            return tuple(sandbox.start().devices)
    except StartError:
        return ()


def parse_shard(text: str) -> tuple[int, int]:
    """
    Return (I, N) of `I/N`.

    Raises:
        SelectionError: the text has another form, or I is not within 1 to N.
    """
    part, slash, whole = text.partition("/")
    if not (slash and part.isascii() and part.isdigit() and whole.isascii() and whole.isdigit()):
        raise SelectionError(f"--shard {text}: expected I/N, such as 1/4")
    if not 1 <= int(part) <= int(whole):
        raise SelectionError(f"--shard {text}: I must be within 1 to N")
    return int(part), int(whole)
