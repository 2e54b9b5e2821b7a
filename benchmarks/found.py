"""
What the suite found: the table in the README, from the ledger and a real run.

`make found` runs everything (`--tier nightly`) and writes one line for each known divergence that some cell of the run
was seen to show, with the implementations and how many cells. An entry that no cell showed has no line: a table typed
by hand could claim what nobody saw.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.ledger import Entry
from conformance.results import Run, read
from conformance.selection import Selection

README: Final = Path(__file__).resolve().parent.parent / "README.md"
BEGIN: Final = "<!-- found -->"
END: Final = "<!-- /found -->"
_KINDS: Final = {"bug": "bug", "by_design": "by design", "numeric": "numeric"}
#: How many implementations a line names.
_SHORT: Final = 4


def seen(runs: Iterable[Run]) -> Mapping[str, Counter[str]]:
    """Return for each entry of the ledger, by `file:line`, the implementations that showed it, with their cells."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for cell in run.cells:
            entries = {each["divergence"]["where"] for each in (cell, *cell["checks"]) if each.get("divergence")}
            for where in entries:
                found[where][cell["implementation"]] += 1
    return found


def table(entries: Sequence[Entry], found: Mapping[str, Counter[str]]) -> str:
    """Return the table: entries that say the same why share a line, bugs first."""
    shown: dict[tuple[str, str], Counter[str]] = {}
    sources: dict[tuple[str, str], str] = {}
    for entry in sorted(entries, key=lambda each: list(_KINDS).index(each.kind)):
        if entry.where in found:
            key = (entry.kind, entry.why)
            shown.setdefault(key, Counter()).update(found[entry.where])
            sources.setdefault(key, f"[report]({entry.link})" if entry.link else "seen here")
    lines = ["| what | seen in | cells | kind | source |", "|---|---|---|---|---|"]
    for (kind, why), counted in shown.items():
        more = f" and {len(counted) - _SHORT} more" if len(counted) > _SHORT else ""
        names = ", ".join(sorted(counted)[:_SHORT]) + more
        lines.append(f"| {_cell(why)} | {names} | {counted.total()} | {_KINDS[kind]} | {sources[kind, why]} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def written(readme: str, table: str, summary: str) -> str:
    """Return the README with the table between its marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n{summary}\n\n{table}\n{END}", readme)


def summary_of(runs: Sequence[Run]) -> str:
    """Return what ran, in a sentence."""
    cells = [cell for run in runs for cell in run.cells]
    names = {cell["implementation"] for cell in cells}
    outcomes = Counter(cell["outcome"] for cell in cells)
    said = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in outcomes.most_common())
    return f"Of {len(cells):,} cells of {len(names)} implementations: {said}. Written by `make found`, not by hand."


def main() -> None:
    """Write the README's table from results files."""
    runs = [read(Path(each)) for each in sys.argv[1:]]
    if not runs or not all(run.complete for run in runs):
        sys.exit("name results files of runs that came to their end")
    text = written(README.read_text(encoding="utf-8"), table(Selection().ledger(), seen(runs)), summary_of(runs))
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
