"""
Writes the table of divergences in the README and in `docs/found.md`, from the ledger and the results of a run.

`make found` runs everything (`--tier nightly`). The tables have one line for each declared behaviour that some cell of
the run shows, with the implementations and the number of cells. A behaviour that no cell shows has no line. The README
has the faults; `docs/found.md` also has what differs by design.
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
#: Kind of an entry -> its name in the tables, in the order of the tables.
_KINDS: Final = {"bug": "bug", "numeric": "numeric", "by_design": "by design"}
#: The kinds that the README lists.
_FAULTS: Final = ("bug", "numeric")
#: How many implementations a line names.
_SHORT: Final = 4

#: Id of a behaviour -> the number of cells of each implementation that showed it.
Occurrences = Mapping[str, Counter[str]]


def occurrences(runs: Iterable[Run]) -> Occurrences:
    """Return for each behaviour the number of cells of each implementation that showed it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        for cell in run.cells:
            for name in cell.behaviours:
                found[name][cell.implementation] += 1
    return found


def entries_found(entries: Sequence[Behaviour], found: Occurrences) -> Sequence[Behaviour]:
    """
    Return the behaviours that some cell showed, faults first.

    Raises:
        ValueError: a run shows a behaviour that the ledger does not have, so it used another ledger.
    """
    known = {each.id for each in entries}
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"the ledger has no entry {unknown[0]}")
    ordered = sorted(entries, key=lambda each: list(_KINDS).index(each.documentation.kind))
    return [each for each in ordered if each.id in found]


def table(entries: Sequence[Behaviour], found: Occurrences) -> str:
    """Return a line for each behaviour; behaviours of one kind with the same `why` share a line."""
    lines = ["| what | seen in | cells | kind | source |", "|---|---|---|---|---|"]
    for (kind, why), alike in _by_words(entries).items():
        counted: Counter[str] = sum((found[each.id] for each in alike), Counter())
        more = f" and {len(counted) - _SHORT} more" if len(counted) > _SHORT else ""
        names = ", ".join(sorted(counted)[:_SHORT]) + more
        link = next((each.documentation.link for each in alike if each.documentation.link), None)
        source = f"[report]({link})" if link else "seen here"
        lines.append(f"| {_cell(why)} | {names} | {counted.total()} | {_KINDS[kind]} | {source} |")
    return "\n".join(lines)


def _by_words(entries: Sequence[Behaviour]) -> dict[tuple[str, str], list[Behaviour]]:
    """Return behaviours by their kind and `why`."""
    found: dict[tuple[str, str], list[Behaviour]] = defaultdict(list)
    for each in entries:
        found[each.documentation.kind, each.documentation.why].append(each)
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


def written(readme: str, content: str) -> str:
    """Return the README with `content` between its two marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n{content}\n{END}", readme)


def summary_of(runs: Sequence[Run]) -> str:
    """Return a sentence with the number of cells, of implementations and of each outcome."""
    cells = [cell for run in runs for cell in run.cells]
    names = {cell.implementation for cell in cells}
    outcomes = Counter(cell.outcome for cell in cells)
    counts = ", ".join(f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in outcomes.most_common())
    return f"Of {len(cells):,} cells of {len(names)} implementations: {counts}. Written by `make found`, not by hand."


def main() -> None:
    """Write the README's table and the document from results files."""
    runs = [read(Path(each)) for each in sys.argv[1:]]
    if not runs or not all(run.complete for run in runs):
        sys.exit("give results files of complete runs: python -m tools.findings build/found/results.jsonl")
    found, summary = occurrences(runs), summary_of(runs)
    entries = entries_found(Selection().ledger(), found)
    faults = [each for each in entries if each.documentation.kind in _FAULTS]
    by_design = len(_by_words(entries)) - len(_by_words(faults))
    others = f"[docs/found.md](docs/found.md) has {by_design} more lines: what differs by design."
    content = f"{summary}\n\n{table(faults, found)}\n\n{others}"
    README.write_text(written(README.read_text(encoding="utf-8"), content), encoding="utf-8")
    title = "# What differs between the frameworks' dense layers"
    DOCUMENT.write_text(f"{title}\n\n{summary}\n\n{table(entries, found)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
