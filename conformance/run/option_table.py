"""
The options of a run, each declared once.

`conformance run` (click), pytest, the workers of other machines and the command for a single cell read `OPTIONS`. The
module imports no package above `table`, so that commands which run nothing start fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from conformance.run.instruction_set import NAMES
from conformance.table.case import TIERS

if TYPE_CHECKING:
    import pytest

DEVICES: Final = ("cpu", "gpu", "auto")


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of a run."""

    #: Its name on pytest's command line, without dashes.
    name: str
    help: str
    #: The type of its value: str, int, float for a number more than 0, bool for a switch.
    kind: type[str | int | float | bool] = str
    #: None if the object that receives the value has its own default.
    default: str | int | None = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    #: The smallest value of an integer.
    least: int | None = None
    repeatable: bool = False
    #: Its names in `conformance run`, with dashes, if they differ from its name.
    flags: tuple[str, ...] = ()
    #: Whether `conformance run` has it; else only pytest does.
    is_of_command: bool = True
    #: Whether workers on other machines need it. Workers on this machine receive all options.
    affects_workers: bool = False
    #: Whether the result of a single cell depends on it.
    affects_cell: bool = False

    def fault(self, value: object) -> str | None:
        """Return the fault of a value, None if it is valid."""
        if self.least is not None and isinstance(value, int) and value < self.least:
            return f"--{self.name} must be at least {self.least}"
        if self.kind is float and isinstance(value, float) and not 0 < value < math.inf:
            return f"--{self.name} must be more than 0"
        return None

    def arguments(self, value: object) -> list[str]:
        """Return the arguments of pytest for a value; none for the default."""
        if value is None or value is False or value == self.default:
            return []
        if self.kind is bool:
            return [f"--{self.name}"]
        values = value if isinstance(value, list | tuple) else [value]
        return [f"--{self.name}={each}" for each in values]


OPTIONS: Final = (
    Option(
        name="implementation",
        help="Name, glob, module:Class or module:function; repeatable.",
        metavar="NAME",
        repeatable=True,
        flags=("-i", "--implementation"),
    ),
    Option(name="device", help="auto: the CPU, and the GPU where one is visible.", default="cpu", choices=DEVICES),
    Option(name="tier", help="A tier includes the ones before it.", default="full", choices=TIERS, affects_cell=True),
    Option(
        name="cases",
        is_of_command=False,
        help="YAML file or folder; repeatable.",
        metavar="PATH",
        repeatable=True,
        affects_cell=True,
    ),
    Option(name="random", help="Add N random cases.", kind=int, default=0, metavar="N", least=0, affects_cell=True),
    Option(
        name="random-seed",
        help="The seed of the random cases.",
        kind=int,
        default=0,
        metavar="S",
        least=0,
        flags=("--seed",),
        affects_cell=True,
    ),
    Option(
        name="threads",
        help="Threads of each process; by default its share of the CPUs.",
        kind=int,
        metavar="N",
        least=1,
    ),
    Option(
        name="cpu-isa",
        help="Limit frameworks to this instruction set.",
        choices=NAMES,
        affects_workers=True,
        affects_cell=True,
    ),
    Option(name="shard", help="Run the I-th of N parts.", default="1/1", metavar="I/N"),
    Option(name="times", help="Expected times of cells, from this results file.", metavar="RESULTS"),
    Option(name="no-ledger", help="Ignore the ledger: a known divergence violates.", kind=bool, affects_cell=True),
    Option(name="strict-ledger", help="Exit with 1 if a known divergence is gone.", kind=bool),
    Option(
        name="draws",
        help="Repeat every question N times, each time with other values.",
        kind=int,
        default=1,
        metavar="N",
        least=1,
        affects_workers=True,
    ),
    Option(
        name="deadline",
        help="Limit of the CPU time per thread for the answers of a cell; by default 300.",
        kind=float,
        metavar="SECONDS",
        affects_workers=True,
    ),
    Option(
        name="start-deadline",
        help="Limit of the CPU time for the start of a process; by default 120.",
        kind=float,
        metavar="SECONDS",
        affects_workers=True,
    ),
    Option(
        name="hang",
        help="Wall time almost without CPU time after which a process is ended; by default 60.",
        kind=float,
        metavar="SECONDS",
        affects_workers=True,
    ),
    Option(
        name="memory",
        help="Limit of the resident memory of a framework's process; by default 8.",
        kind=float,
        metavar="GIB",
        affects_workers=True,
    ),
    Option(name="results", is_of_command=False, help="Write the results, a JSON object a line.", metavar="FILE"),
    Option(
        name="progress",
        is_of_command=False,
        help="Show progress and remaining time, not dots.",
        kind=bool,
    ),
    Option(name="in-process", is_of_command=False, help="For a debugger: run the adapter in this process.", kind=bool),
)


def arguments_of(values: Mapping[str, object], options: Iterable[Option] = OPTIONS) -> list[str]:
    """Return the arguments of pytest for the options that have a value in `values`, by name."""
    return [argument for each in options if each.name in values for argument in each.arguments(values[each.name])]


def add_to(parser: pytest.Parser) -> None:
    """Add every option to a parser of pytest."""
    group = parser.getgroup("conformance", "conformance of dense layers")
    for each in OPTIONS:
        if each.kind is bool:
            group.addoption(f"--{each.name}", action="store_true", help=each.help)
        elif each.repeatable:
            group.addoption(f"--{each.name}", action="append", default=[], metavar=each.metavar, help=each.help)
        else:
            group.addoption(
                f"--{each.name}",
                type=each.kind,
                default=each.default,
                choices=each.choices or None,
                metavar=each.metavar,
                help=each.help,
            )
