"""The outcome of a cell: the worst of its checks, or how the process of its implementation ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.sandbox.steps import Transcript

Record = Mapping[str, Any]
#: Outcomes of checks, worst first; a check that is `unsupported` decides only where all are.
_CHECK_OUTCOMES: Final = ("violates", "diverges", "conforms")
#: From this width on a step's bounds allow what is as large as the answer itself.
_POWERLESS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """
    The outcome of a cell and its checks.

    `covered` are the behaviours that cover a step of the cell, `behaviours` those without which it would fail, `gone`
    those that it shows to be gone. `widths` maps each step that was judged under a behaviour to the width of its bounds
    (`conformance.ledger.expectation.width`).
    """

    outcome: str
    checks: tuple[Record, ...]
    reason: str | None = None
    divergence: Record | None = None
    covered: tuple[str, ...] = ()
    behaviours: tuple[str, ...] = ()
    gone: tuple[Record, ...] = ()
    widths: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_power(self) -> bool:
        """Whether some step that was judged under a behaviour has bounds narrower than its answer."""
        return not self.widths or min(self.widths.values()) < _POWERLESS


def worst_outcome(outcomes: Iterable[str]) -> str:
    """Return the worst of the outcomes of checks."""
    found = set(outcomes)
    return next((outcome for outcome in _CHECK_OUTCOMES if outcome in found), "unsupported")


def of_crash(transcript: Transcript, checks: tuple[Record, ...]) -> Verdict:
    """Return the verdict on a cell whose process ended, or was ended at a limit of time, as nobody declared."""
    crash = transcript.crash
    assert crash is not None
    outcome = "timed_out" if transcript.timed_out else "crashed"
    return Verdict(outcome=outcome, checks=checks, reason=f"{crash.label}: {crash.reason}")
