"""The fields of a cell's record, as they are written to the results file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from conformance.checks.cell import Cell
from conformance.checks.outcome import Verdict
from conformance.checks.question import Question
from conformance.results import FAILING, NO_SCRIPT, finite
from conformance.sandbox.sandbox import StartError
from conformance.sandbox.steps import Transcript

#: A script beyond this is left out of a record; `conformance reproduce` writes it all the same.
MOST_BYTES_OF_A_SCRIPT: Final = 20_000


def cell_record(cell: Cell, outcome: Mapping[str, Any], *, seconds: float, start: float | None) -> dict[str, Any]:
    """
    Return the record of one cell; a field without a value is left out.

    Args:
        cell: the cell that was run.
        outcome: the fields that say what came of it, `outcome` and `checks` among them.
        seconds: wall time of the cell.
        start: wall time that the cell waited for its process (seconds), None where the process ran before.
    """
    case = cell.case
    record = {
        "case": case.id,
        "implementation": cell.implementation.name,
        "device": cell.device,
        **outcome,
        "seconds": round(seconds, 6),
        "start": None if start is None else round(start, 6),
        "row": case.row,
        "question": dict(case.question),
        "why": case.why,
        "source": case.source,
    }
    content: dict[str, Any] = finite({key: value for key, value in record.items() if value is not None})
    return content


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """Return the fields of a record that a verdict makes; what says nothing is left out."""
    content: dict[str, Any] = {
        "outcome": verdict.outcome,
        "checks": list(verdict.checks),
        "reason": verdict.reason,
        "divergence": verdict.divergence,
        "covered": list(verdict.covered),
        "behaviours": list(verdict.behaviours),
        "gone": list(verdict.gone),
        "widths": dict(verdict.widths),
        "powerless": None if verdict.has_power else True,
    }
    return {name: value for name, value in content.items() if name == "checks" or value not in (None, [], {})}


def transcript_fields(transcript: Transcript) -> dict[str, Any]:
    """Return the fields of a record that say how the process ended, where it did, and how long each step took."""
    content: dict[str, Any] = {}
    if transcript.crash is not None:
        content["crash"] = {
            "step": transcript.crash.label,
            "reason": transcript.crash.reason,
            "stderr": transcript.crash.stderr,
            "notes": list(transcript.notes),
        }
        culprit = getattr(transcript, "culprit", None)
        if culprit is not None:
            content["crash"]["culprit"] = list(culprit.names)
    content["steps"] = {label: round(reply.seconds, 6) for label, reply in transcript.replies.items()}
    return content


def not_started(cell: Cell, error: StartError) -> dict[str, Any]:
    """Return the outcome of a cell for which there was no process."""
    crash = {"step": "start", "reason": error.reason, "stderr": error.stderr}
    content = {**unjudged("crashed", f"the process did not start: {error.reason}"), "crash": crash}
    return content | script_field(cell, content, None)


def unjudged(outcome: str, reason: str) -> dict[str, Any]:
    """Return the outcome of a cell of which nothing was observed."""
    return {"outcome": outcome, "checks": [], "reason": reason}


def script_field(cell: Cell, content: Mapping[str, Any], asked: Question | None) -> dict[str, str]:
    """Return the field `reproduce` of a record, a script that shows what was seen; none where all is well."""
    if content["outcome"] not in (*FAILING, "diverges"):
        return {}
    # Imported here: a run in which all is well needs neither templates nor their engine.
    from conformance.run.reproduce import script

    named = {"case": cell.case.id, "implementation": cell.implementation.name, "device": cell.device}
    try:
        text = script({**named, **finite(content)}, asked, case=cell.case, implementation=cell.implementation)
    except Exception as error:  # a verdict must not be lost with the script that was to show it
        text = f"{NO_SCRIPT}: {error!r}\n"
    return {"reproduce": text} if len(text.encode()) <= MOST_BYTES_OF_A_SCRIPT else {}
