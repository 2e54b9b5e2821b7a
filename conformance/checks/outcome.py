"""The outcome of a cell: the worst of its checks, or how the process of its implementation ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from conformance.sandbox.steps import Transcript

#: A part of a record of a cell.
Record = Mapping[str, object]
#: Outcomes of checks, the worst first. `unsupported` is the outcome of a cell only if all its checks have it.
_CHECK_OUTCOMES: Final = ("violates", "diverges", "conforms")
#: From this width on a step has no power: its bounds allow errors as large as the answer.
_POWERLESS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The outcome of a cell and of its checks."""

    outcome: str
    #: A record for each check.
    checks: tuple[Record, ...]
    #: Why the cell has its outcome, if its checks do not show it.
    reason: str | None = None
    #: The behaviours that explain a crash.
    divergence: Record | None = None
    #: The ids of the behaviours that cover a step of the cell.
    covered: tuple[str, ...] = ()
    #: The ids of those without which the cell would fail.
    behaviours: tuple[str, ...] = ()
    #: The behaviours that are gone.
    gone: tuple[Record, ...] = ()
    #: The width of each step that was compared with a behaviour.
    widths: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_power(self) -> bool:
        """Whether a step that was compared with a behaviour has power."""
        return not self.widths or min(self.widths.values()) < _POWERLESS


def worst_outcome(outcomes: Iterable[str]) -> str:
    """Return the worst of the outcomes of checks."""
    found = set(outcomes)
    return next((outcome for outcome in _CHECK_OUTCOMES if outcome in found), "unsupported")


def crash_verdict(transcript: Transcript, checks: tuple[Record, ...]) -> Verdict:
    """Return the verdict on a cell whose process ended, or was ended at its deadline, without a declaration."""
    crash = transcript.crash
    assert crash is not None
    outcome = "timed_out" if transcript.timed_out else "crashed"
    return Verdict(outcome=outcome, checks=checks, reason=f"{crash.label}: {crash.reason}")
