"""
What of a results file is held in memory while its page is made.

Of a cell that merely conforms a page shows little unless somebody looks at its detail, and there is room for the detail
of few. So it is left in the file, where that can be read again from anywhere: less to decode, and less to hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from conformance.report.matrix import Left, seen_of
from conformance.results import OnDisk, Record, Run
from conformance.results.record import Conforming, conforming


def held(run: Run) -> Iterator[Record]:
    """Yield the cells of a run, those that conform as `Left` where the run was opened and its file can be sought."""
    file = run.cells
    if not isinstance(file, OnDisk) or not file.seeks:
        yield from file
        return
    # Cells of one case ask the same, which is held once.
    asked: dict[str, Any] = {}
    for number, start, line in file.lines():
        cell = conforming(line)
        left = None if cell is None else _left(cell, file, start, asked)
        if left is None:
            yield from file.records(number, line)
        else:
            yield left


def _left(cell: Conforming, file: OnDisk, start: int, asked: dict[str, Any]) -> Left | None:
    """Return what is held of a cell whose line starts there; None where one of its checks does not conform."""
    seen = seen_of(
        (each.check, each.outcome, each.margin, None, each.facts and each.facts.bits) for each in cell.checks
    )
    if seen.fails:
        return None
    question = asked.setdefault(cell.case, cell.question)
    content = {
        "case": cell.case,
        "implementation": cell.implementation,
        "device": cell.device,
        "outcome": cell.outcome,
        "checks": [
            {"check": each.check, "outcome": each.outcome, "message": each.message, "reason": each.reason}
            for each in cell.checks
            if each.outcome == "unsupported"
        ],
        "question": question if question == cell.question else cell.question,
        "seconds": cell.seconds,
        "row": cell.row,
        "why": cell.why,
        "source": cell.source,
        **({"covered": cell.covered} if cell.covered else {}),
        **({"gone": cell.gone} if cell.gone else {}),
    }
    return Left(content, seen, file, start)
