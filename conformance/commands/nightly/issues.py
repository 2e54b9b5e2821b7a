"""
The issues for what got worse in a night, one for each cause: a title, a text, and a key that is the same every night.

A cause is a framework, the first check that fails, and its message without numbers: a thousand cells that fail in one
way are one thing to fix. Versions are in the text but not in the key, so that the next release opens no new issue. The
same night gives the same text.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conformance.results import FAILING, CellRecord, Run
from conformance.results.diff.comparison import Change, Diff
from conformance.text import code, printable

#: Cells named in an issue, for each environment.
_LISTED: Final = 10
_LONGEST_TITLE: Final = 120
_LONGEST_PATTERN: Final = 160
#: The longest script in an issue (characters); GitHub allows 65,536 for a whole issue.
_LONGEST_SCRIPT: Final = 8000

#: Messages of comparisons of values. Their numbers and places differ from cell to cell; the cause is one.
_VALUES: Final = re.compile(r"expected .*allowed|elements? (?:is|are) off")
_BEYOND: Final = "values beyond the bound"
#: What differs from one occurrence to the next: folders, addresses, numbers.
_PATH: Final = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.\-+@]+){2,}")
_NUMBER: Final = re.compile(r"\b0x[0-9a-fA-F]+\b|[-+]?(?<![A-Za-z_])\d+(?:\.\d+)*(?:[eE][-+]?\d+)?")
_SEVERAL: Final = re.compile(r"#(?:\s*,\s*#)+,?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Cells of one environment that got worse in one way; `versions` are those that changed since the good night."""

    environment: str
    framework: str
    check: str
    pattern: str
    since: str
    night: str
    versions: tuple[str, ...] = ()
    cells: tuple[Change, ...] = ()
    script: str = ""

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that identify the cause."""
        content = "\0".join((self.framework, self.check, self.pattern))
        return hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """The issue of one cause; `body` begins with a hidden mark that has the key."""

    key: str
    title: str
    body: str


def mark(key: str) -> str:
    """Return the mark that identifies the issue of a cause."""
    return f"<!-- conformance-cause: {key} -->"


def pattern(message: str) -> str:
    """Return the first line of a message without folders and numbers, which differ from cell to cell."""
    first = message.strip().split("\n", 1)[0]
    if _VALUES.search(first):
        return _BEYOND
    plain = _SEVERAL.sub("#", _NUMBER.sub("#", _PATH.sub("PATH", printable(first))))
    return " ".join(plain.split())[:_LONGEST_PATTERN] or "no message"


def causes(changes: Diff, old: Run, new: Run, environment: str) -> list[Cause]:
    """Return what got worse from the good night `old` to `new`, by cause, the one with the most cells first."""
    names = {each.cell for each in changes.worsened}
    records = {each.name: each for each in new.cells if each.name in names}
    groups: dict[tuple[str, str, str], list[Change]] = defaultdict(list)
    for change in changes.worsened:
        record = records.get(change.cell)
        groups[change.implementation.partition(":")[0], *_symptom(change, record)].append(change)
    by_cause = [
        Cause(
            environment=environment,
            framework=framework,
            check=check,
            pattern=message,
            since=old.header.started,
            night=new.header.started or "unknown",
            versions=tuple(_versions(changes, {each.implementation for each in cells})),
            cells=tuple(cells),
            script=_script(cells, records),
        )
        for (framework, check, message), cells in groups.items()
    ]
    return sorted(by_cause, key=lambda each: (-len(each.cells), each.framework, each.check, each.pattern))


def _symptom(change: Change, record: CellRecord | None) -> tuple[str, str]:
    """Return the first check that fails, or a substitute for it, and the pattern of its message."""
    if record is None:
        return "lost", "no longer run, though the row is there"
    if change.before == change.after and change.after not in FAILING:
        return "unchecked", change.reason
    if change.after in ("crashed", "timed_out"):
        step, reason = (None, "") if record.crash is None else (record.crash.step, record.crash.reason)
        # The name of a step has the number of a draw or sample, which does not matter here.
        return f"{change.after} in {pattern(step) if step else 'no step'}", pattern(reason or record.reason)
    failed = next((each for each in record.checks if each.outcome in FAILING), None)
    if failed is None:
        return str(change.after), pattern(record.reason)
    return failed.check, pattern(failed.message or record.reason)


def _versions(changes: Diff, implementations: set[str]) -> Iterator[str]:
    """Yield each version that changed for the run or for one of these implementations, once."""
    names = {"all", *implementations}
    lines = (f"{what} {old or 'none'} -> {new or 'none'}" for name, what, old, new in changes.versions if name in names)
    yield from dict.fromkeys(lines)


def _script(cells: Sequence[Change], records: Mapping[str, CellRecord]) -> str:
    """Return the shortest script that reproduces one of the cells, empty if there is none."""
    reproductions = (records[each.cell].reproduce for each in cells if each.cell in records)
    scripts = [each for each in reproductions if 0 < len(each) <= _LONGEST_SCRIPT]
    return min(scripts, key=lambda each: (len(each), each), default="")


def unpublished_cause(environment: str, reason: str, night: str) -> Cause:
    """Return the cause for a night that was set aside."""
    return Cause(
        environment=environment,
        framework="nightly",
        check="not published",
        pattern=pattern(reason),
        since="",
        night=night,
    )


def issues(of_nights: Iterable[Cause]) -> list[Issue]:
    """Return an issue for each cause, which may be in several environments, sorted by key."""
    groups: dict[str, list[Cause]] = defaultdict(list)
    for each in of_nights:
        groups[each.key].append(each)
    return [_issue(key, sorted(group, key=lambda each: each.environment)) for key, group in sorted(groups.items())]


def _issue(key: str, group: Sequence[Cause]) -> Issue:
    first = group[0]
    title = printable(f"{first.framework}: {first.check}: {first.pattern}")
    title = title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…"
    return Issue(key=key, title=title, body="\n".join(_body(key, group)) + "\n")


def _body(key: str, group: Sequence[Cause]) -> Iterator[str]:
    first = group[0]
    yield mark(key)
    yield f"{code(first.framework)}, {code(first.check)}: {code(first.pattern)}"
    for each in group:
        yield ""
        yield f"### {printable(each.environment)}"
        yield ""
        yield f"Night of {code(each.night)}" + (f"; last good night {code(each.since)}." if each.since else ".")
        yield ""
        yield from _cause_lines(each) if each.cells else ["The night was set aside; the one before is still shown."]
    script = next((each.script for each in group if each.script), "")
    if script:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", script)), default=0))
        lines = "\n".join(map(printable, script.rstrip("\n").split("\n")))
        yield from ("", "A script that reproduces it:", "", f"{fence}python", lines, fence)


def _cause_lines(cause: Cause) -> Iterator[str]:
    names = sorted({each.implementation for each in cause.cells})
    yield f"- Implementations: {', '.join(map(code, names))}"
    yield f"- Versions that changed: {', '.join(map(code, cause.versions)) or 'none'}"
    yield f"- Cells: {len(cause.cells):,}"
    for each in cause.cells[:_LISTED]:
        outcomes = f"{each.before or 'absent'} -> {each.after or 'absent'}"
        yield f"  - {code(each.cell)}: {printable(outcomes)}" + (f": {code(each.reason)}" if each.reason else "")
    if len(cause.cells) > _LISTED:
        yield f"  - and {len(cause.cells) - _LISTED:,} more"
