"""
What a run is made of: which rows, implementations and devices were asked for, and the cells that follow.

Plain data between the command line and the suite; it reads the table and the ledger, and starts a process only where a
device other than the CPU has to be looked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.adapters.registry import Implementation, UnknownImplementation, registered, select
from conformance.case import TIERS, Case
from conformance.document import DocumentError
from conformance.ledger import Entry, load_ledger
from conformance.random_cases import random_cases
from conformance.sandbox import Sandbox, StartError
from conformance.suite import Cell, cell_of, concerns
from conformance.table import TableError, default_cases, load

DEVICES: Final = ("cpu", "gpu", "auto")


class SelectionError(ValueError):
    """The table or the command is at fault; the message is what a person reads."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """
    What was asked for, as on the command line.

    `implementations` are names or globs, none for those of the tier; `cases` are files or folders, none for the
    default table; so many `random` cases of `random_seed` are added to those, whatever the tier; `shard` is (I, N), the
    I-th of N parts.
    """

    cases: tuple[str, ...] = ()
    implementations: tuple[str, ...] = ()
    device: str = "cpu"
    tier: str = "full"
    random: int = 0
    random_seed: int = 0
    shard: tuple[int, int] = (1, 1)

    def table(self) -> tuple[Case, ...]:
        """
        Return the cases of the tier asked for, then the random ones that none of these asks already.

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
        asked, taken = {case.digest for case in named}, {case.id: case.row for case in named}
        added = [case for case in drawn if case.digest not in asked]
        for case in added:
            if case.id in taken:
                raise SelectionError(f"{case.row}: the id {case.id} is taken by {taken[case.id]}")
        return (*named, *added)

    def ledger(self) -> tuple[Entry, ...]:
        """
        Return the known divergences of the default table.

        Raises:
            SelectionError: the ledger has faults.
        """
        try:
            return load_ledger([default_cases()])
        except (TableError, DocumentError) as error:
            raise SelectionError("\n".join(map(str, error.faults))) from None

    def chosen(self) -> tuple[Implementation, ...]:
        """
        Return the implementations asked for, or all.

        Raises:
            SelectionError: a name is unknown, or one asked for by name is not installed.
        """
        try:
            chosen = tuple(select(self.implementations) if self.implementations else self._usual())
        except UnknownImplementation as error:
            raise SelectionError(str(error)) from None
        for each in chosen:
            # A glob asks for what there is; a name asks for this one.
            missing = each.missing_packages()
            if missing and each.name in self.implementations:
                raise SelectionError(f"{each.name} was asked for, but is not installed: {', '.join(missing)}")
        return chosen

    def _usual(self) -> Iterator[Implementation]:
        """Yield the implementations that are asked where none is named: those of the tier."""
        return (each for each in registered().values() if TIERS.index(each.tier) <= TIERS.index(self.tier))

    def _is_asked(self, case: Case, implementation: Implementation) -> bool:
        """Return whether an implementation is asked the rows of a case's tier: all where implementations are named."""
        return bool(self.implementations) or TIERS.index(case.tier) <= TIERS.index(implementation.rows)

    def devices(self, chosen: Sequence[Implementation]) -> Mapping[str, tuple[str, ...]]:
        """
        Return the devices to run each implementation on; looks for a GPU only where one is asked for.

        Raises:
            SelectionError: `gpu` was asked for and none is visible to one of the frameworks.
        """
        if self.device == "cpu":
            return {each.name: ("cpu",) for each in chosen}
        visible = {each.name: _visible(each) for each in chosen}
        if self.device == "gpu":
            without = sorted(name for name, devices in visible.items() if "gpu" not in devices)
            if without:
                raise SelectionError(f"--device gpu: no GPU is visible to {', '.join(without)}")
            return {each.name: ("gpu",) for each in chosen}
        return {name: ("cpu", "gpu") if "gpu" in devices else ("cpu",) for name, devices in visible.items()}

    def cells(
        self, cases: Sequence[Case], chosen: Sequence[Implementation], devices: Mapping[str, Sequence[str]]
    ) -> tuple[Cell, ...]:
        """Return the cells of this shard, those of one process side by side."""
        index, shards = self.shard
        found = (
            cell_of(case, each, device)
            for each in chosen
            for device in devices[each.name]
            for case in sorted(cases, key=lambda case: case.environment)
            if concerns(case, each) and self._is_asked(case, each)
        )
        return tuple(cell for cell in found if shards == 1 or _shard(cell.id, shards) == index - 1)


def _visible(implementation: Implementation) -> tuple[str, ...]:
    """Return the devices an implementation's framework sees; none where it is not installed or does not start."""
    if implementation.missing_packages():
        return ()
    try:
        with Sandbox(implementation) as sandbox:
            return tuple(sandbox.start().devices)
    except StartError:
        return ()


def _shard(cell_id: str, shards: int) -> int:
    """Return which of `shards` parts a cell belongs to, by its content alone."""
    return int.from_bytes(hashlib.sha256(cell_id.encode()).digest()[:8], "big") % shards


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
