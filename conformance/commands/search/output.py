"""
What a search found, told: rows ready for the table, scripts for bug reports, and a summary for the terminal.

Rows are written as a file of the table, in which `why` is left for a person to fill; until then it is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from conformance.commands.search.loop import Find, Found
from conformance.table.core_schema import dump

_DESCRIPTION: Final = "Rows that `conformance search` found; say why each is there, or take it out."


def row_of(*finds: Find) -> dict[str, Any]:
    """Return the row of finds that are one case, `why` left blank; it asks the implementations alone that were red."""
    red = dict.fromkeys(each.record.implementation for each in finds)
    return {**finds[0].row, "implementations": list(red), "why": ""}


def document(finds: Sequence[Find]) -> str:
    """Return a file of the table with the rows of finds, one for each case, since no two rows may ask the same."""
    by_case: dict[str, list[Find]] = {}
    for each in finds:
        by_case.setdefault(each.case.id, []).append(each)
    return _table([row_of(*each) for each in by_case.values()])


def _table(rows: Sequence[dict[str, Any]]) -> str:
    return dump({"description": _DESCRIPTION, "rows": rows})


def write(found: Found, folder: Path) -> tuple[Path, ...]:
    """
    Write the rows and, beside them, the script of each find, and return the paths; none where nothing was found.

    The files are `search.yaml` and `search-01-IMPLEMENTATION.py`. What an earlier search left in the folder stays:
    those of the next are `search-2.yaml` and so on.
    """
    if not found.finds:
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    stems = ("search" if number == 1 else f"search-{number}" for number in itertools.count(1))
    for stem in stems:
        # Created, or found to be there, in one step: two searches may end at once.
        with contextlib.suppress(FileExistsError), (folder / f"{stem}.yaml").open("x", encoding="utf-8") as rows:
            rows.write(document(found.finds))
            break
    paths = [folder / f"{stem}.yaml"]
    for number, find in enumerate(found.finds, start=1):
        if find.record.reproduce:
            name = re.sub(r"[^A-Za-z0-9._-]", "-", find.record.implementation)
            paths.append(folder / f"{stem}-{number:02}-{name}.py")
            paths[-1].write_text(find.record.reproduce, encoding="utf-8")
        if find.before:
            paths.append(folder / f"{stem}-{number:02}-before.yaml")
            paths[-1].write_text(_asked_before(find), encoding="utf-8")
    return tuple(paths)


def _asked_before(find: Find) -> str:
    """Return a file of the table with the rows that one process was asked up to a find, the find's own at the end."""
    name = find.record.implementation
    others = [row for row in find.before if row != find.row]
    rows = [{**row, "why": "Asked of the same process."} for row in others] + [{**find.row, "why": "Red after these."}]
    return _table([{**row, "implementations": [name]} for row in rows])


def lines(found: Found) -> Iterator[str]:
    """Yield what a person reads at the end of a search."""
    for number, find in enumerate(found.finds, start=1):
        yield f"{number}. {find.record.implementation}: {find.record.outcome} in {find.case.id}"
        yield from (f"   {each}" for each in _seen(find))
        yield from (f"   | {each}" for each in dump([row_of(find)], width=100).splitlines())
    if found.finds:
        yield ""
    for name, (count, case) in sorted(found.known.items()):
        yield f"as declared by {name}: {count} cells, first {case}"
    yield from _nearest(found)
    if found.forgotten:
        yield f"the next search will not begin with what was found: {found.forgotten}"
    told = "nothing that is not declared" if not found.finds else f"{len(found.finds)} new"
    early = ", interrupted" if found.interrupted else ""
    yield f"{found.asked} rows in {found.passes} passes, {found.seconds:.0f} s{early}: {told}"


def _seen(find: Find) -> Iterator[str]:
    """Yield what is red in a find, in a line each; of checks that have no evidence the first stands for all."""
    if find.alone not in (None, find.record.outcome):
        yield f"in a process that is asked nothing else: {find.alone}; what was asked before it plays a part"
    if find.record.reason:
        yield find.record.reason.strip().split("\n", 1)[0][:200]
    without = [each.check for each in find.record.checks if each.raised is not None]
    for check in find.record.checks:
        if check.outcome == "violates" and check.check not in without[1:]:
            margin = f" (margin {float(check.margin):.3g})" if check.margin is not None else ""
            first = check.message.strip().split("\n", 1)[0]
            yield f"{check.check}{margin}: {first[:200]}"
    if without[1:]:
        yield f"no evidence either: {', '.join(without[1:])}"


def _nearest(found: Found) -> Iterator[str]:
    """Yield how near to its bound each implementation came."""
    names = sorted({name for name, _ in found.best})
    for name in names:
        kinds = {kind: best for (other, kind), best in found.best.items() if other == name}
        yield f"largest margins of {name}: " + ", ".join(
            f"{kind} {margin:.3g} ({case})" for kind, (margin, case) in sorted(kinds.items())
        )
    if found.disagreement[0]:
        yield f"furthest apart: {found.disagreement[0]:.3g} times the allowed, in {found.disagreement[1]}"
