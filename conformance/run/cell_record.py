"""The record of a cell, from its verdict and its transcript."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from conformance.checks.cell import Cell
from conformance.checks.outcome import Verdict
from conformance.checks.question import Question
from conformance.results import FAILING, NO_SCRIPT, CellRecord, part_of
from conformance.results.record import CrashRecord
from conformance.sandbox.sandbox import StartError
from conformance.sandbox.steps import Transcript

#: A longer script is left out of a record. `conformance reproduce` prints it.
MOST_BYTES_OF_A_SCRIPT: Final = 20_000


def judged_record(cell: Cell, question: Question, verdict: Verdict, transcript: Transcript) -> CellRecord:
    """Return the record of a cell whose answers were judged_record."""
    fields = {**_verdict_fields(verdict), **_transcript_fields(transcript)}
    return _with_script(_record(cell, fields), cell, question)


def start_failure_record(cell: Cell, error: StartError) -> CellRecord:
    """Return the record of a cell whose process did not start."""
    record = unjudged_record(cell, "crashed", f"the process did not start: {error.reason}")
    crash = CrashRecord(step="start", reason=error.reason, stderr=error.stderr)
    return _with_script(replace(record, crash=crash), cell, None)


def unjudged_record(cell: Cell, outcome: str, reason: str) -> CellRecord:
    """Return the record of a cell that was not judged."""
    return _record(cell, {"outcome": outcome, "checks": [], "reason": reason})


def _record(cell: Cell, fields: Mapping[str, object]) -> CellRecord:
    """Return the record of a cell with some fields, without those that are None."""
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


def _verdict_fields(verdict: Verdict) -> dict[str, object]:
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


def _transcript_fields(transcript: Transcript) -> dict[str, object]:
    """Return the fields on the time of each step and, after a crash, on how the process ended."""
    steps = {label: round(reply.seconds, 6) for label, reply in transcript.replies.items()}
    if transcript.crash is None:
        return {"steps": steps}
    crash: dict[str, object] = {
        "step": transcript.crash.label,
        "reason": transcript.crash.reason,
        "stderr": transcript.crash.stderr,
        "notes": list(transcript.notes),
    }
    culprit = getattr(transcript, "culprit", None)
    if culprit is not None:
        crash["culprit"] = list(culprit.names)
    return {"crash": crash, "steps": steps}


def _with_script(record: CellRecord, cell: Cell, question: Question | None) -> CellRecord:
    """Return a record with its script if it is red or diverges, else unchanged."""
    if record.outcome not in (*FAILING, "diverges"):
        return record
    # Imported here, because a run without failures needs neither templates nor jinja2.
    from conformance.run.reproduce import script

    try:
        text = script(record, question, case=cell.case, implementation=cell.implementation)
    except Exception as error:  # a verdict must not be lost because of its script
        text = f"{NO_SCRIPT}: {error!r}\n"
    return replace(record, reproduce=text) if len(text.encode()) <= MOST_BYTES_OF_A_SCRIPT else record
