"""
A behaviour: what an implementation does instead of the rule, on which steps, and how that is known.

Plain data: what an entry of `cases/divergences/` says, read by `conformance.ledger.loader`. What a step should then
answer is computed by `conformance.ledger.expectation`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property
from typing import Final

from conformance.ledger.predicate import Predicate
from conformance.ledger.step import AskedStep, Surroundings
from conformance.reference.deviation import NO_DEVIATION, Deviation

KINDS: Final = ("by_design", "bug", "numeric")
#: Ways of accepting what the rule refuses.
ACCEPTANCES: Final = ("broadcast", "squeeze", "expand", "flatten", "int_units")
#: Ways of inferring another shape than the rule's, or of answering with one.
SHAPES: Final = ("fed", "reversed_positions")
#: What `dtypes` may be about; `weights` are the gradients dW and db.
TYPED: Final = ("parameters", "output", "dx", "weights")
#: What may be left undefined: results whose values mean nothing.
RESULTS: Final = ("output", "dx", "dW", "db")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """An exception of a type, whose message has these parts in this order."""

    type: str
    message: tuple[str, ...]
    #: Whether it may come from the adapter: from a look at what the framework gave, or from a call of compiled code,
    #: which has no frame of the framework. Without it some package of the framework has to raise it.
    by_adapter: bool = False

    def is_raised(self, type_name: str, message: str) -> bool:
        """Return whether an exception is this one."""
        pattern = ".*?".join(map(re.escape, self.message))
        return type_name == self.type and re.search(pattern, message, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"{self.type}: {' ... '.join(self.message)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exactly:
    """Elements of one step of one case that are these numbers, bit for bit."""

    case: str
    step: str
    elements: Mapping[tuple[int, ...], float]


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What a covered step does in place of the rule; what is left out is as the rule has it."""

    refuses: Refusal | None = None
    #: Signals of which the process ends by one.
    crashes: tuple[str, ...] = ()
    accepts: str | None = None
    deviation: Deviation = NO_DEVIATION
    #: Result -> dtype, of parameters, output, dx or weights (dW and db).
    dtypes: Mapping[str, str] = field(default_factory=dict)
    #: The output's shape: `fed`, that of the input.
    shape: str | None = None
    #: The shapes inferred: `fed`, or the axes between batch and features in reversed order.
    infers: str | None = None
    undefined: frozenset[str] = frozenset()
    exactly: Exactly | None = None

    @property
    def ends(self) -> bool:
        """Whether the step has no answer."""
        return self.refuses is not None or bool(self.crashes)

    @property
    def widens_only(self) -> bool:
        """Whether a right answer is always one that this allows as well, so that none says that it is gone."""
        others = (self.refuses, self.crashes, self.accepts, self.dtypes, self.shape, self.infers, self.exactly)
        return not any(others) and self.deviation.widens_only


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """
    One entry of the ledger.

    `implementations` are globs. With `sometimes`, the reason why, each covered step does either as the rule says or as
    `instead` does. With `isolates` it outlives its call, so that the process is replaced after such a step. `seen_with`
    maps distributions to the versions it was seen with. `line` and `column` are where the entry stands in `file`.
    """

    id: str
    implementations: tuple[str, ...]
    when: Predicate
    instead: Instead
    kind: str
    why: str
    link: str | None = None
    evidence: str | None = None
    seen_with: Mapping[str, str] = field(default_factory=dict)
    sometimes: str | None = None
    isolates: bool = False
    file: str = ""
    line: int = 0
    column: int = 0

    @property
    def where(self) -> str:
        """Where the entry stands, as `file:line`."""
        return f"{self.file}:{self.line}"

    @property
    def replaces_process(self) -> bool:
        """Whether a process that was asked a covered step must answer no other question."""
        return self.isolates or bool(self.instead.crashes)

    def covers_implementation(self, implementation: str) -> bool:
        """Return whether the behaviour is one of an implementation."""
        return self._implementations.fullmatch(implementation) is not None

    def covers(self, asked: AskedStep, around: Surroundings, case: str) -> frozenset[int]:
        """Return the layers of a step of a case (its id) that the behaviour applies to, none where it does not."""
        return self.reaches(asked, case) if self.when.suits(around) else frozenset()

    def reaches(self, asked: AskedStep, case: str) -> frozenset[int]:
        """Return the layers of a step that the behaviour applies to on any machine and in any environment."""
        exactly = self.instead.exactly
        if exactly is not None and (exactly.case, exactly.step) != (case, asked.label):
            return frozenset()
        return self.when.reaches(asked)

    @cached_property
    def _implementations(self) -> re.Pattern[str]:
        return re.compile("|".join(translate(glob) for glob in self.implementations))


def of_implementation(behaviours: Sequence[Behaviour], implementation: str) -> tuple[Behaviour, ...]:
    """Return the behaviours of an implementation."""
    return tuple(each for each in behaviours if each.covers_implementation(implementation))
