"""
Which columns the table of cells has: one for each implementation on each device, more only where files disagree.

Several results files may be shards of one run, or runs of two machines, versions or environments. Cells that differ in
any of these must not stand in one column, and shards must not be torn apart.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from conformance.report import text
from conformance.results import Run, plain
from conformance.results.record import ImplementationRecord

#: Versions that a column is named by, where none of them is the framework's own.
TELLING: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One implementation on one device, of all files or, where these cannot be told apart, of those in `source`."""

    implementation: str
    device: str
    source: str = ""

    @property
    def label(self) -> str:
        """The column's name, the same wherever the page names it."""
        return f"{self.implementation}/{self.device}" + (f" ({self.source})" if self.source else "")

    def order(self) -> tuple[object, ...]:
        """Return the key by which columns are sorted: by content, so that the order of files and lines is no matter."""
        names = (self.implementation, self.device, self.source)
        return (*map(text.natural, names), *names)


def name(content: str, what: str) -> str:
    """Return a name, short but still its own, or that there is no such."""
    if 0 < len(content) <= text.LONGEST_TITLE:
        return content
    return text.title(content) if content else f"(no {what})"


def labels(runs: Sequence[Run]) -> list[str]:
    """Return a name for each file: as much of its path's end as tells it from the others, and no more."""
    parts = [PurePath(run.path).parts or ("results",) for run in runs]
    for depth in range(1, max((len(each) for each in parts), default=0) + 1):
        found = ["/".join(each[-depth:]) for each in parts]
        if len(set(found)) == len(found):
            return found
    return [f"{'/'.join(each[-1:])} #{number}" for number, each in enumerate(parts, start=1)]


def implementations(run: Run, implementation: str) -> list[ImplementationRecord]:
    """Return what was said of an implementation, once: it may have had several processes that say the same."""
    said = [each for each in run.implementations if name(each.implementation, "implementation") == implementation]
    distinct = {_text(plain(each)): each for each in said}
    return [distinct[key] for key in sorted(distinct)]


def columns(runs: Sequence[Run]) -> dict[tuple[int, str, str], Column]:
    """
    Return the column of each implementation and device of each run.

    Runs share a column only where nothing tells them apart and they answer different cases, as the shards of one run
    do; otherwise the column says from which file it is.
    """
    cases: dict[tuple[str, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for index, run in enumerate(runs):
        for record in run.cells:
            process = name(record.implementation, "implementation"), name(record.device, "device")
            cases[process][index].add(name(record.case, "case"))
    named = labels(runs)
    assigned = {}
    for (implementation, device), by_run in cases.items():
        groups: dict[str, list[tuple[set[str], list[int]]]] = defaultdict(list)
        for index, asked in by_run.items():
            alike = groups[_identity(runs[index], implementation)]
            for seen, indices in alike:
                if seen.isdisjoint(asked):
                    seen |= asked
                    indices.append(index)
                    break
            else:
                alike.append((set(asked), [index]))
        members = [indices for alike in groups.values() for _, indices in alike]
        telling = _telling([runs[indices[0]] for indices in members], implementation)
        for indices, versions in zip(members, telling, strict=True):
            source = ", ".join([*versions, " + ".join(named[index] for index in indices)]) if len(members) > 1 else ""
            column = Column(implementation=implementation, device=device, source=source)
            assigned.update({(index, implementation, device): column for index in indices})
    return assigned


def _telling(runs: Sequence[Run], implementation: str) -> list[list[str]]:
    """Return of each run the versions that tell it from the others: of the framework, before those of what it needs."""
    said = [[each.versions for each in implementations(run, implementation)] for run in runs]
    found = [dict(pair for versions in each for pair in text.pairs(versions)) for each in said]
    differing = [key for key in dict.fromkeys(itertools.chain(*found)) if len({each.get(key) for each in found}) > 1]
    family = implementation.split(":")[0].split("-")
    own = [key for key in differing if key in family] or differing[:TELLING]
    return [[f"{key} {each[key]}" for key in own if key in each] for each in found]


def _identity(run: Run, implementation: str) -> str:
    """Return everything that a run says of the machine and of an implementation, in one text."""
    return _text([run.header.platform, *map(plain, implementations(run, implementation))])


def _text(content: object) -> str:
    return json.dumps(content, sort_keys=True, default=str)
