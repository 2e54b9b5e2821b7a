"""
Registry data of an implementation: one way of computing a dense layer, described without importing anything of it.

An implementation is named `ADAPTER` or `ADAPTER:MODE`. It has one environment, the one its users get; another
environment is another implementation.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisLimit:
    """The longest axis that an implementation takes, and the reason."""

    #: Length of the axis.
    longest: int
    #: A fact. It is the reason of each cell that is `unsupported` because of a longer axis.
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Participation:
    """The runs in which an implementation takes part when the command does not name it."""

    #: The first tier that includes it: `quick`, `full` or `nightly`.
    tier: str = "full"
    #: The last tier whose rows it then runs. Below `nightly` where each question takes seconds to export or compile.
    rows: str = "nightly"
    #: Whether only rows that name it run it: it is known to be wrong.
    by_name: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Implementation:
    """
    One way of computing a dense layer.

    A cell that an implementation cannot take (`shapes_only`, `activations`, `ranks`, `second_axis`) is `unsupported`
    with the reason, and no process is started for it.
    """

    #: Name on the command line, in rows and in results: `ADAPTER` or `ADAPTER:MODE`.
    name: str
    #: `module:Class` of the adapter.
    adapter: str
    #: Import names of the framework's packages. Without one of them its cells are `not_run`. An exception counts as a
    #: refusal when it is raised inside one of them.
    packages: tuple[str, ...]
    #: System programs that the framework needs. Without one of them its cells are `not_run`.
    programs: tuple[str, ...] = ()
    #: `mode` argument of the adapter's class, None for a class without one.
    mode: str | None = None
    #: Environment variables of its process.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Check that it cannot answer -> the reason.
    unanswerable: Mapping[str, str] = field(default_factory=dict)
    #: Runs in which it takes part without being named.
    participation: Participation = field(default_factory=Participation)
    #: Whether it infers shapes and computes no values: it takes the lane `shapes` alone.
    shapes_only: bool = False
    #: Activations that it has, None for all.
    activations: frozenset[str] | None = None
    #: Ranks of `input_shape` that it takes, None for all.
    ranks: tuple[int, ...] | None = None
    #: Limit of axis 1 of the input, batch included, None for no limit. The lane `shapes` has no limit.
    second_axis: AxisLimit | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether the suite brings the adapter, and the layer is not a function of the user's."""
        return self.adapter.startswith("conformance.adapters.") and "@" not in (self.mode or "")

    def missing_packages(self) -> tuple[str, ...]:
        """Return the names of packages and programs that are not installed. Imports none of the packages."""
        packages = [each for each in self.packages if importlib.util.find_spec(each) is None]
        return (*packages, *(each for each in self.programs if shutil.which(each) is None))
