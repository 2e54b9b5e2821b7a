"""
Checks runs of many random cases: no cell is red, and enough output elements were compared.

`make soak` runs the rows of `conformance list random` on the implementations of the default run, and fewer rows on
those of the nightly tier, and passes both results files to this module. It prints the cells, the output elements
compared, and the largest margin by implementation, dtype and line of the bound (1 is the bound). The exit code is
nonzero if a cell is red, `not_run` or missing, or if fewer elements were compared than required.

An output element counts once for each draw. Repeated calls, other batches, single positions, relations between calls
and gradients are compared too, and do not count.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.results import CellRecord, Run, read
from conformance.results.record import QuestionRecord

#: The fewest output elements to compare, in all and by each implementation that computes.
ENOUGH: Final = 10**7
ENOUGH_OF_EACH: Final = 10**5
#: Outcomes of a cell that ran and is not red.
_GREEN: Final = ("conforms", "diverges")
#: The label of a step that sets the weights of a further draw begins with this. That draw has an output step too.
_NEW_WEIGHTS: Final = "new weights, "


def elements(cell: CellRecord) -> int:
    """Return the number of output elements of a cell that were compared, over all its draws."""
    if not any(each.check == "output" and each.margin is not None for each in cell.checks):
        return 0
    steps = cell.steps or {}
    draws = sum(each.startswith(_NEW_WEIGHTS) for each in steps) + ("output" in steps)
    return draws * math.prod(_output_shape(_question(cell)))


def _output_shape(question: QuestionRecord) -> tuple[int, ...]:
    """Return the shape of the output: the fed shape with the units of the last layer as its last axis."""
    fed = question.feed_shape or [*question.leading_axes, *(question.input_shape or ())]
    shape = [*fed[:-1], *(question.units or ())[-1:]]
    return tuple(each for each in shape if isinstance(each, int))


def _question(cell: CellRecord) -> QuestionRecord:
    assert cell.question is not None, cell.name
    return cell.question


def margins(runs: Sequence[Run]) -> Mapping[tuple[str, str, str], tuple[float, str]]:
    """
    Return the largest margin and its case by implementation, dtype and line.

    A check that diverges is left out, since its margin is relative to the bounds of the rule.
    """
    found: dict[tuple[str, str, str], tuple[float, str]] = {}
    for cell in _cells(runs):
        for check in cell.checks:
            if check.margin is not None and check.outcome != "diverges":
                key = (cell.implementation, cell.dtype, check.line or str(_question(cell).lane))
                found[key] = max(found.get(key, (-1.0, "")), (float(check.margin), cell.case))
    return found


def report(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines to print for several runs."""
    cells = _cells(runs)
    outcomes = Counter(cell.outcome for cell in cells)
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
    rows = len({cell.case for cell in cells})
    yield f"{len(cells):,} cells of {rows:,} cases: {counts}"
    yield f"{sum(compared(runs).values()):,} output elements compared"
    seconds = sum(run.footer.seconds for run in runs if run.footer is not None)
    yield f"{seconds:,.0f} seconds"
    yield "largest margin by implementation, dtype and line:"
    for (implementation, dtype, line), (margin, case) in sorted(margins(runs).items()):
        yield f"  {implementation:<22} {dtype:<9} {line:<24} {margin:8.4f}  {case}"
    for cell in cells:
        if cell.outcome not in _GREEN:
            yield f"{cell.outcome}: {cell.implementation} {cell.case} {cell.reason}"


def problems(runs: Sequence[Run], enough: int = ENOUGH, of_each: int = ENOUGH_OF_EACH) -> Iterator[str]:
    """Yield the reasons why the runs fail."""
    if not all(run.complete for run in runs):
        yield "a run did not come to its end"
    red = sum(cell.outcome not in _GREEN for cell in _cells(runs))
    if red:
        yield f"{red} cells are red or were not run"
    counted = compared(runs)
    if sum(counted.values()) < enough:
        yield f"{sum(counted.values()):,} output elements were compared, fewer than {enough:,}"
    for name, count in sorted(counted.items()):
        if count < of_each:
            yield f"{count:,} output elements of {name} were compared, fewer than {of_each:,}"


def compared(runs: Sequence[Run]) -> Counter[str]:
    """Return the number of compared output elements of each implementation."""
    counted: Counter[str] = Counter()
    for cell in _cells(runs):
        counted[cell.implementation] += elements(cell)
    return counted


def _cells(runs: Sequence[Run]) -> list[CellRecord]:
    """Return the cells, without those of rows that their implementation does not support."""
    return [cell for run in runs for cell in run.cells if cell.outcome != "unsupported"]


def main(paths: Sequence[str]) -> None:
    """Print the figures of results files, and exit with the reasons if they fail."""
    runs = [read(Path(path)) for path in paths]
    print("\n".join(report(runs)))
    if found := list(problems(runs)):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(sys.argv[1:])
