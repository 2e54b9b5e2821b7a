"""The test that pytest runs for each cell, in a checkout and from the wheel alike."""

from __future__ import annotations

from typing import Final

import pytest

from conformance.checks.cell import Cell
from conformance.checks.finding import CONFORMS
from conformance.results import UNJUDGED, CellRecord
from conformance.results.behaviours import gone_entries, near_text
from conformance.run.cell_runner import Runner

#: The record of a cell, until its test is reported.
RECORD: Final = pytest.StashKey[CellRecord]()


def explanation(record: CellRecord) -> str:
    """Return the text on a cell that does not conform: each check that does not, or the reason."""
    lines = [f"{record.outcome}: {record.name}  ({record.row})"]
    if record.why:
        lines.append(f"  why the row is there: {record.why}")
    if record.reason:
        lines.append(f"  {record.reason}")
    if record.crash is not None:
        lines += [f"  note: {each}" for each in record.crash.notes]
        lines += [f"  stderr: {each}" for each in record.crash.stderr.strip().splitlines()[-10:]]
    for each in record.checks:
        if each.outcome != CONFORMS:
            lines.append(f"  {each.check} {each.outcome}: {each.message}")
            if near_text(each):
                lines.append(f"    {near_text(each)}")
            if each.divergence is not None:
                lines.append(f"    known: {each.divergence.why} ({each.divergence.where})")
    lines += [f"  gone: {each.id} ({each.where}): {each.why}" for each in gone_entries(record)]
    return "\n".join(lines)


def test_dense(cell: Cell, conformance_runner: Runner, request: pytest.FixtureRequest) -> None:
    """Check one implementation on one case."""
    record = conformance_runner.run(cell)
    request.node.stash[RECORD] = record
    if record.outcome == "diverges":
        # Like `pytest.xfail`, but without a traceback of this line, which costs more than most cells.
        raise pytest.xfail.Exception(explanation(record), pytrace=False)
    if record.outcome in UNJUDGED:
        pytest.skip(record.reason or record.outcome)
    if record.outcome != CONFORMS:
        pytest.fail(explanation(record), pytrace=False)
