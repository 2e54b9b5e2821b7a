"""What the options of pytest ask a run to do, made once from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.run.option_table import OPTIONS, words_of
from conformance.run.selection import Selection, SelectionError, parse_shard
from conformance.sandbox.sandbox import GIB, Limits


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one run; `conformance.run.option_table` says what each of them is."""

    selection: Selection
    limits: Limits
    draws: int
    threads: int | None
    cpu_isa: str | None
    in_process: bool
    has_ledger: bool
    strict_ledger: bool
    results: Path | None
    has_progress: bool
    #: The values that pytest was given, by the name of the option.
    given: Mapping[str, Any]

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """
        Return the options of a configuration.

        Raises:
            SelectionError: one of them has a value that it cannot have.
        """
        given = {each.name: config.getoption(f"--{each.name}") for each in OPTIONS}
        for each in OPTIONS:
            fault = each.fault(given[each.name])
            if fault is not None:
                raise SelectionError(fault)
        return cls(
            selection=selection_of(given),
            limits=_limits(given),
            draws=given["draws"],
            threads=given["threads"],
            cpu_isa=given["cpu-isa"],
            in_process=given["in-process"],
            has_ledger=not given["no-ledger"],
            strict_ledger=given["strict-ledger"],
            results=Path(given["results"]) if given["results"] else None,
            has_progress=given["progress"],
            given=given,
        )

    def words_for_workers(self) -> list[str]:
        """Return the words that give pytest on another machine the options that concern its workers."""
        return words_of(self.given, (each for each in OPTIONS if each.concerns_workers))

    def words_for_cell(self, device: str, implementation: str) -> list[str]:
        """Return the words that give pytest all that concerns one cell of this run."""
        words = words_of({"implementation": [implementation], "device": device})
        return [*words, *words_of(self.given, (each for each in OPTIONS if each.concerns_cell))]


def selection_of(given: Mapping[str, Any]) -> Selection:
    """
    Return what the values of options, by name, select.

    Raises:
        SelectionError: the shard is none.
    """
    return Selection(
        cases=tuple(given["cases"]),
        implementations=tuple(given["implementation"]),
        device=given["device"],
        tier=given["tier"],
        random=given["random"],
        random_seed=given["random-seed"],
        shard=parse_shard(given["shard"]),
        times=given["times"],
    )


def _limits(given: Mapping[str, Any]) -> Limits:
    """Return what a process may take: as given, or the default of each limit."""
    usual = Limits()
    memory = given["memory"]
    return Limits(
        question=given["deadline"] or usual.question,
        start=given["start-deadline"] or usual.start,
        hang=given["hang"] or usual.hang,
        memory=usual.memory if memory is None else max(1, round(memory * GIB)),
    )
