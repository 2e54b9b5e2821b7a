"""
The output of a search: rows for the table, scripts for bug reports, and a summary for the terminal.

Rows are written as a file of the table with a blank `why`. The loader refuses the file until a person fills it in.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.commands.search.loop import Find, SearchResult
from conformance.table.core_schema import dump

_DESCRIPTION: Final = "Rows that `conformance search` found. Give each row its reason in `why`, or remove it."


def row_of(*finds: Find) -> dict[str, object]:
    """Return the row of finds of one case, with the implementations that fail and a blank `why`."""
    failing = dict.fromkeys(each.record.implementation for each in finds)
    return {**finds[0].row, "implementations": list(failing), "why": ""}


def document(finds: Sequence[Find]) -> str:
    """Return a file of the table with the rows of finds, one for each case: no two rows may have the same case."""
    by_case: dict[str, list[Find]] = {}
    for each in finds:
        by_case.setdefault(each.case.id, []).append(each)
    return _table([row_of(*each) for each in by_case.values()])


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    return dump({"description": _DESCRIPTION, "rows": rows})


def write(result: SearchResult, folder: Path) -> tuple[Path, ...]:
    """
    Write the rows and the script of each find into a folder, and return the paths; none without a find.

    The files are `search.yaml` and `search-01-IMPLEMENTATION.py`, those of the next search in the same folder
    `search-2.yaml` and so on.
    """
    if not result.finds:
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    stems = ("search" if number == 1 else f"search-{number}" for number in itertools.count(1))
    for stem in stems:
        # Mode `x` creates the file or fails in one step: two searches may end at once.
        with contextlib.suppress(FileExistsError), (folder / f"{stem}.yaml").open("x", encoding="utf-8") as rows:
            rows.write(document(result.finds))
            break
    paths = [folder / f"{stem}.yaml"]
    for number, find in enumerate(result.finds, start=1):
        if find.record.reproduce:
            name = re.sub(r"[^A-Za-z0-9._-]", "-", find.record.implementation)
            paths.append(folder / f"{stem}-{number:02}-{name}.py")
            paths[-1].write_text(find.record.reproduce, encoding="utf-8")
        if find.preceding_rows:
            paths.append(folder / f"{stem}-{number:02}-before.yaml")
            paths[-1].write_text(_preceding_document(find), encoding="utf-8")
    return tuple(paths)


def _preceding_document(find: Find) -> str:
    """Return a file of the table with the rows that ran in the process of a find, its own as the last."""
    name = find.record.implementation
    others = [row for row in find.preceding_rows if row != find.row]
    rows = [{**row, "why": "Ran in the same process."} for row in others] + [{**find.row, "why": "Fails after these."}]
    return _table([{**row, "implementations": [name]} for row in rows])


def lines(result: SearchResult) -> Iterator[str]:
    """Yield the lines of the summary of a search."""
    for number, find in enumerate(result.finds, start=1):
        yield f"{number}. {find.record.implementation}: {find.record.outcome} in {find.case.id}"
        yield from (f"   {each}" for each in _symptoms(find))
        yield from (f"   | {each}" for each in dump([row_of(find)], width=100).splitlines())
    if result.finds:
        yield ""
    for name, (count, case) in sorted(result.declared.items()):
        yield f"as declared by {name}: {count} cells, first {case}"
    yield from _nearest(result)
    if result.save_error:
        yield f"the finds are not saved for the next search: {result.save_error}"
    finds = "no new failure" if not result.finds else f"{len(result.finds)} new"
    early = ", interrupted" if result.interrupted else ""
    yield f"{result.row_count} rows in {result.passes} passes, {result.seconds:.0f} s{early}: {finds}"


def _symptoms(find: Find) -> Iterator[str]:
    """Yield a line for each failing check of a find; of the checks without evidence, only for the first."""
    if find.isolated_outcome not in (None, find.record.outcome):
        yield f"in a new process: {find.isolated_outcome}; the rows that ran before it play a part"
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


def _nearest(result: SearchResult) -> Iterator[str]:
    """Yield the largest margins of each implementation, and the largest disagreement."""
    names = sorted({name for name, _ in result.best})
    for name in names:
        kinds = {kind: best for (other, kind), best in result.best.items() if other == name}
        yield f"largest margins of {name}: " + ", ".join(
            f"{kind} {margin:.3g} ({case})" for kind, (margin, case) in sorted(kinds.items())
        )
    if result.disagreement[0]:
        yield f"largest disagreement: {result.disagreement[0]:.3g} times the allowed error, in {result.disagreement[1]}"
