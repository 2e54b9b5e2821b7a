"""
What changed from one run to another: outcomes of cells, cells that appeared or vanished, versions, drifts of margins,
and behaviours of the ledger that are gone or back.

The inputs of a case follow from its content. A margin therefore changes only with the implementation or the machine.
`DRIFT` and `LEAST_MARGIN` define the drift of one cell. A sign test finds a small drift of many cells in one direction;
`CHANCE` bounds its false alarms. `conformance.results.diff.text` prints a comparison.
"""

from __future__ import annotations

import math
import statistics
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from conformance.results import FAILING, UNJUDGED, Run, without_collection
from conformance.results.behaviours import Counts
from conformance.results.diff.cells import Cells, checks_with, first_reason, largest_margin, margins, rank, row_of
from conformance.results.record import CellRecord

#: A margin drifts if it grows or shrinks by more than this factor.
DRIFT: Final = 1.5
#: A margin drifts only if it is at least this large before or after.
LEAST_MARGIN: Final = 0.1
#: The largest probability of a false alarm of the sign test, where each margin grows as often as it shrinks.
CHANCE: Final = 1e-9
#: The least median factor of a shift of many margins: a certain shift may still be too small to matter.
SHIFT: Final = 1.05
#: Outcomes that follow the rule or the ledger.
_GOOD: Final = ("conforms", "diverges")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """
    One cell, with its outcomes before and after.

    An outcome is None where the run has no line for the cell. `reason` is the first reason for the new outcome.
    """

    device: str
    implementation: str
    case: str
    before: str | None
    after: str | None
    reason: str = ""
    margins: tuple[float, float] | None = None

    @property
    def cell(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`, as in a test's id."""
        return f"{self.device}/{self.implementation}/{self.case}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """A common shift of the margins of a check, in `moved` of `cells` cells; `median` is the median factor."""

    implementation: str
    device: str
    dtype: str
    check: str
    median: float
    moved: int
    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourChange:
    """A behaviour of the ledger that is gone or back; each pair of counts is of the old and the new run."""

    behaviour: str
    #: The place of its entry, as `file:line`.
    where: str
    why: str
    #: Cells that need it.
    needed: tuple[int, int]
    #: Cells that show it to be gone.
    gone: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """
    All that changed.

    Each entry of `versions` is implementation, distribution, and the version before and after, None where there is
    none. What belongs to the whole run has the implementation `all`. `gone` and `back` are behaviours of the ledger;
    they do not make a run worse.
    """

    #: Name of a section -> its cells. A cell is in at most one section. No section is empty.
    sections: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()
    gone: tuple[BehaviourChange, ...] = ()
    back: tuple[BehaviourChange, ...] = ()
    versions: tuple[tuple[str, str, str | None, str | None], ...] = ()
    broken_off: bool = False

    def section(self, name: str) -> tuple[Change, ...]:
        """Return the cells of a section of `SECTIONS`."""
        return self.sections.get(name, ())

    @property
    def worsened(self) -> tuple[Change, ...]:
        """The cells that got worse: those that fail now, that no longer run, or that lost a check."""
        red = (each for each in self.section("appeared") if each.after in FAILING)
        return (*self.section("worse"), *self.section("lost"), *self.section("unchecked"), *red)

    @property
    def is_worse(self) -> bool:
        """Whether a cell got worse, or the run was broken off."""
        return bool(self.worsened) or self.broken_off


#: The sections of a diff with their titles, in the order in which they are shown. `lost` are cells that vanished though
#: their row did not. `unchecked` are cells whose outcome is still good, but with fewer checks.
SECTIONS: Final[Mapping[str, str]] = {
    "worse": "Newly failing",
    "lost": "No longer run, though the row is there",
    "unchecked": "Lost a check",
    "fixed": "Fixed",
    "newly_diverging": "Newly diverging, as the ledger says",
    "no_longer_diverging": "No longer diverging",
    "drifted": "Margins that drifted",
    "other": "Otherwise changed",
    "appeared": "Appeared",
    "vanished": "Vanished",
}


def diff(old: Run, new: Run, *, partial: bool = False) -> Diff:
    """
    Return what changed from `old` to `new`.

    - `old`: the earlier run.
    - `new`: the later run.
    - `partial`: whether `new` has fewer cells on purpose, such as one implementation or one shard. No cell counts as
      lost then.
    """
    with without_collection():
        before, after = Cells(old.cells), Cells(new.cells)
    sections: dict[str, list[Change]] = defaultdict(list)
    remaining = _remaining_rows(before, after)
    for device, implementation in sorted(before.by_process.keys() | after.by_process.keys()):
        earlier, later = before.get(device, implementation), after.get(device, implementation)
        for case in sorted(earlier.keys() | later.keys()):
            cells = earlier.get(case), later.get(case)
            name = _section(*cells, remaining=frozenset() if partial else remaining)
            if name is not None:
                sections[name].append(_change(device, implementation, case, *cells))
    return Diff(
        sections={name: tuple(changes) for name, changes in sections.items()},
        shifts=tuple(_shifts(before, after)),
        gone=tuple(_behaviour_changes(before, after, is_gone=True)),
        back=tuple(_behaviour_changes(before, after, is_gone=False)),
        versions=tuple(_versions(old, new)),
        broken_off=not new.complete,
    )


def _behaviour_changes(before: Cells, after: Cells, *, is_gone: bool) -> Iterator[BehaviourChange]:
    """Yield the behaviours that are gone in the new run alone, or with `is_gone=False` in the old run alone."""
    earlier, later = before.behaviours, after.behaviours
    first, second = (later, earlier) if is_gone else (earlier, later)
    names = first.gone_behaviours.keys() - second.gone_behaviours.keys()
    for name in sorted(names):
        old, new = (each.by_id.get(name, Counts()) for each in (earlier, later))
        entry = new.entry or old.entry
        if is_gone or new.needed:
            yield BehaviourChange(
                behaviour=name,
                where=new.where or old.where,
                why="" if entry is None else entry.why,
                needed=(old.needed, new.needed),
                gone=(old.gone, new.gone),
            )


def _remaining_rows(before: Cells, after: Cells) -> frozenset[str]:
    """
    Return the rows of the old run that the new run still has.

    A row is still there if the new run has one of its cases, for any implementation. The line of a row does not
    identify it, since lines move; the id of a case does, since it follows from the content.
    """
    cases = after.cases()
    processes = before.by_process.values()
    return frozenset(row_of(each) for process in processes for case, each in process.items() if case in cases)


def _change(device: str, implementation: str, case: str, old: CellRecord | None, new: CellRecord | None) -> Change:
    before, after = (None if each is None else largest_margin(each) for each in (old, new))
    return Change(
        device=device,
        implementation=implementation,
        case=case,
        before=None if old is None else old.outcome,
        after=None if new is None else new.outcome,
        reason="" if new is None else _reason(old, new),
        margins=None if before is None or after is None else (before, after),
    )


def _section(old: CellRecord | None, new: CellRecord | None, *, remaining: frozenset[str]) -> str | None:
    """Return the section of a cell, None where nothing changed; a missing cell of a `remaining` row is lost."""
    if (old is None or old.outcome == "unsupported") and (new is None or new.outcome == "unsupported"):
        return None  # without a cell that was unsupported nothing is lost
    if old is None:
        return "appeared"
    if new is None:
        return "lost" if row_of(old) in remaining else "vanished"
    before, after = old.outcome, new.outcome
    if before == after:
        return _section_of_same(old, new)
    if after in FAILING:
        return "worse" if before not in FAILING or rank(after) < rank(before) else "other"
    if before in FAILING:
        return "fixed" if after in _GOOD else "worse"
    if after == "diverges":
        return "newly_diverging"
    if before == "diverges" and after == "conforms":
        return "no_longer_diverging"
    return "worse" if after in UNJUDGED and before in _GOOD else "other"


def _section_of_same(old: CellRecord, new: CellRecord) -> str | None:
    """Return the section of a cell with the same outcome in both runs."""
    if new.outcome in FAILING:
        return "worse" if checks_with(new, FAILING) - checks_with(old, FAILING) else None
    if _unchecked(old, new):
        return "unchecked"
    return "drifted" if new.outcome == "conforms" and _drifted(largest_margin(old), largest_margin(new)) else None


def _unchecked(old: CellRecord, new: CellRecord) -> list[str]:
    """Return the checks that a cell lost, if its outcome is good in both runs."""
    if old.outcome not in _GOOD or new.outcome not in _GOOD:
        return []
    return sorted(checks_with(old, _GOOD) - checks_with(new, (*_GOOD, *FAILING)))


def _drifted(before: float | None, after: float | None) -> bool:
    if before is None or after is None or max(before, after) < LEAST_MARGIN:
        return False
    low, high = sorted((before, after))
    return high > DRIFT * low


def _shifts(before: Cells, after: Cells) -> Iterator[Shift]:
    """Yield the shifts of many margins in one direction that chance and jitter do not explain."""
    ratios: dict[tuple[str, str, str, str], array[float]] = defaultdict(lambda: array("d"))
    for device, implementation in before.by_process.keys() & after.by_process.keys():
        earlier, later = before.get(device, implementation), after.get(device, implementation)
        for case in earlier.keys() & later.keys():
            old, dtype = dict(margins(earlier[case])), later[case].dtype
            for check, margin in margins(later[case]):
                if margin > 0 and old.get(check, 0) > 0:
                    ratios[implementation, device, dtype, check].append(margin / old[check])
    for (implementation, device, dtype, check), factors in sorted(ratios.items(), key=lambda each: each[0]):
        up, down = sum(each > 1 for each in factors), sum(each < 1 for each in factors)
        median = statistics.median(factors)
        moved = max(up, down)
        if _sign_test(moved, up + down) < CHANCE and max(median, 1 / median) > SHIFT:
            yield Shift(
                implementation=implementation,
                device=device,
                dtype=dtype,
                check=check,
                median=median,
                moved=moved,
                cells=len(factors),
            )


def _sign_test(heads: int, throws: int) -> float:
    """Return a bound on the probability that a fair coin shows one side `heads` times or more, at least half of all."""
    # Hoeffding's bound is never too small, and tight enough at the levels used here.
    return 1.0 if throws == 0 else min(1.0, 2 * math.exp(-2 * throws * (heads / throws - 0.5) ** 2))


def _reason(old: CellRecord | None, new: CellRecord) -> str:
    """Return the first reason for the outcome of a cell, or the checks that it lost."""
    if old is not None and old.outcome == new.outcome and (missing := _unchecked(old, new)):
        return f"no longer checked: {', '.join(missing)}"
    return first_reason(new)


def _versions(old: Run, new: Run) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Yield the versions that differ, of the implementations that both runs have; see `Diff.versions`."""
    before, after = _versions_by_implementation(old), _versions_by_implementation(new)
    for name in sorted(before.keys() & after.keys()):
        for each in sorted({*before[name], *after[name]}):
            versions = before[name].get(each), after[name].get(each)
            if versions[0] != versions[1]:
                yield name, each, *versions


def _versions_by_implementation(run: Run) -> dict[str, dict[str, str]]:
    """Return the versions of each implementation, and under `all` those of the run and its platform."""
    whole = _texts({**run.header.distributions, **run.header.platform})
    # What every process has in common, such as the version of Python, is listed once under `all`.
    versions_of = {"all": whole} if whole else {}
    for each in run.implementations:
        versions = {
            name: version for name, version in _texts(each.versions or {}).items() if whole.get(name) != version
        }
        versions_of.setdefault(each.implementation, {}).update(versions)
    return versions_of


def _texts(content: Mapping[str, object]) -> dict[str, str]:
    return {key: str(each) for key, each in content.items()}
