"""
What changed from one run to another: cells that got worse or better, came or went, versions, and margins that drifted.

Knows results files alone. Inputs follow from a case's content, so a margin moves only where the implementation or the
machine did. What counts as the drift of one cell is said by `DRIFT` and `NOTICED`; a small one of many cells in one
direction is found by a sign test, whose false alarms `CHANCE` bounds.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from conformance.results import FAILING, OUTCOMES, Record, Run, finite
from conformance.shown import code, printable

#: A margin drifts when it grows or shrinks by more than this factor ...
DRIFT: Final = 1.5
#: ... and is, before or after, at least so much of what is allowed.
NOTICED: Final = 0.1
#: How likely a drift of many cells is found where margins only jitter, each up as often as down ...
CHANCE: Final = 1e-9
#: ... and the factor that half of them must exceed, as a drift that is sure may still be too small to matter.
SHIFT: Final = 1.05
#: Cells named in text; JSON has all.
_LISTED: Final = 20
#: Implementations named beside a change of a version.
_NAMED: Final = 6

Key = tuple[str, str, str]


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
class Diff:
    """
    All that changed; every cell is in at most one list of outcomes.

    `lost` are cells that vanished though their row did not: somebody stopped asking. `unchecked` are cells that are
    still well, but with a check fewer. `versions` hold implementation, distribution, and the version before and after,
    None where there is none; what belongs to the whole run has the implementation `all`.
    """

    worse: tuple[Change, ...] = ()
    fixed: tuple[Change, ...] = ()
    newly_diverging: tuple[Change, ...] = ()
    no_longer_diverging: tuple[Change, ...] = ()
    other: tuple[Change, ...] = ()
    appeared: tuple[Change, ...] = ()
    vanished: tuple[Change, ...] = ()
    lost: tuple[Change, ...] = ()
    unchecked: tuple[Change, ...] = ()
    drifted: tuple[Change, ...] = ()
    shifts: tuple[Shift, ...] = ()
    versions: tuple[tuple[str, str, str | None, str | None], ...] = ()
    broken_off: bool = False

    @property
    def is_worse(self) -> bool:
        """Whether something got worse: a cell fails now or is asked no more, or the run was broken off."""
        red = any(each.after in FAILING for each in self.appeared)
        return bool(self.worse or self.lost or self.unchecked or red or self.broken_off)


#: The lists of a diff in the order in which they are shown, each with its title.
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
    before, after = _cells(old), _cells(new)
    found: dict[str, list[Change]] = {name: [] for name in SECTIONS}
    alive = _rows_alive(before, after)
    for key in sorted({*before, *after}):
        change = _change(key, before.get(key), after.get(key))
        if change.before is None:
            found["appeared"].append(change)
        elif change.after is None:
            row_is_there = _row(key, before[key]) in alive
            found["lost" if row_is_there and not partial else "vanished"].append(change)
        elif (name := _section(change, before[key], after[key])) is not None:
            found[name].append(change)
    lists = {name: tuple(changes) for name, changes in found.items()}
    versions = tuple(_versions(old, new))
    return Diff(**lists, shifts=tuple(_shifts(before, after)), versions=versions, broken_off=not new.complete)


def _cells(run: Run) -> dict[Key, Record]:
    """Return the record of each cell; of several lines for one, merged from elsewhere, the worst."""
    found: dict[Key, Record] = {}
    for each in run.cells:
        key = (str(each["device"]), str(each["implementation"]), str(each["case"]))
        earlier = found.get(key)
        if earlier is None or _rank(str(each["outcome"])) < _rank(str(earlier["outcome"])):
            found[key] = each
    return found


def _rank(outcome: str) -> int:
    """Return the place of an outcome, worst first; one this version does not know is worst."""
    return OUTCOMES.index(outcome) if outcome in OUTCOMES else -1


def _row(key: Key, record: Record) -> str:
    """Return what stands for the row of a cell in one run, where its file and line do; without one, the case."""
    return str(record.get("row") or key[2])


def _rows_alive(before: Mapping[Key, Record], after: Mapping[Key, Record]) -> set[str]:
    """
    Return the rows of the old run that the new one still has.

    Lines move, so that a line of the new run may hold another row: a row is there where a case of it is, for any
    implementation, as a case's id follows from its content.
    """
    cases = {case for _, _, case in after}
    return {_row(key, record) for key, record in before.items() if key[2] in cases}


def _change(key: Key, old: Record | None, new: Record | None) -> Change:
    device, implementation, case = key
    margins = (_margin(old), _margin(new))
    return Change(
        device=device,
        implementation=implementation,
        case=case,
        before=None if old is None else str(old["outcome"]),
        after=None if new is None else str(new["outcome"]),
        said="" if new is None else _said(old, new),
        margins=(margins[0], margins[1]) if margins[0] is not None and margins[1] is not None else None,
    )


def _section(change: Change, old: Record, new: Record) -> str | None:
    """Return the list a cell that is in both runs belongs to, None where nothing changed."""
    before, after = str(change.before), str(change.after)
    if before == after:
        return _section_of_same(change, old, new)
    if after in FAILING:
        return "worse" if before not in FAILING or _rank(after) < _rank(before) else "other"
    if before in FAILING:
        return "fixed" if after in ("conforms", "diverges") else "worse"
    if after == "diverges":
        return "newly_diverging"
    if before == "diverges" and after == "conforms":
        return "no_longer_diverging"
    return "worse" if after in ("unsupported", "not_run") and before in ("conforms", "diverges") else "other"


def _section_of_same(change: Change, old: Record, new: Record) -> str | None:
    """Return the list of a cell whose outcome is what it was."""
    if change.after in FAILING:
        return "worse" if _with_outcome(new, FAILING) - _with_outcome(old, FAILING) else None
    if _unchecked(old, new):
        return "unchecked"
    return "drifted" if change.after == "conforms" and _drifted(change.margins) else None


def _with_outcome(record: Record, outcomes: Sequence[str]) -> set[str]:
    return {str(each.get("check")) for each in record["checks"] if each.get("outcome") in outcomes}


def _unchecked(old: Record, new: Record) -> list[str]:
    """Return the checks that were held and are not any more, of a cell that is well in both runs."""
    well = ("conforms", "diverges")
    if old["outcome"] not in well or new["outcome"] not in well:
        return []
    return sorted(_with_outcome(old, well) - _with_outcome(new, (*well, *FAILING)))


def _drifted(margins: tuple[float, float] | None) -> bool:
    if margins is None or max(margins) < NOTICED:
        return False
    low, high = sorted(margins)
    return high > DRIFT * low


def _shifts(before: Mapping[Key, Record], after: Mapping[Key, Record]) -> Iterator[Shift]:
    """Yield where the margins of many cells moved one way by more than chance and the jitter of each explain."""
    ratios: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for key in sorted(before.keys() & after.keys()):
        old, new = _margins(before[key]), _margins(after[key])
        dtype = str((after[key].get("question") or {}).get("dtype", ""))
        for check in sorted(old.keys() & new.keys()):
            if old[check] > 0 and new[check] > 0:
                ratios[key[1], key[0], dtype, check].append(new[check] / old[check])
    for (implementation, device, dtype, check), found in sorted(ratios.items()):
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


def _margins(record: Record) -> dict[str, float]:
    """Return the finite margins of the checks of a cell that conforms, by check."""
    if record["outcome"] != "conforms":
        return {}
    found = {str(each.get("check")): _number(each.get("margin")) for each in record["checks"]}
    return {check: margin for check, margin in found.items() if margin is not None and math.isfinite(margin)}


def _number(content: object) -> float | None:
    """Return a margin as a results file holds it: a number, or the text of one that is not finite."""
    try:
        return float(content) if isinstance(content, int | float | str) else None
    except ValueError:
        return None


def _margin(record: Record | None) -> float | None:
    """Return the largest margin of a cell's checks."""
    margins = [_number(each.get("margin")) for each in (record or {}).get("checks", ())]
    return max((each for each in margins if each is not None and not math.isnan(each)), default=None)


def _said(old: Record | None, new: Record) -> str:
    """Return the first reason a cell gives for its outcome, or which checks it lacks."""
    if old is not None and old["outcome"] == new["outcome"] and (missing := _unchecked(old, new)):
        return f"no longer checked: {', '.join(missing)}"
    messages = (each.get("message") for each in new["checks"] if each.get("outcome") == new["outcome"])
    return str(new.get("reason") or next((each for each in messages if each), "")).split("\n", 1)[0][:200]


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
    whole = {**_texts(run.header.get("distributions")), **_texts(run.header.get("platform"))}
    # Python's is among the platform's; what every process has in common is not said twenty times.
    found = {"all": whole} if whole else {}
    for each in run.implementations:
        versions = {
            name: version for name, version in _texts(each.get("versions")).items() if whole.get(name) != version
        }
        found.setdefault(str(each["implementation"]), {}).update(versions)
    return found


def _texts(content: object) -> dict[str, str]:
    return {str(key): str(each) for key, each in content.items()} if isinstance(content, Mapping) else {}


def as_text(found: Diff) -> str:
    """Return the diff for a terminal."""
    return "\n".join(_lines(found, markdown=False))


def as_markdown(found: Diff) -> str:
    """Return the diff for a pull request: headings and lists, text that came from elsewhere as code."""
    return "\n".join(_lines(found, markdown=True))


def as_json(found: Diff) -> str:
    """Return the whole diff as JSON."""
    lists: dict[str, Any] = {
        name: [
            {"cell": each.cell, "before": each.before, "after": each.after, "said": each.said, "margins": each.margins}
            for each in getattr(found, name)
        ]
        for name in SECTIONS
    }
    keys = ("implementation", "distribution", "before", "after")
    rest = {
        "margins_moved_together": [_shift_record(each) for each in found.shifts],
        "versions": [dict(zip(keys, each, strict=True)) for each in found.versions],
    }
    content = {"worse_overall": found.is_worse, "broken_off": found.broken_off, **lists, **rest}
    return json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)


def _lines(found: Diff, *, markdown: bool) -> Iterator[str]:
    heading, item = ("### {title} ({count})\n", "- {line}") if markdown else ("{title} ({count})", "  {line}")
    shown = code if markdown else printable
    yield _headline(found)
    if found.broken_off:
        yield "The new run was broken off."
    yield from [""] if found.versions else []
    for (distribution, before, after), names in _by_version(found).items():
        versions = shown(f"{distribution} {before or 'none'} -> {after or 'none'}")
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield item.format(line=f"{versions}: {shown(', '.join(names[:_NAMED]))}{more}")
    for name, title in SECTIONS.items():
        changes: Sequence[Change] = getattr(found, name)
        yield from _list([_line(each, shown) for each in changes], title, heading, item)
    yield from _list([_shift_line(each, shown) for each in found.shifts], "Margins that moved together", heading, item)


def _list(lines: Sequence[str], title: str, heading: str, item: str) -> Iterator[str]:
    """Yield a list under its heading; nothing of an empty one."""
    if not lines:
        return
    yield ""
    yield heading.format(title=title, count=len(lines))
    for each in lines[:_LISTED]:
        yield item.format(line=each)
    if len(lines) > _LISTED:
        yield item.format(line=f"and {len(lines) - _LISTED} more")


def _by_version(found: Diff) -> dict[tuple[str, str | None, str | None], list[str]]:
    """Return the implementations of each change of a version, which most often is the same for many."""
    names: dict[tuple[str, str | None, str | None], list[str]] = defaultdict(list)
    for name, *change in found.versions:
        distribution, before, after = change
        names[str(distribution), before, after].append(name)
    return names


def _line(change: Change, shown: Callable[[str], str]) -> str:
    outcomes = f"{printable(change.before or 'absent')} -> {printable(change.after or 'absent')}"
    if change.before == change.after == "conforms" and change.margins is not None and not change.said:
        outcomes = f"margin {change.margins[0]:.3g} -> {change.margins[1]:.3g}"
    return f"{shown(change.cell)}: {outcomes}" + (f": {shown(change.said)}" if change.said else "")


def _shift_record(shift: Shift) -> dict[str, Any]:
    """Return a shift in the form of the other lists, its `cell` standing for many, with its numbers."""
    return {
        "cell": _shifted(shift),
        "before": "margin",
        "after": f"margin times {shift.median:.3g}",
        "said": f"{shift.moved} of {shift.cells} cells moved that way",
        **asdict(shift),
    }


def _shifted(shift: Shift) -> str:
    """Return whose margins moved."""
    return " ".join(filter(None, (f"{shift.device}/{shift.implementation}", shift.dtype, shift.check)))


def _shift_line(shift: Shift, shown: Callable[[str], str]) -> str:
    moved = f"{shift.moved} of {shift.cells} cells moved that way"
    return f"{shown(_shifted(shift))}: margins times {shift.median:.3g}; {moved}"


def _headline(found: Diff) -> str:
    """Return the diff in a sentence."""
    counts = [f"{len(getattr(found, name))} {title.split(',')[0].lower()}" for name, title in SECTIONS.items()]
    said = [each for each, name in zip(counts, SECTIONS, strict=True) if getattr(found, name)]
    said += [f"{len(found.shifts)} margins that moved together"] if found.shifts else []
    said += ["versions changed"] if found.versions else []
    return "; ".join(said) if said else "Nothing changed."
