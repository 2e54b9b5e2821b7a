"""
What changed from one run to another: cells that got worse or better, came or went, versions, margins that drifted, and
behaviours of the ledger that are gone or back.

Knows results files alone; `conformance.results.diff.text` writes it. Inputs follow from a case's content, so a margin
moves only where the implementation or the machine did. What counts as the drift of one cell is said by `DRIFT`
and `NOTICED`; a small one of many cells in one direction is found by a sign test, whose false alarms `CHANCE` bounds.
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

#: A margin drifts when it grows or shrinks by more than this factor ...
DRIFT: Final = 1.5
#: ... and is, before or after, at least so much of what is allowed.
NOTICED: Final = 0.1
#: How likely a drift of many cells is found where margins only jitter, each up as often as down ...
CHANCE: Final = 1e-9
#: ... and the factor that half of them must exceed, as a drift that is sure may still be too small to matter.
SHIFT: Final = 1.05
#: Outcomes of a cell that is as it should be, or as the ledger says.
_WELL: Final = ("conforms", "diverges")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One cell, with its outcomes before and after; None where it has no line there. `said` is the first reason."""

    device: str
    implementation: str
    case: str
    before: str | None
    after: str | None
    said: str = ""
    margins: tuple[float, float] | None = None

    @property
    def cell(self) -> str:
        """`DEVICE/IMPLEMENTATION/CASE`, as in a test's id."""
        return f"{self.device}/{self.implementation}/{self.case}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """The margins of a check moved one way: `moved` of `cells` did so, by the factor `median` in the middle."""

    implementation: str
    device: str
    dtype: str
    check: str
    median: float
    moved: int
    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A behaviour of the ledger that is gone or back, with the cells that said so in each run."""

    behaviour: str
    #: Where its entry stands, as `file:line`.
    where: str
    why: str
    #: Cells that needed it before and need it after, and those it was and is gone from.
    seen: tuple[int, int]
    gone: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """
    All that changed.

    `versions` hold implementation, distribution, and the version before and after, None where there is none; what
    belongs to the whole run has the implementation `all`. `gone` and `back` are behaviours of the ledger; they are
    news, and make nothing worse.
    """

    #: Name of a section -> its cells; every cell is in at most one, and no section is empty.
    sections: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    shifts: tuple[Shift, ...] = ()
    gone: tuple[Turn, ...] = ()
    back: tuple[Turn, ...] = ()
    versions: tuple[tuple[str, str, str | None, str | None], ...] = ()
    broken_off: bool = False

    def section(self, name: str) -> tuple[Change, ...]:
        """Return the cells of a section of `SECTIONS`."""
        return self.sections.get(name, ())

    @property
    def worsened(self) -> tuple[Change, ...]:
        """The cells that got worse: those that fail now, are asked no more, or are held to a check fewer."""
        red = (each for each in self.section("appeared") if each.after in FAILING)
        return (*self.section("worse"), *self.section("lost"), *self.section("unchecked"), *red)

    @property
    def is_worse(self) -> bool:
        """Whether a cell got worse, or the run was broken off."""
        return bool(self.worsened) or self.broken_off


#: The sections of a diff in the order in which they are shown, each with its title. `lost` are cells that vanished
#: though their row did not: somebody stopped asking. `unchecked` are cells that are still well, but with a check fewer.
SECTIONS: Final[Mapping[str, str]] = {
    "worse": "Newly failing",
    "lost": "No longer asked, though the row is there",
    "unchecked": "No longer held to a check",
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

    Where `new` asked for less on purpose (one implementation, a shard), `partial` says so, and no cell counts as lost.
    """
    with without_collection():
        before, after = Cells(old.cells), Cells(new.cells)
    found: dict[str, list[Change]] = defaultdict(list)
    alive = _rows_alive(before, after)
    for device, implementation in sorted(before.found.keys() | after.found.keys()):
        earlier, later = before.get(device, implementation), after.get(device, implementation)
        for case in sorted(earlier.keys() | later.keys()):
            cells = earlier.get(case), later.get(case)
            name = _section(*cells, alive=frozenset() if partial else alive)
            if name is not None:
                found[name].append(_change(device, implementation, case, *cells))
    return Diff(
        sections={name: tuple(changes) for name, changes in found.items()},
        shifts=tuple(_shifts(before, after)),
        gone=tuple(_turns(before, after, is_gone=True)),
        back=tuple(_turns(before, after, is_gone=False)),
        versions=tuple(_versions(old, new)),
        broken_off=not new.complete,
    )


def _turns(before: Cells, after: Cells, *, is_gone: bool) -> Iterator[Turn]:
    """Yield the behaviours that are gone from cells now and were from none, or the other way about."""
    earlier, later = before.behaviours, after.behaviours
    names = later.gone.keys() - earlier.gone.keys() if is_gone else earlier.gone.keys() - later.gone.keys()
    for name in sorted(names):
        old, new = (each.found.get(name, Counts()) for each in (earlier, later))
        entry = new.entry or old.entry
        if is_gone or new.seen:
            yield Turn(
                behaviour=name,
                where=new.where or old.where,
                why="" if entry is None else entry.why,
                seen=(old.seen, new.seen),
                gone=(old.gone, new.gone),
            )


def _rows_alive(before: Cells, after: Cells) -> frozenset[str]:
    """
    Return the rows of the old run that the new one still has.

    Lines move, so that a line of the new run may hold another row: a row is there where a case of it is, for any
    implementation, as a case's id follows from its content.
    """
    cases = after.cases()
    processes = before.found.values()
    return frozenset(row_of(each) for process in processes for case, each in process.items() if case in cases)


def _change(device: str, implementation: str, case: str, old: CellRecord | None, new: CellRecord | None) -> Change:
    before, after = (None if each is None else largest_margin(each) for each in (old, new))
    return Change(
        device=device,
        implementation=implementation,
        case=case,
        before=None if old is None else old.outcome,
        after=None if new is None else new.outcome,
        said="" if new is None else _said(old, new),
        margins=None if before is None or after is None else (before, after),
    )


def _section(old: CellRecord | None, new: CellRecord | None, *, alive: frozenset[str]) -> str | None:
    """Return the list a cell belongs to, None where nothing changed; `alive` are the rows none of which may be lost."""
    if (old is None or old.outcome == "unsupported") and (new is None or new.outcome == "unsupported"):
        return None  # an implementation that cannot be asked a row loses nothing without its cell
    if old is None:
        return "appeared"
    if new is None:
        return "lost" if row_of(old) in alive else "vanished"
    before, after = old.outcome, new.outcome
    if before == after:
        return _section_of_same(old, new)
    if after in FAILING:
        return "worse" if before not in FAILING or rank(after) < rank(before) else "other"
    if before in FAILING:
        return "fixed" if after in _WELL else "worse"
    if after == "diverges":
        return "newly_diverging"
    if before == "diverges" and after == "conforms":
        return "no_longer_diverging"
    return "worse" if after in UNJUDGED and before in _WELL else "other"


def _section_of_same(old: CellRecord, new: CellRecord) -> str | None:
    """Return the list of a cell whose outcome is what it was."""
    if new.outcome in FAILING:
        return "worse" if checks_with(new, FAILING) - checks_with(old, FAILING) else None
    if _unchecked(old, new):
        return "unchecked"
    return "drifted" if new.outcome == "conforms" and _drifted(largest_margin(old), largest_margin(new)) else None


def _unchecked(old: CellRecord, new: CellRecord) -> list[str]:
    """Return the checks that were held and are not any more, of a cell that is well in both runs."""
    if old.outcome not in _WELL or new.outcome not in _WELL:
        return []
    return sorted(checks_with(old, _WELL) - checks_with(new, (*_WELL, *FAILING)))


def _drifted(before: float | None, after: float | None) -> bool:
    if before is None or after is None or max(before, after) < NOTICED:
        return False
    low, high = sorted((before, after))
    return high > DRIFT * low


def _shifts(before: Cells, after: Cells) -> Iterator[Shift]:
    """Yield where the margins of many cells moved one way by more than chance and the jitter of each explain."""
    ratios: dict[tuple[str, str, str, str], array[float]] = defaultdict(lambda: array("d"))
    for device, implementation in before.found.keys() & after.found.keys():
        earlier, later = before.get(device, implementation), after.get(device, implementation)
        for case in earlier.keys() & later.keys():
            old, dtype = dict(margins(earlier[case])), later[case].dtype
            for check, margin in margins(later[case]):
                if margin > 0 and old.get(check, 0) > 0:
                    ratios[implementation, device, dtype, check].append(margin / old[check])
    for (implementation, device, dtype, check), found in sorted(ratios.items(), key=lambda each: each[0]):
        up, down = sum(each > 1 for each in found), sum(each < 1 for each in found)
        median = statistics.median(found)
        moved = max(up, down)
        if _sign_test(moved, up + down) < CHANCE and max(median, 1 / median) > SHIFT:
            yield Shift(
                implementation=implementation,
                device=device,
                dtype=dtype,
                check=check,
                median=median,
                moved=moved,
                cells=len(found),
            )


def _sign_test(heads: int, throws: int) -> float:
    """Return how likely a fair coin shows one of its sides at least `heads` times; `heads` is at least the half."""
    # Hoeffding's bound: never too small, and exact enough at the levels asked for.
    return 1.0 if throws == 0 else min(1.0, 2 * math.exp(-2 * throws * (heads / throws - 0.5) ** 2))


def _said(old: CellRecord | None, new: CellRecord) -> str:
    """Return the first reason a cell gives for its outcome, or which checks it lacks."""
    if old is not None and old.outcome == new.outcome and (missing := _unchecked(old, new)):
        return f"no longer checked: {', '.join(missing)}"
    return first_reason(new)


def _versions(old: Run, new: Run) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Yield implementation, distribution, version before and after, where both runs have the former and they differ."""
    before, after = _installed(old), _installed(new)
    for name in sorted(before.keys() & after.keys()):
        for each in sorted({*before[name], *after[name]}):
            versions = before[name].get(each), after[name].get(each)
            if versions[0] != versions[1]:
                yield name, each, *versions


def _installed(run: Run) -> dict[str, dict[str, str]]:
    """Return the versions of each implementation, and of the run itself with the machine's under `all`."""
    whole = _texts({**run.header.distributions, **run.header.platform})
    # Python's is among the platform's; what every process has in common is not said twenty times.
    found = {"all": whole} if whole else {}
    for each in run.implementations:
        versions = {
            name: version for name, version in _texts(each.versions or {}).items() if whole.get(name) != version
        }
        found.setdefault(each.implementation, {}).update(versions)
    return found


def _texts(content: Mapping[str, object]) -> dict[str, str]:
    return {key: str(each) for key, each in content.items()}
