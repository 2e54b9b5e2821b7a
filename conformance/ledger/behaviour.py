"""
A behaviour: what an implementation does instead of the rule, on which steps, and the evidence for it.

`conformance.ledger.loader` reads behaviours from `cases/divergences/`. `conformance.ledger.expectation` computes what a
step should answer under them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from typing import Final

from conformance.ledger.predicate import Predicate
from conformance.ledger.step import ModelStep, Surroundings
from conformance.reference.deviation import NO_DEVIATION, Deviation

#: Whether a behaviour is meant.
KINDS: Final = ("by_design", "bug", "numeric")
#: Ways of accepting what the rule forbids.
ACCEPTANCES: Final = ("broadcast", "squeeze", "expand", "flatten", "int_units")
#: Ways in which an inferred shape, or the output's, differs from the rule's.
SHAPES: Final = ("fed", "reversed_positions")
#: Results that have a dtype. `weights` are the gradients dW and db.
TYPED: Final = ("parameters", "output", "dx", "weights")
#: Results whose values a behaviour can declare undefined.
RESULTS: Final = ("output", "dx", "dW", "db")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An exception that a framework raises in place of an answer."""

    #: The name of the exception's type.
    type: str
    #: Parts of the message, in order.
    message: tuple[str, ...]
    #: Whether the adapter may raise it: it validates what the framework returned, or it calls compiled code that has
    #: no frame of the framework. Otherwise a package of the framework must raise it.
    by_adapter: bool = False

    def is_raised(self, type_name: str, message: str) -> bool:
        """Return whether an exception is this one."""
        pattern = ".*?".join(map(re.escape, self.message))
        return type_name == self.type and re.search(pattern, message, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"{self.type}: {' ... '.join(self.message)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exactly:
    """Elements of the output of one step of one case, bit for bit."""

    #: The id of the case.
    case: str
    #: The label of the step.
    step: str
    #: Index -> number.
    elements: Mapping[tuple[int, ...], float]


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What a covered step does instead of the rule. A field with its default changes nothing."""

    #: The exception that the step raises.
    refuses: Refusal | None = None
    #: Signals. One of them ends the process.
    crashes: tuple[str, ...] = ()
    #: How the step accepts what the rule forbids, one of `ACCEPTANCES`.
    accepts: str | None = None
    #: How the arithmetic differs.
    deviation: Deviation = NO_DEVIATION
    #: Result (one of `TYPED`) -> dtype.
    dtypes: Mapping[str, str] = field(default_factory=dict)
    #: The shape of the output: `fed`, the shape of the input.
    shape: str | None = None
    #: The inferred shapes: `fed`, or `reversed_positions`, the axes between batch and features in reversed order.
    infers: str | None = None
    #: Results (of `RESULTS`) whose values are not compared.
    undefined: frozenset[str] = frozenset()
    #: Elements of the output, bit for bit.
    exactly: Exactly | None = None

    @property
    def ends(self) -> bool:
        """Whether the step has no answer."""
        return self.refuses is not None or bool(self.crashes)

    @property
    def widens_only(self) -> bool:
        """Whether every right answer is allowed too, so that no answer shows that the behaviour is gone."""
        others = (self.refuses, self.crashes, self.accepts, self.dtypes, self.shape, self.infers, self.exactly)
        return not any(others) and self.deviation.widens_only


@dataclass(frozen=True, kw_only=True)
class Documentation:
    """What an entry says about its behaviour for people. It changes no verdict."""

    #: One of `KINDS`.
    kind: str
    #: The reason, a fact.
    why: str
    #: Where it is reported.
    link: str | None = None
    #: A source line, or a reproducer, if there is no link.
    evidence: str | None = None
    #: Distribution -> the version with which it was observed.
    seen_with: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One entry of the ledger."""

    id: str
    #: Globs over the names of implementations.
    implementations: tuple[str, ...]
    #: The steps that the behaviour covers.
    when: Predicate
    #: What a covered step does.
    instead: Instead
    documentation: Documentation
    #: Why a covered step may also follow the rule. None if it never does.
    sometimes: str | None = None
    #: Whether the behaviour outlives its call, so that the process is replaced after a covered step.
    isolates: bool = False
    #: The file, the line and the column of the entry.
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def where(self) -> str:
        """The place of the entry, as `file:line`."""
        return f"{self.file}:{self.line}"

    @property
    def replaces_process(self) -> bool:
        """Whether a process that carried out a covered step must carry out no other question."""
        return self.isolates or bool(self.instead.crashes)

    def covers_implementation(self, implementation: str) -> bool:
        """Return whether a glob of the behaviour matches the name of an implementation."""
        return self._implementations.fullmatch(implementation) is not None

    def covered_layers(self, step: ModelStep, surroundings: Surroundings, case: str) -> frozenset[int]:
        """
        Return the layers of a step that the behaviour covers.

        Args:
            step: the step.
            surroundings: the machine and the process that carry it out.
            case: the id of its case.
        """
        return self.matching_layers(step, case) if self.when.matches_surroundings(surroundings) else frozenset()

    def matching_layers(self, step: ModelStep, case: str) -> frozenset[int]:
        """Return the layers of a step that the behaviour covers on some machine, in some environment."""
        exactly = self.instead.exactly
        if exactly is not None and (exactly.case, exactly.step) != (case, step.label):
            return frozenset()
        return self.when.matching_layers(step)

    @cached_property
    def _implementations(self) -> re.Pattern[str]:
        return re.compile("|".join(translate(glob) for glob in self.implementations))


def of_implementation(behaviours: Sequence[Behaviour], implementation: str) -> tuple[Behaviour, ...]:
    """Return the behaviours of an implementation."""
    return tuple(each for each in behaviours if each.covers_implementation(implementation))
