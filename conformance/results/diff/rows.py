"""The lines of a comparison of two runs, as JSON and the page have them: cell, before, after, reason."""

from __future__ import annotations

import msgspec

from conformance.results.diff.comparison import BehaviourChange, Change, Shift


class Row(msgspec.Struct, frozen=True, kw_only=True, rename={"reason": "said"}):
    """One line of a comparison. `cell` may also name a behaviour, or a group of cells. In JSON, `reason` is `said`."""

    cell: str
    before: str | None
    after: str | None
    reason: str
    #: The largest margin before and after, if the cell has both.
    margins: tuple[float, float] | None = None


def change_row(change: Change) -> Row:
    """Return the line of a cell."""
    return Row(cell=change.cell, before=change.before, after=change.after, reason=change.reason, margins=change.margins)


def behaviour_row(change: BehaviourChange) -> Row:
    """Return the line of a behaviour; `cell` names its entry."""
    entry = f"{change.behaviour} ({change.where})"
    return Row(cell=entry, before=_counts_text(change, 0), after=_counts_text(change, 1), reason=change.why)


def shift_row(shift: Shift) -> Row:
    """Return the line of margins that moved together."""
    return Row(
        cell=" ".join(filter(None, (f"{shift.device}/{shift.implementation}", shift.dtype, shift.check))),
        before="margin",
        after=f"margin times {shift.median:.3g}",
        reason=f"{shift.moved} of {shift.cells} cells moved that way",
    )


def _counts_text(change: BehaviourChange, which: int) -> str:
    """Return the counts of a behaviour in the old run (`which=0`) or the new run (`which=1`), in words."""
    needed, gone = change.needed[which], change.gone[which]
    parts = [f"seen in {_cells(needed)}"] if needed or not gone else []
    return ", ".join([*parts, *([f"gone from {_cells(gone)}"] if gone else [])])


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
