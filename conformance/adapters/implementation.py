"""
What is known of one way of computing a dense layer before anything of it is imported.

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
    """The longest an axis may be for an implementation, and why it takes no longer one."""

    #: Length of the axis.
    longest: int
    #: A fact, shown as the reason of each cell that is not asked for it.
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Implementation:
    """
    One way of computing a dense layer.

    `adapter` is `module:Class`, `packages` the import names its framework consists of (their absence makes its cells
    `not_run`, and an exception counts as a refusal when raised inside one of them), `programs` those of the system that
    its framework cannot do without (their absence does the same), `environment` the variables its process is started
    with, `unanswerable` the checks it cannot answer, each with the reason.

    `tier` is the first tier in which it is asked without being named, `rows` the last tier whose rows it is then asked:
    where each question is exported, converted or compiled for seconds, not those of every pair. `by_name` says that it
    is a way known to be wrong, asked by rows that name it alone.

    A cell of what it cannot take is `unsupported` with the reason, and its process is not asked. `shapes_only` says
    that it holds no values: it takes the lane `shapes` alone. `activations` are those it has, None for all. `ranks` are
    the ranks of `input_shape` it can take, None for all. `second_axis` limits axis 1 of the array it is fed, batch
    included; None for no limit. Where nothing is computed (lane `shapes`), that limit does not apply.
    """

    name: str
    adapter: str
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    mode: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    unanswerable: Mapping[str, str] = field(default_factory=dict)
    tier: str = "full"
    rows: str = "nightly"
    by_name: bool = False
    shapes_only: bool = False
    activations: frozenset[str] | None = None
    ranks: tuple[int, ...] | None = None
    second_axis: AxisLimit | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether all code between the suite and the framework comes with the suite: adapter, and no function."""
        return self.adapter.startswith("conformance.adapters.") and "@" not in (self.mode or "")

    def missing_packages(self) -> tuple[str, ...]:
        """Return the packages that are not installed, found without importing any, and the programs that are not."""
        packages = [each for each in self.packages if importlib.util.find_spec(each) is None]
        return (*packages, *(each for each in self.programs if shutil.which(each) is None))
