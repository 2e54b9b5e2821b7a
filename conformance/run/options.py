"""The options of a run, read once from the configuration of pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.run.option_table import OPTIONS, arguments_of
from conformance.run.selection import Selection, SelectionError, parse_shard
from conformance.sandbox.sandbox import GIB, Limits


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one run; `conformance.run.option_table` describes each."""

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
    #: The values of the command line, by the name of the option.
    given: Mapping[str, Any]

    @classmethod
    def of(cls, config: pytest.Config) -> Options:
        """
        Return the options of a configuration.

        Raises:
            SelectionError: an option has an invalid value.
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

    def arguments_for_workers(self) -> list[str]:
        """Return the arguments of pytest for workers on another machine."""
        return arguments_of(self.given, (each for each in OPTIONS if each.affects_workers))

    def arguments_for_cell(self, device: str, implementation: str) -> list[str]:
        """Return the arguments of pytest that run one cell of this run."""
        arguments = arguments_of({"implementation": [implementation], "device": device})
        return [*arguments, *arguments_of(self.given, (each for each in OPTIONS if each.affects_cell))]


def selection_of(given: Mapping[str, Any]) -> Selection:
    """
    Return the selection of option values, given by name.

    Raises:
        SelectionError: the shard is invalid.
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
    """Return the limits of a process, each as given or its default."""
    default = Limits()
    memory = given["memory"]
    return Limits(
        question=given["deadline"] or default.question,
        start=given["start-deadline"] or default.start,
        hang=given["hang"] or default.hang,
        memory=default.memory if memory is None else max(1, round(memory * GIB)),
    )
