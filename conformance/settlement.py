"""
What a cell amounts to once the ledger has had its say.

A violation that an entry of the ledger asserts, exactly as observed, is a divergence. An entry whose behaviour is gone
from a cell that ran is itself a violation: the ledger is strict in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from conformance.ledger import Crash, Entry, Equals, Margin, Message, Raises
from conformance.results import finite

CheckRecord = Mapping[str, Any]
#: Outcomes of checks, worst first; a check that is `unsupported` decides only where all are.
_CHECK_OUTCOMES: Final = ("violates", "diverges", "conforms")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Outcome of a cell, its checks with divergences marked, and for a cell without evidence the reason."""

    outcome: str
    checks: tuple[CheckRecord, ...]
    reason: str | None = None
    divergence: Mapping[str, Any] | None = None


def settle(
    entries: Sequence[Entry],
    *,
    implementation: str,
    device: str,
    case: str,
    checks: Sequence[CheckRecord],
    crash: Mapping[str, Any] | None,
    timed_out: bool,
    versions: Mapping[str, str] | None = None,
    cpu: Set[str] | None = None,
) -> Settled:
    """
    Return what the findings of a cell amount to under the entries that cover it.

    `versions` are those of the distributions that take part, `cpu` the features of the processor. `crash` is how the
    process ended, with `timed_out` where it was ended for passing its deadline.
    """
    covering = [
        each
        for each in entries
        if each.covers(implementation=implementation, case=case, device=device, versions=versions, cpu=cpu)
    ]
    endings = [each for each in covering if isinstance(each.observed, Crash)]
    if crash is not None:
        reason = f"{crash['step']}: {crash['reason']}"
        # A limit of time is not a behaviour: no entry covers a process that was ended for passing one.
        known = None if timed_out else next((each for each in endings if _ended_so(each, crash)), None)
        if known is None:
            return Settled(outcome="timed_out" if timed_out else "crashed", checks=tuple(checks), reason=reason)
        # The checks the known ending left without evidence diverge with it.
        left = [{**each, "outcome": "diverges"} if each["outcome"] == "violates" else each for each in checks]
        return Settled(outcome="diverges", checks=tuple(left), reason=reason, divergence=_divergence(known))
    settled = [
        _settled(each, [entry for entry in covering if not entry.checks or each["check"] in entry.checks])
        for each in checks
    ]
    settled += [_gone(entry) for entry in endings]
    outcomes = [each["outcome"] for each in settled]
    worst = next((outcome for outcome in _CHECK_OUTCOMES if outcome in outcomes), "unsupported")
    reasons = sorted({str(each.get("message")) for each in settled}) if worst == "unsupported" else []
    return Settled(outcome=worst, checks=tuple(settled), reason="; ".join(reasons) or None)


def _ended_so(entry: Entry, crash: Mapping[str, Any]) -> bool:
    return isinstance(entry.observed, Crash) and entry.observed.reason in crash["reason"]


def _settled(check: CheckRecord, entries: Sequence[Entry]) -> CheckRecord:
    """Return one check's record as the entries that name it leave it."""
    entries = [each for each in entries if not isinstance(each.observed, Crash)]
    if not entries or check["outcome"] == "unsupported":
        return check
    if check["outcome"] == "conforms":
        return {**check, "outcome": "violates", "message": _gone(entries[0])["message"]}
    known = next((each for each in entries if observed_so(each, check)), None)
    if known is not None:
        return {**check, "outcome": "diverges", "divergence": _divergence(known)}
    expected = "; ".join(f"{each.where} expects {words(each)}" for each in entries)
    return {**check, "message": f"{check.get('message', '')} (not what the ledger says: {expected})"}


def observed_so(entry: Entry, check: CheckRecord) -> bool:
    """Return whether a check was observed exactly as the entry asserts."""
    match entry.observed:
        case Raises(stage=stage, type=kind, message=message):
            raised = check.get("raised")
            return (
                raised is not None
                and (raised["stage"], raised["type"]) == (stage, kind)
                and message in raised["message"]
            )
        case Margin(low=low, high=high):
            margin = check.get("margin")
            return margin is not None and low <= float(margin) <= high
        case Message(part=part):
            return part in check.get("message", "")
        case Equals(value=value):
            return bool(finite(check.get("observed")) == value)
    return False


def _gone(entry: Entry) -> dict[str, Any]:
    message = f"a known divergence went away: {entry.where} asserts {words(entry)}; remove the entry or mend it"
    return {"check": "ledger", "outcome": "violates", "message": message}


def words(entry: Entry) -> str:
    """Return what an entry asserts, in words."""
    match entry.observed:
        case Raises(stage=stage, type=kind, message=message):
            return f"{kind} at {stage} with {message!r}"
        case Crash(reason=reason):
            return f"a crash with {reason!r}"
        case Margin(low=low, high=high):
            return f"an error of {low:g} to {high:g} times the allowed"
        case Message(part=part):
            return f"a message with {part!r}"
        case Equals(value=value):
            return f"{value!r} observed"


def _divergence(entry: Entry) -> dict[str, Any]:
    return {
        "where": entry.where,
        "kind": entry.kind,
        "why": entry.why,
        "link": entry.link,
        "evidence": entry.evidence,
        "since": entry.since,
        "versions": {name: str(wanted) for name, wanted in entry.versions.items()},
        "review": None if entry.review is None else entry.review.isoformat(),
    }
