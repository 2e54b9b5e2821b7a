"""
What the suite found: the table in the README and `docs/found.md`, from the ledger and a real run.

`make found` runs everything (`--tier nightly`) and writes one line for each known divergence that some cell of the run
was seen to show, with the implementations and how many cells. An entry that no cell showed has no line: a table typed
by hand could claim what nobody saw. The README has the faults alone; what differs by design is in the other file.

A cell names the behaviours it shows by their ids.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.ledger import Behaviour
from conformance.results import Run, read
from conformance.run.selection import Selection

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
DOCUMENT: Final = ROOT / "docs" / "found.md"
BEGIN: Final = "<!-- found -->"
END: Final = "<!-- /found -->"
#: Kind of an entry -> how it is called, in the order in which they are told.
_KINDS: Final = {"bug": "bug", "numeric": "numeric", "by_design": "by design"}
#: The kinds that the README tells.
_FAULTS: Final = ("bug", "numeric")
#: How many implementations a line names.
_SHORT: Final = 4

#: Behaviour, by its id -> the implementations that showed it, with their cells.
Seen = Mapping[str, Counter[str]]


def seen(runs: Iterable[Run]) -> Seen:
    """Return for each behaviour, by its id, the implementations that showed it, with how many cells."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for cell in run.cells:
            for name in cell.behaviours:
                found[name][cell.implementation] += 1
    return found


def told(entries: Sequence[Behaviour], found: Seen) -> Sequence[Behaviour]:
    """
    Return the behaviours that were seen, faults first.

    Raises:
        ValueError: a run shows what the ledger does not know, so that it is of another ledger than this one.
    """
    known = {each.id for each in entries}
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"the ledger has no entry {unknown[0]}")
    ordered = sorted(entries, key=lambda each: list(_KINDS).index(each.kind))
    return [each for each in ordered if each.id in found]


def table(entries: Sequence[Behaviour], found: Seen) -> str:
    """Return a line for each behaviour; those that say the same have one line together."""
    lines = ["| what | seen in | cells | kind | source |", "|---|---|---|---|---|"]
    for (kind, why), alike in _by_words(entries).items():
        counted: Counter[str] = sum((found[each.id] for each in alike), Counter())
        more = f" and {len(counted) - _SHORT} more" if len(counted) > _SHORT else ""
        names = ", ".join(sorted(counted)[:_SHORT]) + more
        link = next((each.link for each in alike if each.link), None)
        source = f"[report]({link})" if link else "seen here"
        lines.append(f"| {_cell(why)} | {names} | {counted.total()} | {_KINDS[kind]} | {source} |")
    return "\n".join(lines)


def _by_words(entries: Sequence[Behaviour]) -> dict[tuple[str, str], list[Behaviour]]:
    """Return behaviours by their kind and why."""
    found: dict[tuple[str, str], list[Behaviour]] = defaultdict(list)
    for each in entries:
        found[each.kind, each.why].append(each)
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def written(readme: str, content: str) -> str:
    """Return the README with the content between its marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n{content}\n{END}", readme)


def summary_of(runs: Sequence[Run]) -> str:
    """Return what ran, in a sentence."""
    cells = [cell for run in runs for cell in run.cells]
    names = {cell.implementation for cell in cells}
    outcomes = Counter(cell.outcome for cell in cells)
    said = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in outcomes.most_common())
    return f"Of {len(cells):,} cells of {len(names)} implementations: {said}. Written by `make found`, not by hand."


def main() -> None:
    """Write the README's table and the document from results files."""
    runs = [read(Path(each)) for each in sys.argv[1:]]
    if not runs or not all(run.complete for run in runs):
        sys.exit("name results files of runs that came to their end")
    found, summary = seen(runs), summary_of(runs)
    entries = told(Selection().ledger(), found)
    faults = [each for each in entries if each.kind in _FAULTS]
    by_design = len(_by_words(entries)) - len(_by_words(faults))
    others = f"What differs by design, {by_design} more lines, is in [docs/found.md](docs/found.md)."
    content = f"{summary}\n\n{table(faults, found)}\n\n{others}"
    README.write_text(written(README.read_text(encoding="utf-8"), content), encoding="utf-8")
    title = "# What differs between the frameworks' dense layers"
    DOCUMENT.write_text(f"{title}\n\n{summary}\n\n{table(entries, found)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
