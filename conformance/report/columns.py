"""
The columns of the table of cells: one for each implementation on each device, and more only where files disagree.

Several results files may be shards of one run, or runs of two machines, versions or environments. Shards of one run
share a column. Cells of different machines, versions or environments never do.
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

#: The most versions in the name of a column whose framework's own version is the same in all files.
MOST_VERSIONS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One implementation on one device; `source` names its files, empty if it is of all files."""

    implementation: str
    device: str
    source: str = ""

    @property
    def label(self) -> str:
        """The name of the column on the page."""
        return f"{self.implementation}/{self.device}" + (f" ({self.source})" if self.source else "")

    def order(self) -> tuple[object, ...]:
        """Return the key by which columns are sorted. It does not depend on the order of files and lines."""
        names = (self.implementation, self.device, self.source)
        return (*map(text.natural, names), *names)


def name(content: str, what: str) -> str:
    """Return a name, shortened if it is long, or `(no WHAT)` if it is empty."""
    if 0 < len(content) <= text.LONGEST_TITLE:
        return content
    return text.title(content) if content else f"(no {what})"


def labels(runs: Sequence[Run]) -> list[str]:
    """Return a name for each file: the shortest end of its path that no other file has."""
    parts = [PurePath(run.path).parts or ("results",) for run in runs]
    for depth in range(1, max((len(each) for each in parts), default=0) + 1):
        ends = ["/".join(each[-depth:]) for each in parts]
        if len(set(ends)) == len(ends):
            return ends
    return [f"{'/'.join(each[-1:])} #{number}" for number, each in enumerate(parts, start=1)]


def implementations(run: Run, implementation: str) -> list[ImplementationRecord]:
    """Return the records of an implementation. Several processes may have written equal ones; each is returned once."""
    records = [each for each in run.implementations if name(each.implementation, "implementation") == implementation]
    distinct = {_sorted_json(plain(each)): each for each in records}
    return [distinct[key] for key in sorted(distinct)]


def columns(runs: Sequence[Run]) -> dict[tuple[int, str, str], Column]:
    """
    Return the column of each implementation and device of each run.

    Runs share a column only if they have the same platform and versions, and different cases, as the shards of one run
    have. Otherwise the column names its files.
    """
    cases: dict[tuple[str, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for index, run in enumerate(runs):
        for record in run.cells:
            process = name(record.implementation, "implementation"), name(record.device, "device")
            cases[process][index].add(name(record.case, "case"))
    file_labels = labels(runs)
    columns_of = {}
    for (implementation, device), by_run in cases.items():
        groups: dict[str, list[tuple[set[str], list[int]]]] = defaultdict(list)
        for index, own_cases in by_run.items():
            shards = groups[_identity(runs[index], implementation)]
            for all_cases, indices in shards:
                if all_cases.isdisjoint(own_cases):
                    all_cases |= own_cases
                    indices.append(index)
                    break
            else:
                shards.append((set(own_cases), [index]))
        members = [indices for shards in groups.values() for _, indices in shards]
        distinguishing = _distinguishing_versions([runs[indices[0]] for indices in members], implementation)
        for indices, versions in zip(members, distinguishing, strict=True):
            source = (
                ", ".join([*versions, " + ".join(file_labels[index] for index in indices)]) if len(members) > 1 else ""
            )
            column = Column(implementation=implementation, device=device, source=source)
            columns_of.update({(index, implementation, device): column for index in indices})
    return columns_of


def _distinguishing_versions(runs: Sequence[Run], implementation: str) -> list[list[str]]:
    """Return for each run the versions that distinguish it: that of the framework, else those of its dependencies."""
    records = [implementations(run, implementation) for run in runs]
    versions = [dict(pair for each in of_run for pair in text.pairs(each.versions)) for of_run in records]
    differing = [
        key for key in dict.fromkeys(itertools.chain(*versions)) if len({each.get(key) for each in versions}) > 1
    ]
    family = implementation.split(":")[0].split("-")
    own = [key for key in differing if key in family] or differing[:MOST_VERSIONS]
    return [[f"{key} {each[key]}" for key in own if key in each] for each in versions]


def _identity(run: Run, implementation: str) -> str:
    """Return the platform of a run and its records of an implementation, as one text."""
    return _sorted_json([run.header.platform, *map(plain, implementations(run, implementation))])


def _sorted_json(content: object) -> str:
    return json.dumps(content, sort_keys=True, default=str)
