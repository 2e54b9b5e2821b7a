"""
What each implementation was seen to do where several ways are right: `docs/measured.md`, from results files.

The facts are those of the runs' footers (`conformance.results.measurements`); nothing is inferred here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from conformance.report.numerics import Numerics, numerics
from conformance.results import Run, read

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "measured.md"


def document(runs: Sequence[Run]) -> str:
    """Return the document: a table for each dtype, with an implementation in each row."""
    lines = [
        "# What implementations do",
        "",
        "Written by `make found`; not edited by hand. Where several ways are right these are the ones seen, in a run",
        "of all rows on the CPU; the evidence is on the page of a run, under Numerics. How they are told apart is in",
        "[numerics.md](numerics.md).",
        "",
    ]
    lines += [f"- {line}" for line in _versions(runs)]
    for each in numerics(runs):
        lines += ["", f"## {each.dtype}", "", *_table(each)]
    return "\n".join(lines) + "\n"


def _versions(runs: Sequence[Run]) -> Iterator[str]:
    versions = (pair for run in runs for each in run.implementations for pair in (each.versions or {}).items())
    yield ", ".join(sorted({f"{name} {version}" for name, version in versions}))


def _table(found: Numerics) -> Iterator[str]:
    abouts = [about for about, _ in found.rows]
    yield f"| | {' | '.join(abouts)} |"
    yield "|" + "---|" * (len(abouts) + 1)
    for index, column in enumerate(found.columns):
        facts = [facts[index] for _, facts in found.rows]
        yield f"| {column} | {' | '.join('' if each is None else each.finding for each in facts)} |"


def main() -> None:
    """Write the document from results files."""
    DOCUMENT.write_text(document([read(Path(each)) for each in sys.argv[1:]]), encoding="utf-8")


if __name__ == "__main__":
    main()
