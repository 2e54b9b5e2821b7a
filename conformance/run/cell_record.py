"""The record of a cell, made of what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from conformance.checks.cell import Cell
from conformance.checks.outcome import Verdict
from conformance.checks.question import Question
from conformance.results import FAILING, NO_SCRIPT, CellRecord, part_of
from conformance.results.record import CrashRecord
from conformance.sandbox.sandbox import StartError
from conformance.sandbox.steps import Transcript

#: A script beyond this is left out of a record; `conformance reproduce` writes it all the same.
MOST_BYTES_OF_A_SCRIPT: Final = 20_000


def judged(cell: Cell, asked: Question, verdict: Verdict, transcript: Transcript) -> CellRecord:
    """Return the record of a cell whose answers were judged."""
    fields = {**_verdict_fields(verdict), **_transcript_fields(transcript)}
    return _with_script(_record(cell, fields), cell, asked)


def not_started(cell: Cell, error: StartError) -> CellRecord:
    """Return the record of a cell for which there was no process."""
    record = unjudged(cell, "crashed", f"the process did not start: {error.reason}")
    crash = CrashRecord(step="start", reason=error.reason, stderr=error.stderr)
    return _with_script(replace(record, crash=crash), cell, None)


def unjudged(cell: Cell, outcome: str, reason: str) -> CellRecord:
    """Return the record of a cell of which nothing was observed."""
    return _record(cell, {"outcome": outcome, "checks": [], "reason": reason})


def _record(cell: Cell, fields: Mapping[str, Any]) -> CellRecord:
    """Return the record of a cell with some fields; one that is None or empty is left out."""
    case = cell.case
    content = {
        "case": case.id,
        "implementation": cell.implementation.name,
        "device": cell.device,
        **fields,
        "row": case.row,
        "question": dict(case.question),
        "why": case.why,
        "source": case.source,
    }
    return part_of({name: value for name, value in content.items() if value is not None}, CellRecord)


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "checks": list(verdict.checks),
        "reason": verdict.reason,
        "divergence": verdict.divergence,
        "covered": list(verdict.covered),
        "behaviours": list(verdict.behaviours),
        "gone": list(verdict.gone),
        "widths": dict(verdict.widths),
        "powerless": not verdict.has_power,
    }


def _transcript_fields(transcript: Transcript) -> dict[str, Any]:
    """Return the fields that say how the process ended, where it did, and how long each step took."""
    steps = {label: round(reply.seconds, 6) for label, reply in transcript.replies.items()}
    if transcript.crash is None:
        return {"steps": steps}
    crash: dict[str, Any] = {
        "step": transcript.crash.label,
        "reason": transcript.crash.reason,
        "stderr": transcript.crash.stderr,
        "notes": list(transcript.notes),
    }
    culprit = getattr(transcript, "culprit", None)
    if culprit is not None:
        crash["culprit"] = list(culprit.names)
    return {"crash": crash, "steps": steps}


def _with_script(record: CellRecord, cell: Cell, asked: Question | None) -> CellRecord:
    """Return a record with a script that shows what was seen; none where all is well."""
    if record.outcome not in (*FAILING, "diverges"):
        return record
    # Imported here: a run in which all is well needs neither templates nor their engine.
    from conformance.run.reproduce import script

    try:
        text = script(record, asked, case=cell.case, implementation=cell.implementation)
    except Exception as error:  # a verdict must not be lost with the script that was to show it
        text = f"{NO_SCRIPT}: {error!r}\n"
    return replace(record, reproduce=text) if len(text.encode()) <= MOST_BYTES_OF_A_SCRIPT else record
