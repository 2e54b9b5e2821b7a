"""The lines of a comparison of two runs, as JSON and a page have them: what, before, after, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.results.diff.comparison import Change, Shift, Turn


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a comparison; `cell` may stand for a behaviour, or for many cells."""

    cell: str
    before: str | None
    after: str | None
    said: str
    #: The largest margin before and after, of a cell that has both.
    margins: tuple[float, float] | None = None


def of_change(change: Change) -> Row:
    """Return the line of a cell."""
    return Row(cell=change.cell, before=change.before, after=change.after, said=change.said, margins=change.margins)


def of_turn(turn: Turn) -> Row:
    """Return the line of a behaviour, its entry in the place of a cell."""
    named = f"{turn.behaviour} ({turn.where})"
    return Row(cell=named, before=_counted(turn, 0), after=_counted(turn, 1), said=turn.why)


def of_shift(shift: Shift) -> Row:
    """Return the line of margins that moved together."""
    return Row(
        cell=" ".join(filter(None, (f"{shift.device}/{shift.implementation}", shift.dtype, shift.check))),
        before="margin",
        after=f"margin times {shift.median:.3g}",
        said=f"{shift.moved} of {shift.cells} cells moved that way",
    )


def _counted(turn: Turn, which: int) -> str:
    """Return what a run says of a behaviour, 0 for the old one and 1 for the new one."""
    seen, gone = turn.seen[which], turn.gone[which]
    said = [f"seen in {_cells(seen)}"] if seen or not gone else []
    return ", ".join([*said, *([f"gone from {_cells(gone)}"] if gone else [])])


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
