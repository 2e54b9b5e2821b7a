"""
An estimate of a run: the cells of each implementation, and their expected time.

No process is started and no framework is imported. Only a framework can find out whether a GPU is visible, so that
`--device auto` counts the cells of every possible device.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from conformance.adapters.installation import missing_text
from conformance.run.progress import duration
from conformance.run.selection import Selection


def estimate_lines(selection: Selection, *, draws: int = 1) -> Iterator[str]:
    """
    Yield a line for each implementation and device that has cells, one for those that have none, and one for all.

    The time is for one process after the other, and `draws` questions per cell.

    Raises:
        SelectionError: the table or the command has a fault.
    """
    chosen = selection.chosen()
    cells = selection.cells(selection.table(), chosen, selection.devices(chosen, elsewhere=True))
    times = selection.expected_times()
    counts: Counter[tuple[str, str]] = Counter()
    unsupported: Counter[tuple[str, str]] = Counter()
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for cell in cells:
        process = cell.device, cell.implementation.name
        counts[process] += 1
        if cell.unsupported is not None:
            unsupported[process] += 1
            continue
        seconds[process] += draws * times.cell(cell.implementation.name, cell.case.id)
    missing = {each.name: missing_text(each.missing_packages()) for each in chosen}
    width = max((len("/".join(each)) for each in counts), default=3)
    total = 0.0
    for (device, name), count in counts.items():
        if missing[name]:
            took = f"not installed: {missing[name]}"
        elif unsupported[device, name] == count:
            took = "unsupported"
        else:
            expected = times.start(name) + seconds[device, name]
            took, total = f"about {duration(expected)}", total + expected
            if unsupported[device, name]:
                took += f", {unsupported[device, name]:,} unsupported"
        yield f"{f'{device}/{name}':<{width}}  {_cells(count):>15}  {took}"
    without = [each.name for each in chosen if not any(name == each.name for _, name in counts)]
    if without:
        yield f"no cells: {', '.join(without)}"
    yield f"{'all':<{width}}  {_cells(len(cells)):>15}  about {duration(total)}, one process after the other"


def _cells(count: int) -> str:
    return f"{count:,} cell{'' if count == 1 else 's'}"
